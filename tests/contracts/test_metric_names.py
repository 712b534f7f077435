"""Every name in the docs, the rules and the dashboard is a metric that is exported, and every metric is described."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from alerts.rules import DETECTORS
from monitor.observability.telemetry import Telemetry
from tests.contracts.test_alert_rules import tool
from tests.paths import ROOT

DEPLOY = ROOT / "deploy"
FOREIGN = {
    "up",
    "ALERTS",
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
}
WORDS = {
    "sum", "by", "rate", "increase", "and", "or", "on", "time", "absent", "changes", "histogram_quantile", "max", "min",
    "count", "ignoring", "group_left", "clamp_min", "unless", "topk", "avg", "le", "vector",
}  # fmt: skip


def exported() -> dict[str, tuple[str, ...]]:
    """Every sample name that the daemon can export, with its labels."""
    found: dict[str, tuple[str, ...]] = {}
    for metric in vars(Telemetry()).values():
        if not hasattr(metric, "describe"):
            continue
        name, labels = metric._name, tuple(metric._labelnames)
        match metric._type:
            case "counter":
                found[f"{name}_total"] = labels
            case "histogram":
                found |= {f"{name}_{part}": labels for part in ("sum", "count")}
                found[f"{name}_bucket"] = (*labels, "le")
            case _:
                found[name] = labels
    return found


def used(expression: str) -> list[tuple[str, list[str]]]:
    """Every metric of an expression, with the labels that it is selected by."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    bare = re.sub(r"\b(by|on|ignoring|without)\s*\([^)]*\)", "", bare)
    found = re.findall(
        r"(?<![\w.$])([a-zA-Z_:][\w:]*)\b(\{[^}]*\})?(?!\s*\()", re.sub(r"\[[^\]]*\]", "", bare)
    )
    return [
        (name, re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        for name, selector in found
        if name not in WORDS
    ]


def expressions() -> dict[str, str]:
    """Every query of the rules and of the dashboard by where it stands."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"]
    found = {f"rules.yml {rule['alert']}": rule["expr"] for group in groups for rule in group["rules"]}
    for panel in panels():
        for target in panel.get("targets", []):
            found[f"dashboard {panel['title']} {target['refId']}"] = target["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            found[f"variable {variable['name']}"] = re.sub(
                r"label_values\((.*), \w+\)", r"\1", variable["query"]
            )
    return found


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DEPLOY / "grafana" / "policywatch.json").read_text())
    return loaded


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dashboard()["panels"]
    return found


def test_every_query_names_exported_metrics_and_their_labels_only() -> None:
    known = exported()
    always = {"job", "instance"}
    wrong = [
        (where, name, sorted(set(labels) - set(known.get(name, ())) - always))
        for where, expression in expressions().items()
        for name, labels in used(expression)
        if name not in FOREIGN and (name not in known or set(labels) - set(known[name]) - always)
    ]
    assert wrong == []


def test_the_reading_of_queries_finds_a_metric_that_does_not_exist() -> None:
    assert used('sum by (x) (rate(policywatch_gone_total{kind=~"a|b", y!=""}[5m])) > 3') == [
        ("policywatch_gone_total", ["kind", "y"])
    ]
    assert len(expressions()) > 60


def test_every_label_by_which_a_query_groups_exists() -> None:
    known = exported()
    for where, expression in expressions().items():
        labels = {
            label for name, _ in used(expression) for label in (*known.get(name, ()), "job", "instance")
        }
        named = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression)
        assert {label.strip() for group in named for label in group.split(",")} <= labels, where


def test_every_metric_is_described_with_its_labels_and_no_other_is() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", text, flags=re.MULTILINE)
    described = {name: labels.strip() for name, _, labels in rows}
    known = {re.sub(r"_(bucket|count|sum)$", "", name).removeprefix("policywatch_"): labels
             for name, labels in exported().items() if not name.endswith(("_sum", "_count"))}  # fmt: skip
    assert set(described) == set(known)
    for name, labels in described.items():
        if labels != "the same":
            assert tuple(filter(None, labels.split(", "))) == tuple(x for x in known[name] if x != "le"), name


def test_names_follow_the_rule_units_last() -> None:
    for name in exported():
        assert name.startswith("policywatch_")
        assert not re.search(r"_ms(_|$)", name)


def test_every_metric_but_the_raw_ones_is_looked_at_by_a_rule_or_a_panel() -> None:
    seen = {name for expression in expressions().values() for name, _ in used(expression)}
    unseen = {name for name in exported() if name not in seen and not name.endswith(("_sum", "_count"))}
    assert unseen == set()


def test_the_dashboard_shows_every_detector_and_no_other() -> None:
    shown = {
        name for expression in expressions().values() for name in re.findall(r'detector="(\w+)"', expression)
    }
    listened_to = {detector for detectors in DETECTORS.values() for detector in detectors}
    assert shown == listened_to


def test_prometheus_can_read_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"q{i}", "expr": re.sub(r"\$\w+", ".*", expression)}
        for i, (where, expression) in enumerate(expressions().items())
        if where.startswith("dashboard")
    ]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = tool("promtool", "check", "rules", "queries.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_its_dashboard_and_its_prometheus() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"][0]
    provider = yaml.safe_load((provisioning / "dashboards" / "policywatch.yml").read_text())["providers"][0]
    mounts = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["grafana"]["volumes"]
    assert source["url"] == "http://prometheus:9090"
    assert [mount for mount in mounts if mount.split(":")[1].startswith(provider["options"]["path"])]


def test_the_rows_of_the_dashboard_cover_the_whole_daemon() -> None:
    rows = [panel["title"] for panel in panels() if panel["type"] == "row"]
    assert rows == [
        "Health",
        "Decisions and rewards",
        "State",
        "Actions",
        "Critic",
        "Constraints",
        "Delivery",
    ]
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
