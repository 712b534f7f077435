"""The Prometheus files are valid, and every alert about the daemon fires when it should and only then."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contracts.rule_cases import CASES, Case, Series
from tests.paths import ROOT

FOLDER = ROOT / "deploy" / "prometheus"


def rules() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def tool(name: str, *arguments: str, cwd: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} not found: apt-get install prometheus prometheus-alertmanager")
    return subprocess.run(
        [program, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )


def unit_test(alert: str, series: Series, at: int, expected: list[dict[str, str]]) -> dict[str, Any]:
    rule = rules()[alert]
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count by (alertstate) (ALERTS{{alertname="{alert}", alertstate="firing"}})',
                "eval_time": f"{at}m",
                "exp_samples": [{"labels": '{alertstate="firing"}', "value": 1}] if expected else [],
            },
            {
                "expr": f'max(ALERTS{{alertname="{alert}", {_labels(rule, expected)}}})'
                if expected
                else "vector(1)",
                "eval_time": f"{at}m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            },
        ],
    }


def _labels(rule: dict[str, Any], expected: list[dict[str, str]]) -> str:
    return ", ".join(f'{name}="{value}"' for name, value in (rule["labels"] | expected[0]).items())


def run_cases(folder: Path, tests: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    shutil.copy(FOLDER / "rules.yml", folder)
    (folder / "test.yml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests})
    )
    return tool("promtool", "test", "rules", "test.yml", cwd=folder)


def test_prometheus_takes_the_config_and_the_rules() -> None:
    done = tool("promtool", "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_alertmanager_takes_its_config() -> None:
    done = tool("amtool", "check-config", "alertmanager.yml", cwd=ROOT / "deploy" / "alertmanager")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_its_two_cases() -> None:
    assert set(CASES) == set(rules())


@pytest.mark.parametrize("alert", sorted(CASES))
def test_alert_fires_when_it_should(alert: str, tmp_path: Path) -> None:
    case: Case = CASES[alert]
    done = run_cases(tmp_path, [unit_test(alert, case.firing, case.at, [case.labels])])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", sorted(CASES))
def test_alert_stays_silent_when_nothing_is_wrong(alert: str, tmp_path: Path) -> None:
    case: Case = CASES[alert]
    done = run_cases(tmp_path, [unit_test(alert, case.quiet, case.at, [])])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_daemon_counts_as_dead_where_nothing_is_scraped_at_all(tmp_path: Path) -> None:
    expected = [{"job": "policywatch"}]
    done = run_cases(tmp_path, [unit_test("PolicywatchDead", {"up{job='other'}": "1x20"}, 8, expected)])
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_daemon_that_reads_nothing_at_all_is_infinitely_behind(tmp_path: Path) -> None:
    series = {
        'policywatch_events_total{instance="w:9464", partition="d/0"}': "600x60",
        'policywatch_partition_lag_records{instance="w:9464", partition="d/0"}': "5x60",
    }
    done = run_cases(tmp_path, [unit_test("PolicywatchLagging", series, 20, [{"instance": "w:9464"}])])
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    for name, rule in rules().items():
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert rule["annotations"]["runbook"] == f"deploy/runbook.md#{name.lower()}"
        assert rule["annotations"]["summary"]
