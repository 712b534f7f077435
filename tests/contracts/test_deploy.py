"""What stands in deploy/ fits together and fits the code; no container engine is needed to see that."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.rules import DEFAULT_KINDS, OWN_KINDS
from alerts.senders.page_text import RUNBOOK, link
from alerts.signal import Evidence, Signal
from monitor.cli import parser
from monitor.commands.run import VERSION
from monitor.config import Config
from monitor.config_file import parse_config
from monitor.exit_codes import UNREACHABLE, USAGE
from monitor.observability.watch import STALLED_MS
from tests.contracts.test_alert_rules import rules
from tests.paths import ROOT

DEPLOY = ROOT / "deploy"
PORT = Config(source=parse_config({"deployments": {"x": {}}}).source, deployments={}).http_port
SECRET = "whsec_" + "c2VjcmV0" * 4
COMPOSE_KEYS = {
    "image", "build", "read_only", "tmpfs", "cap_drop", "security_opt", "restart", "environment", "volumes",
    "healthcheck", "depends_on", "entrypoint", "command", "ports", "stop_grace_period", "network_mode",
}  # fmt: skip


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def dockerfile() -> str:
    return (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")


def stages() -> list[str]:
    return re.split(r"^(?=FROM )", dockerfile(), flags=re.MULTILINE)[1:]


def unit() -> dict[str, list[str]]:
    """The settings of the systemd unit; a setting may stand several times."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(
        r"^(\w+)=(.*)$", (DEPLOY / "systemd" / "policywatch.service").read_text(), re.MULTILINE
    ):
        found.setdefault(key, []).append(value)
    return found


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "k8s" / name).read_text()))


def pod() -> dict[str, Any]:
    (stateful,) = (m for m in manifests("policywatch.yaml") if m["kind"] == "StatefulSet")
    spec: dict[str, Any] = stateful["spec"]["template"]["spec"]
    return spec


# the image


def test_every_source_that_the_image_copies_exists_and_reaches_the_builder() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for words in re.findall(r"^COPY (?!--from)(.+)$", dockerfile(), flags=re.MULTILINE):
        for source in words.split()[:-1]:
            assert source in allowed, source
            assert "*" in source or (ROOT / source).exists(), source


