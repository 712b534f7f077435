"""`policywatch evaluate` over real logs: the numbers that others have confirmed, and the refusal to guess."""

import json
from pathlib import Path

import pytest

from monitor.cli import main
from monitor.exit_codes import FINDING, USAGE
from tests.paths import shared_data


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "watch.toml"
    path.write_text(
        '[source]\nkind = "files"\n[deployments.fashion-home]\n[deployments.pendulum]\ngamma = 0.95\nreturns = "td"\n'
    )
    return path


def evaluated(
    config: Path, deployment: str, candidate: str, log: str, capsys: pytest.CaptureFixture[str]
) -> object:
    report = config.parent / "report.html"
    arguments = [
        "evaluate",
        "-c",
        str(config),
        "--deployment",
        deployment,
        "--candidate",
        candidate,
        "--json",
    ]
    assert main([*arguments, "--report", str(report), str(shared_data() / log)]) == FINDING
    assert "<svg" in report.read_text()
    return json.loads(capsys.readouterr().out)


def test_open_bandit_candidate_has_the_confirmed_estimates(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    match evaluated(config, "fashion-home", "bts-prior", "zozo-men-switch.jsonl.gz", capsys):
        case {
            "estimates": {"ips": ips, "snips": snips, "dr": dr},
            "verdict": verdict,
            "comparison": comparison,
        }:
            assert ips["value"] == pytest.approx(0.004533560, abs=1e-9)
            assert snips["value"] == pytest.approx(0.004604232, abs=1e-9)
            assert dr["value"] == pytest.approx(0.004622833, abs=1e-9)
            assert (verdict, comparison) == ("reliable", "cannot tell")
        case other:
            pytest.fail(str(other))


def test_a_candidate_whose_weights_collapse_over_an_episode_is_not_believed(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    match evaluated(config, "pendulum", "sharp", "pendulum-null.jsonl.gz", capsys):
        case {"estimates": estimates, "verdict": verdict, "diagnostics": diagnostics}:
            assert verdict != "reliable"
            assert {name for name, e in estimates.items() if "withheld" in e} >= {
                "trajectory_is",
                "trajectory_wis",
            }
            assert diagnostics["trajectory_ess"] == pytest.approx(1.1, abs=0.05)
        case other:
            pytest.fail(str(other))


def test_a_candidate_that_no_decision_names_is_bad_usage(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = str(shared_data() / "zozo-men-switch.jsonl.gz")
    assert (
        main(["evaluate", "-c", str(config), "--deployment", "fashion-home", "--candidate", "v9", log])
        == USAGE
    )
    assert "v9" in capsys.readouterr().err
