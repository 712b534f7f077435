"""Bad configs: every fault is listed with its path, all at once, and none of them is a traceback."""

from pathlib import Path
from typing import Any

import pytest

from monitor.config_file import load_config, parse_config
from monitor.config_reader import ConfigError
from tests.unit.monitor.configs import faults, table

HOOK = {"url": "https://a.example/", "secret": "${HOOK}"}

# what is changed in the smallest useful config -> the path of the fault, a word of its message
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"sources": {}}, "sources", "unknown key"),
    ({"source__topic": "x"}, "source.topic", "did you mean topics"),
    ({"source__topics": {"decision": "x"}}, "source.topics.decision", "unknown key"),
    ({"source": "kafka"}, "source", "expected a table"),
    ({"source__kind": "rabbit"}, "source.kind", "not one of kafka, files"),
    ({"source__bootstrap_servers": "localhost:9092"}, "source.bootstrap_servers", "list of strings"),
    ({"source__bootstrap_servers": [9092]}, "source.bootstrap_servers", "list of strings"),
    ({"source__max_poll_records": 0}, "source.max_poll_records", "outside 1.."),
    ({"source__max_poll_records": 1.5}, "source.max_poll_records", "expected an integer"),
    ({"source__api_version": "two"}, "source.api_version", "such as 2.3"),
    ({"source__security_protocol": "SASL_SSL"}, "source.sasl_mechanism", "is needed"),
    ({"source__lateness": 10}, "source.lateness", "expected a string"),
    ({"source__format": "csv"}, "source.format", "not one of"),
    ({"format": "csv"}, "format", "not one of"),
    ({"fields": {"rewrad": "r"}}, "fields.rewrad", "unknown"),
    ({"fields": {"reward": 1}}, "fields.reward", "expected a string"),
    ({"http__port": 70_000}, "http.port", "outside"),
    ({"http__port": True}, "http.port", "expected an integer"),
    ({"signals__kafka": "no"}, "signals.kafka", "true or false"),
    ({"signals__kafak": False}, "signals.kafak", "unknown key"),
    ({"log__level": "loud"}, "log.level", "not one of"),
    ({"deployments": {}}, "deployments", "at least one"),
    ({"deployments": []}, "deployments", "expected a table"),
    ({"deployments__home": 3}, "deployments.home", "expected a table"),
    ({"deployments__home__bukcet": "1s"}, "deployments.home.bukcet", "unknown key"),
    ({"deployments__home__bucket": "ten"}, "deployments.home.bucket", "not a duration"),
    ({"deployments__home__bucket": "0s"}, "deployments.home.bucket", "longer than zero"),
    ({"deployments__home__bucket": ""}, "deployments.home.bucket", "not a duration"),
    ({"deployments__home__window": "15s"}, "deployments.home.window", "multiple of the bucket"),
    ({"deployments__home__window": "30d"}, "deployments.home.window", "at most 10000"),
    ({"deployments__home__gamma": 1.1}, "deployments.home.gamma", "outside 0..1"),
    ({"deployments__home__gamma": "0.9"}, "deployments.home.gamma", "expected a number"),
    ({"deployments__home__gamma": float("nan")}, "deployments.home.gamma", "nan"),
    ({"deployments__home__returns": "monte-carlo"}, "deployments.home.returns", "not one of"),
    ({"deployments__home__false_signals": "often"}, "deployments.home.false_signals", "not a rate"),
    ({"deployments__home__false_signals": "0 per 1d"}, "deployments.home.false_signals", "above zero"),
    ({"deployments__home__dry_run": 1}, "deployments.home.dry_run", "true or false"),
    ({"deployments__home__costs": {"c": {}}}, "deployments.home.costs.c.budget", "is missing"),
    ({"deployments__home__costs": {"c": 0.1}}, "deployments.home.costs.c", "expected a table"),
    (
        {"deployments__home__costs": {"c": {"budget": float("inf")}}},
        "deployments.home.costs.c.budget",
        "not a finite number",
    ),
    (
        {"deployments__home__costs": {"c": {"budget": 1, "per": "day"}}},
        "deployments.home.costs.c.per",
        "not one of",
    ),
    ({"deployments__home__rules__rewards": {}}, "deployments.home.rules.rewards", "unknown rule"),
    (
        {"deployments__home__rules__reward": {"kind": "panic"}},
        "deployments.home.rules.reward.kind",
        "not one of",
    ),
    ({"deployments__home__rules__reward": {"sigma": 0}}, "deployments.home.rules.reward.sigma", "outside"),
    ({"deployments__home__rules__reward": {"hold": "-1s"}}, "deployments.home.rules.reward.hold", "duration"),
    (
        {"deployments__home__action_envelope": {"actions": "0-7"}},
        "deployments.home.action_envelope.actions",
        "list",
    ),
    (
        {"deployments__home__action_envelope": {"actions": [True]}},
        "deployments.home.action_envelope.actions",
        "list",
    ),
    (
        {"deployments__home__action_envelope": {"low": ["a"], "high": [1]}},
        "deployments.home.action_envelope.low",
        "list of numbers",
    ),
    (
        {"deployments__home__action_envelope": {"low": [0], "high": 1}},
        "deployments.home.action_envelope.high",
        "expected a list of numbers",
    ),
    (
        {"deployments__home__action_envelope": {"low": [0, 0], "high": [1]}},
        "deployments.home.action_envelope.high",
        "1 numbers where low has 2",
    ),
    ({"webhooks": {"url": "x"}}, "webhooks", "expected an array"),
    ({"webhooks": ["https://a.example/"]}, "webhooks[0]", "expected a table"),
    ({"webhooks": [{"secret": "${HOOK}"}]}, "webhooks[0].url", "is missing"),
    ({"webhooks": [{"url": "https://a.example/"}]}, "webhooks[0].secret", "is missing"),
    ({"webhooks": [HOOK | {"secret": "hunter2"}]}, "webhooks[0].secret", "never from the config itself"),
    ({"webhooks": [HOOK | {"secret": "${NOT_SET}"}]}, "webhooks[0].secret", "no secret in"),
    (
        {"webhooks": [{"url": "https://a.example/", "secret_file": "not/there"}]},
        "webhooks[0].secret_file",
        "cannot read",
    ),
    ({"webhooks": [HOOK | {"url": "http://serving.internal/"}]}, "webhooks[0].url", "plain http"),
    ({"webhooks": [HOOK | {"url": "serving.internal"}]}, "webhooks[0].url", "not an http(s) address"),
    ({"webhooks": [HOOK | {"url": "http://[::1"}]}, "webhooks[0].url", "not an http(s) address"),
    ({"webhooks": [HOOK, HOOK | {"kinds": ["fallbacks"]}]}, "webhooks[1].kinds", "'fallbacks' is not one of"),
    ({"webhooks": [HOOK | {"deployments": ["hone"]}]}, "webhooks[0].deployments", "'hone' is not"),
    ({"pagerduty": [{}]}, "pagerduty[0].routing_key", "is missing"),
    ({"alertmanager": [{}]}, "alertmanager[0].url", "is missing"),
    ({"chat": [{"url": "https://hooks.example/abc"}]}, "chat[0].url", "never from the config itself"),
]


