"""The config as values: the contract's example, the smallest useful file, defaults, and what the digest covers."""

from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from alerts.rules import Kind, RuleSettings
from alerts.senders.sender import EnvironmentSecret
from monitor.config import Config, CostBudget, DeploymentConfig, Envelope, ReceiverConfig
from monitor.config_file import load_config, parse_config
from tests.unit.monitor.configs import config, table

# The example of the contract (DESIGN.md section 6), word for word but for the folder of the secret.
EXAMPLE = """
[source]                      # "kafka" or "files"
kind = "kafka"
bootstrap_servers = ["localhost:9092"]
topics = { decisions = "rl.decisions", rewards = "rl.rewards", metrics = "rl.metrics" }
group_id = "policywatch"
security_protocol = "PLAINTEXT"

[state]
path = "state/"               # checkpoint, outbox, audit log

[deployments.home-ranker]
baseline = "baselines/home-ranker"
fallback_policy = "rules-v3"
gamma = 0.0                   # 0 = bandit: value is compared with the reward
returns = "reward"            # "reward" | "episode" | "n-step" | "td"
reward_horizon = "30m"
bucket = "10s"
window = "10m"
false_signals = "1 per 30d"   # the budget that all rules of this deployment share
dry_run = false

[deployments.home-ranker.costs]
complaint = { budget = 0.01, per = "decision" }           # CMDP: E[cost] <= budget
power_kwh = { budget = 120.0, per = "episode", gamma = 1.0 }

[deployments.home-ranker.action_envelope]
actions = [0, 1, 2, 3, 4, 5, 6, 7]

[[webhooks]]
url = "https://serving.internal/policywatch"
secret_file = "/run/secrets/webhook"
kinds = ["fallback", "rollback"]
"""


@pytest.fixture
def example(tmp_path: Path) -> Config:
    secret = tmp_path / "webhook"
    secret.write_text("whsec_c2VjcmV0\n")
    file = tmp_path / "policywatch.toml"
    file.write_text(EXAMPLE.replace("/run/secrets/webhook", str(secret)))
    return load_config(file)


def test_the_example_of_the_contract_says_what_it_reads_like(example: Config, tmp_path: Path) -> None:
    watched = example.deployments["home-ranker"]
    assert example.source.bootstrap_servers == ("localhost:9092",)
    assert example.source.topics["metrics"] == "rl.metrics"
    assert (watched.bucket_ms, watched.window_ms, watched.window_buckets) == (10_000, 600_000, 60)
    assert watched.reward_horizon_ms == 1_800_000
    assert watched.false_per_day == pytest.approx(1 / 30)
    assert watched.costs == {"complaint": CostBudget(0.01), "power_kwh": CostBudget(120.0, "episode", 1.0)}
    assert watched.envelope == Envelope(actions=tuple("01234567"))
    (webhook,) = example.receivers
    assert webhook.secret == tmp_path / "webhook"
    assert webhook.kinds == ("fallback", "rollback")


def test_the_example_spells_out_defaults_only(example: Config) -> None:
    plain = DeploymentConfig("home-ranker", "baselines/home-ranker", "rules-v3")
    watched = example.deployments["home-ranker"]
    assert replace(watched, costs={}, envelope=Envelope()) == plain
    assert example.source == parse_config({"deployments": {"x": {}}}).source


def test_the_smallest_useful_config_names_a_source_a_deployment_and_its_baseline() -> None:
    smallest = config()
    assert smallest.deployments == {"home": DeploymentConfig("home", "baselines/home")}
    assert (smallest.http_host, smallest.http_port, smallest.state_path) == ("127.0.0.1", 9464, "state/")
    assert smallest.receivers == ()
    assert smallest.signals_topic


def test_signals_to_kafka_can_be_turned_off() -> None:
    assert not config(signals__kafka=False).signals_topic


def test_a_rule_is_changed_where_the_config_says_so_and_nowhere_else() -> None:
    changed = config(
        deployments__home__rules__reward={"kind": "page", "hold": "5m", "false_signals": "1 per 7d"}
    )
    settings = changed.deployments["home"].rules["reward"]
    assert settings == RuleSettings(kind=Kind.PAGE, hold_ms=300_000, false_per_day=1 / 7)


def test_lateness_never_exceeds_the_finest_bucket_by_default() -> None:
    assert config(deployments__home__bucket="1s").source.lateness_ms == 1_000
    assert config(deployments__home__bucket="1m").source.lateness_ms == 10_000


def test_deployments_with_different_buckets_share_the_grid_of_their_common_divisor() -> None:
    both = config(deployments__home__bucket="10s", deployments__shop__bucket="15s")
    assert both.tick_ms == 5_000


def test_numbers_may_be_written_as_integers() -> None:
    assert config(deployments__home__gamma=1).deployments["home"].gamma == 1.0


def test_a_secret_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "whsec_c2VjcmV0")
    made = config(webhooks=[{"url": "https://a.example/", "secret": "${HOOK}"}])
    assert made.receivers == (ReceiverConfig("webhook", "https://a.example/", EnvironmentSecret("HOOK")),)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/", "http://localhost/", "http://[::1]:8080/"])
def test_plain_http_is_accepted_for_loopback(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "whsec_c2VjcmV0")
    assert config(webhooks=[{"url": url, "secret": "${HOOK}"}]).receivers[0].url == url


def test_plain_http_is_accepted_where_it_is_allowed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "whsec_c2VjcmV0")
    hook = {"url": "http://serving.internal/", "secret": "${HOOK}", "allow_http": True}
    assert config(webhooks=[hook]).receivers[0].allow_http


def test_values_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        config().http_port = 1  # type: ignore[misc]


def test_the_digest_ignores_secrets_receivers_and_where_the_daemon_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOOK", "whsec_c2VjcmV0")
    hook = {"url": "https://a.example/", "secret": "${HOOK}"}
    elsewhere = config(
        webhooks=[hook],
        http={"port": 1, "token": "${HOOK}"},
        state__path="other/",
        source__sasl_password="${HOOK}",
    )
    assert elsewhere.digest() == config().digest()


@pytest.mark.parametrize(
    "change",
    [
        {"deployments__home__bucket": "5s"},
        {"deployments__home__rules__reward": {"sigma": 3}},
        {"deployments__home__action_envelope": {"actions": [1]}},
        {"fields": {"reward": "r"}},
        {"source__lateness": "3s"},
        {"format": "vw-dsjson"},
    ],
)
def test_the_digest_changes_with_whatever_changes_a_measurement(change: dict[str, object]) -> None:
    assert config(**change).digest() != config().digest()


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    forwards = table(deployments__home__bucket="5s", deployments__home__gamma=0.5)
    backwards = table(deployments__home__gamma=0.5, deployments__home__bucket="5s")
    assert parse_config(forwards).digest() == parse_config(backwards).digest()