def test_the_image_holds_all_of_our_packages() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {name.rstrip("*") for name in config["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert wanted <= set(re.findall(r"^COPY (\w+) \w+$", dockerfile(), flags=re.MULTILINE))


def test_the_install_is_locked_by_hash_and_takes_wheels_only() -> None:
    installs = re.findall(r"pip install ([^&\n]+)", dockerfile())
    assert len(installs) == 2
    locked, own = installs
    assert {"--require-hashes", "--only-binary"} <= set(locked.split())
    assert {"--no-deps", "--no-build-isolation"} <= set(own.split())


def test_the_image_that_runs_has_no_build_tools_and_no_root() -> None:
    build, final = stages()
    assert re.search(r"pip uninstall --yes .*setuptools pip", build)
    assert re.search(r"pip uninstall --yes .*setuptools pip", final)
    assert not re.search(r"apt-get|pip install|gcc|COPY (?!--from=build)", final)
    assert re.search(r"^USER 10001:10001$", final, flags=re.MULTILINE)
    assert final.index("USER ") > final.rindex("RUN ")
    assert f'version="{VERSION}"' in final


def test_the_health_check_asks_the_port_and_path_that_the_daemon_serves() -> None:
    check = re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", dockerfile(), flags=re.MULTILINE)
    assert check is not None
    assert f":{PORT}/-/healthy" in json.loads(check[1])[-1]
    compile(json.loads(check[1])[-1], "healthcheck", "exec")
    assert re.search(rf"^EXPOSE {PORT}$", dockerfile(), flags=re.MULTILINE)


def test_the_commands_of_image_unit_and_pod_are_commands_that_exist() -> None:
    (exec_start,) = unit()["ExecStart"]
    image = re.search(r"^CMD (\[.*\])$", stages()[1], flags=re.MULTILINE)
    assert image is not None
    (container,) = pod()["containers"]
    for words in (exec_start.split()[1:], json.loads(image[1]), container["args"]):
        arguments = parser().parse_args(words)
        assert (arguments.module, arguments.config.name) == ("run", "policywatch.toml")


# compose


def test_compose_has_every_part_and_known_keys_only() -> None:
    services = compose()["services"]
    assert set(services) == {
        "kafka", "topics", "baseline", "policywatch", "receiver", "producer", "prometheus", "alertmanager", "grafana",
    }  # fmt: skip
    for name, service in services.items():
        assert set(service) <= COMPOSE_KEYS, name
        assert re.fullmatch(r"[\w./-]+:[\w.-]+", service["image"]), name
        assert not service["image"].endswith(":latest")
        for other in service.get("depends_on", []):
            assert other in services


def test_every_file_that_compose_mounts_exists_and_every_volume_is_declared() -> None:
    for service in compose()["services"].values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                assert source in compose()["volumes"], source
    build = compose()["services"]["policywatch"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"


def test_compose_publishes_on_loopback_only() -> None:
    published = [port for service in compose()["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_ours_run_without_rights_on_a_read_only_file_system() -> None:
    for name in ("policywatch", "receiver", "producer", "baseline"):
        service = compose()["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_the_ports_of_compose_prometheus_and_config_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLICYWATCH_WEBHOOK_SECRET", SECRET)
    config = parse_config(tomllib.loads((DEPLOY / "examples" / "compose.toml").read_text()))
    services = compose()["services"]
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (scraped,) = prometheus["scrape_configs"][0]["static_configs"][0]["targets"]
    (pager,) = prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert scraped == f"policywatch:{config.http_port}"
    assert services["policywatch"]["ports"] == [f"127.0.0.1:{config.http_port}:{config.http_port}"]
    assert config.http_host == "0.0.0.0"
    assert [r.url for r in config.receivers if r.kind == "alertmanager"] == [f"http://{pager}"]
    assert config.source.bootstrap_servers[0] in str(services["producer"]["command"])
    assert (
        config.source.bootstrap_servers[0] in services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    )
    (receiver,) = (r.url for r in config.receivers if r.kind == "webhook")
    assert re.search(r"receiver.py 8080 ", services["receiver"]["command"][0])
    assert receiver == "http://127.0.0.1:8080/"
    assert services["receiver"]["network_mode"] == "service:policywatch"
    created = services["topics"]["command"][0]
    assert all(topic in created for topic in config.source.topics.values())


def test_what_compose_writes_lies_in_the_volume_and_needs_no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLICYWATCH_WEBHOOK_SECRET", SECRET)
    config = parse_config(tomllib.loads((DEPLOY / "examples" / "compose.toml").read_text()))
    volume = "/var/lib/policywatch"
    assert config.state_path.startswith(volume)
    assert config.deployments["home-ranker"].baseline.startswith(volume)
    assert f"VOLUME {volume}" in dockerfile()
    assert f"policywatch:{volume}" in compose()["services"]["baseline"]["volumes"]


def test_the_example_past_becomes_a_baseline_that_the_compose_config_can_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of the `baseline` service, on a shorter past."""
    monkeypatch.setenv("POLICYWATCH_WEBHOOK_SECRET", SECRET)
    folder = tmp_path / "state"
    folder.mkdir()
    text = (DEPLOY / "examples" / "compose.toml").read_text().replace("/var/lib/policywatch", str(folder))
    (tmp_path / "policywatch.toml").write_text(text)
    python, config = sys.executable, str(tmp_path / "policywatch.toml")
    commands: list[list[str]] = [
        [python, str(DEPLOY / "examples" / "producer.py"), "history", "past.jsonl", "--hours", "0.5"],
        [python, "-m", "monitor.cli", "baseline", "build", "-c", config, "past.jsonl", "--deployment", "home-ranker",
         "--out", str(folder / "baselines" / "home-ranker"), "--json"],
        [python, "-m", "monitor.cli", "replay", "-c", config, "past.jsonl", "--json"],
    ]  # fmt: skip
    (folder / "baselines").mkdir()
    answers = []
    for command in commands:
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
            env={"PYTHONPATH": str(ROOT), "POLICYWATCH_WEBHOOK_SECRET": SECRET, "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answers.append(done.stdout)
    built = json.loads(answers[1])
    assert built["decisions"] == 36_000
    assert built["rejected"] == {}
    assert json.loads(answers[2])["signals"] == 0


# systemd


def test_systemd_takes_the_unit() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze not found: apt-get install systemd")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(DEPLOY / "systemd" / "policywatch.service")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "policywatch.service" in line]
    assert [line for line in said if "is not executable: No such file" not in line] == []


def test_the_unit_is_told_when_the_daemon_is_ready_and_is_fed_by_its_loop() -> None:
    settings = unit()
    assert settings["Type"] == ["notify"]
    assert settings["WatchdogSec"] == [str(STALLED_MS // 1000)]  # as long as /-/healthy bears with it
    assert settings["TimeoutStartSec"] == ["infinity"]  # a broker that is down is waited for
    assert settings["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert settings["Restart"] == ["on-failure"]
    assert set(settings["RestartPreventExitStatus"][0].split()) == {str(USAGE), str(UNREACHABLE)}


def test_the_unit_lets_the_daemon_write_to_its_state_only() -> None:
    settings = unit()
    assert settings["StateDirectory"] == ["policywatch"]
    assert settings["ProtectSystem"] == ["strict"]
    assert settings["CapabilityBoundingSet"] == [""]
    assert {
        "NoNewPrivileges",
        "PrivateTmp",
        "PrivateDevices",
        "ProtectHome",
        "RestrictNamespaces",
    } <= settings.keys()
    assert "AF_UNIX" in settings["RestrictAddressFamilies"][0]  # the notify socket
    assert "ProcSubset" not in settings  # process_start_time_seconds needs /proc/stat


# Kubernetes


def test_the_pod_probes_what_the_daemon_serves() -> None:
    (container,) = pod()["containers"]
    (port,) = container["ports"]
    assert port == {"name": "http", "containerPort": PORT}
    assert container["livenessProbe"]["httpGet"] == {"path": "/-/healthy", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/-/ready", "port": "http"}
    alive = container["livenessProbe"]
    assert alive["periodSeconds"] * alive["failureThreshold"] >= 60


def test_the_pod_has_no_rights_and_every_mount_has_its_volume() -> None:
    spec = pod()
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    (stateful,) = (m for m in manifests("policywatch.yaml") if m["kind"] == "StatefulSet")
    volumes = {volume["name"] for volume in spec["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in stateful["spec"]["volumeClaimTemplates"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert stateful["spec"]["replicas"] == 1


def test_the_config_of_the_pod_is_a_good_config(tmp_path: Path) -> None:
    (config,) = (m for m in manifests("policywatch.yaml") if m["kind"] == "ConfigMap")
    (tmp_path / "webhook").write_text(SECRET)
    text = config["data"]["policywatch.toml"].replace("/run/secrets/policywatch", str(tmp_path))
    parsed = parse_config(tomllib.loads(text))
    (container,) = pod()["containers"]
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert any(parsed.state_path.startswith(mount) for mount in mounts)
    assert "/run/secrets/policywatch" in mounts


def test_roles_of_the_sharded_example_are_those_of_the_command_line() -> None:
    roles = {}
    for stateful in manifests("shards.yaml"):
        (container,) = stateful["spec"]["template"]["spec"]["containers"]
        arguments = parser().parse_args(container["args"])
        roles[arguments.role] = stateful["spec"]["replicas"]
        labels = stateful["spec"]["template"]["metadata"]["labels"]
        assert stateful["spec"]["selector"]["matchLabels"] == labels
    assert roles == {"shard": 2, "judge": 1}


def test_selectors_find_the_pod_and_the_service_monitor_its_service() -> None:
    by_kind = {m["kind"]: m for m in [*manifests("policywatch.yaml"), *manifests("servicemonitor.yaml")]}
    labels = by_kind["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert by_kind["StatefulSet"]["spec"]["selector"]["matchLabels"] == labels
    assert by_kind["Service"]["spec"]["selector"] == labels
    assert (
        by_kind["Service"]["metadata"]["labels"]
        == by_kind["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    )
    assert by_kind["Service"]["metadata"]["name"] == "policywatch"  # becomes `job`, which rules.yml asks for
    assert (
        by_kind["ServiceMonitor"]["spec"]["endpoints"][0]["port"]
        == by_kind["Service"]["spec"]["ports"][0]["name"]
    )


# the runbook


SIGNALLED = {**DEFAULT_KINDS, **OWN_KINDS}


def anchor(rule: str) -> str:
    return rule.replace(".", "-").replace("_", "-")


def entries() -> dict[str, str]:
    """Each entry of the runbook by its anchor."""
    parts = re.split(r"^## ", (ROOT / RUNBOOK).read_text(), flags=re.MULTILINE)[1:]
    return {re.sub(r"[^a-z0-9]+", "-", part.split("\n")[0].lower()).strip("-"): part for part in parts}


def test_every_rule_and_every_alert_has_its_entry_and_no_other_has() -> None:
    assert set(entries()) == {anchor(rule) for rule in SIGNALLED} | {alert.lower() for alert in rules()}


@pytest.mark.parametrize("rule", list(SIGNALLED))
def test_the_link_in_a_page_leads_to_an_entry(rule: str) -> None:
    signal = Signal(id="s", time_ms=0, deployment="d", policy="p", kind="page", state="firing", rule=rule, reason="",
                    generation=1, evidence=Evidence(statistic=""))  # fmt: skip
    path, anchor = link(signal).split("#")
    assert (ROOT / path).is_file()
    assert anchor in entries()


def test_every_entry_answers_the_five_questions() -> None:
    for anchor, text in entries().items():
        said = re.findall(r"^- \*\*(.+?):\*\*", text, flags=re.MULTILINE)
        assert said == ["Means", "How sure", "Done", "Check first", "Clear"], anchor


@pytest.mark.parametrize("rule", list(SIGNALLED))
def test_the_runbook_says_of_each_rule_what_it_does_by_default(rule: str) -> None:
    done = re.search(r"\*\*Done:\*\* (\w+)", entries()[anchor(rule)])
    assert done is not None
    assert done[1] == SIGNALLED[rule].value
