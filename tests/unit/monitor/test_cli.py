"""The command line over small files: what it prints, and what its exit code says."""

import gc
import io
import json
import sys
from pathlib import Path

import pytest

from monitor.cli import main
from monitor.exit_codes import FINDING, FINE, USAGE
from monitor.garbage import CONTAINERS
from tests.unit.monitor.worlds import decision, reward

CONFIG = """
[source]
kind = "files"

[deployments.home]
{baseline}
fallback_policy = "rules-v3"
bucket = "10s"
window = "1m"
reward_horizon = "30s"
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "policywatch.toml"
    path.write_text(CONFIG.format(baseline=""))
    return str(path)


def written(tmp_path: Path, *events: dict[str, object]) -> str:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return str(path)


def test_a_command_runs_with_a_collector_that_looks_rarely(config: str, tmp_path: Path) -> None:
    before = gc.get_threshold()
    try:
        main(["replay", "-c", config, written(tmp_path)])
        assert gc.get_threshold() == (CONTAINERS, *before[1:])
    finally:
        gc.set_threshold(*before)


FORBIDDEN = decision("a", 0, masked=[1])


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nonsense"],
        ["replay"],
        ["replay", "-c"],
        ["baseline", "-c", "x"],
        ["baseline", "build", "-c", "x"],
    ],
)
def test_bad_usage_exits_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == USAGE
    assert "usage: policywatch" in capsys.readouterr().err


def test_a_bad_config_lists_its_faults_and_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(CONFIG.format(baseline="bukcet = 1\nreturns = 'x'"))
    assert main(["check", "-c", str(path)]) == USAGE
    said = capsys.readouterr().err
    assert "2 fault(s)" in said
    assert "deployments.home.bukcet: unknown key" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("missing", ["config", "events", "baseline"])
def test_a_missing_file_exits_2_with_its_name(
    missing: str, tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if missing == "baseline":
        Path(config).write_text(CONFIG.format(baseline='baseline = "not-there"'))
    argv = ["replay", "-c", "not-there.toml" if missing == "config" else config, "not-there.jsonl"]
    assert main(argv) == USAGE
    assert "not-there" in capsys.readouterr().err


def test_replay_without_any_events_named_is_bad_usage(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", "-c", config]) == USAGE
    assert "name at least one file" in capsys.readouterr().err


def test_replay_prints_signals_as_json_lines(
    tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "signals.jsonl"
    assert main(["replay", "-c", config, written(tmp_path, FORBIDDEN), "--signals", str(out)]) == FINE
    (signal,) = map(json.loads, out.read_text().splitlines())
    assert (signal["data"]["kind"], signal["data"]["to_policy"]) == ("fallback", "rules-v3")
    assert "1 events, 1 signals" in capsys.readouterr().err


def test_replay_fails_on_a_signal_where_asked_to(tmp_path: Path, config: str) -> None:
    argv = ["replay", "-c", config, "--fail-on-signal", "--json"]
    assert main([*argv, written(tmp_path, FORBIDDEN)]) == FINDING
    assert main([*argv, written(tmp_path, decision("a", 0))]) == FINE


def test_replay_reads_standard_input(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps(FORBIDDEN).encode() + b"\nnot json\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["replay", "-c", config, "-", "--json"]) == FINE
    assert json.loads(capsys.readouterr().out) == {"events": 1, "signals": 1, "rejected": {"bad_json": 1}}


def test_replay_tells_rewards_whose_decision_never_came(
    tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = written(tmp_path, decision("a", 0), reward("ghost", 1))
    assert main(["replay", "-c", config, log, "--json"]) == FINE
    assert json.loads(capsys.readouterr().out)["rejected"] == {"unknown_decision": 1}


def test_measurements_and_dead_letters_go_where_asked(tmp_path: Path, config: str) -> None:
    log = written(tmp_path, decision("a", 0), {"type": "decision"})
    lines, letters = tmp_path / "m.jsonl", tmp_path / "d.jsonl"
    assert (
        main(["replay", "-c", config, log, "--measurements", str(lines), "--dead-letters", str(letters)])
        == FINE
    )
    assert all(json.loads(line)["deployment"] == "home" for line in lines.read_text().splitlines())
    assert lines.read_text()
    assert "missing_field" in letters.read_text()


def test_a_baseline_is_built_before_the_one_named_exists_and_check_reads_it(
    tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(config).write_text(CONFIG.format(baseline='baseline = "home"'))
    events = [e for i in range(120) for e in (decision(f"d{i}", i), reward(f"d{i}", i + 0.1, i % 2))]
    log, out = written(tmp_path, *events), tmp_path / "home"
    argv = ["baseline", "build", "-c", config, log, "--deployment", "home", "--out", str(out), "--json"]
    assert main(argv) == FINE
    built = json.loads(capsys.readouterr().out)
    assert (built["decisions"], built["rewards"]) == (120, 120)
    assert main(["check", "-c", config, "--json"]) == FINDING
    found = json.loads(capsys.readouterr().out)
    assert "short-baseline" in {finding["name"] for finding in found["findings"]}
    assert main(["check", "-c", config]) == FINDING
    assert "short-baseline: home" in capsys.readouterr().out


def test_a_baseline_of_an_unknown_deployment_exits_2(
    tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [
        "baseline",
        "build",
        "-c",
        config,
        "x.jsonl",
        "--deployment",
        "hone",
        "--out",
        str(tmp_path / "b"),
    ]
    assert main(argv) == USAGE
    assert "deployments.hone" in capsys.readouterr().err