@pytest.fixture(autouse=True)
def _hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "whsec_c2VjcmV0")
    monkeypatch.delenv("NOT_SET", raising=False)


@pytest.mark.parametrize(("change", "path", "word"), BAD, ids=[f"{path}: {word}" for _, path, word in BAD])
def test_a_fault_is_told_with_its_path(change: dict[str, Any], path: str, word: str) -> None:
    found = [fault for fault in faults(**change) if fault.startswith(f"{path}: ")]
    assert found, faults(**change)
    assert word in " ".join(found)


@pytest.mark.parametrize(("change", "path", "word"), BAD, ids=[f"{path}: {word}" for _, path, word in BAD])
def test_one_fault_is_told_once(change: dict[str, Any], path: str, word: str) -> None:
    assert len(faults(**change)) == 1


def test_every_fault_is_told_in_one_go() -> None:
    found = faults(
        sources={},
        deployments__home__bucket="ten",
        deployments__home__rules__rewards={},
        deployments__shop__gamma=2,
        webhooks=[{"url": "http://serving.internal/", "secret": "hunter2"}],
    )
    assert {fault.split(": ")[0] for fault in found} == {
        "sources",
        "deployments.home.bucket",
        "deployments.home.rules.rewards",
        "deployments.shop.gamma",
        "webhooks[0].url",
        "webhooks[0].secret",
    }


def test_an_inline_secret_is_not_repeated_in_its_fault() -> None:
    assert "hunter2" not in " ".join(faults(webhooks=[HOOK | {"secret": "hunter2"}]))


def test_a_fault_never_leaves_a_half_read_config_behind() -> None:
    with pytest.raises(ConfigError):
        parse_config(table(http__port=-1))


@pytest.mark.parametrize(
    ("content", "word"), [(b"[source", "not TOML"), (b"\xff\xfe", "not TOML"), (None, "cannot be read")]
)
def test_a_file_that_is_no_config_is_one_plain_fault(
    content: bytes | None, word: str, tmp_path: Path
) -> None:
    file = tmp_path / "policywatch.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=word) as caught:
        load_config(file)
    assert len(caught.value.faults) == 1
    assert str(file) in caught.value.faults[0]
