"""Evaluation of a candidate that the log does not name: a function, a file of probabilities; and what came of it."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors.arrays import F64
from detectors.ope import Comparison, Estimate, Verdict
from monitor.cli import main
from monitor.config_file import load_config
from monitor.evaluation.candidate_views import ViewError
from monitor.evaluation.evaluating import NoCandidate, evaluate_log
from monitor.exit_codes import FINDING, FINE, USAGE
from monitor.offline import evaluate_candidate
from monitor.source import Files
from tests.unit.monitor.worlds import decision, reward

CONFIG = """
[source]
kind = "files"

[deployments.home]
reward_horizon = "30s"
reward_range = [0, 1]

[deployments.home.costs]
complaint = { budget = 0.2 }
"""
WORTH = {"a": (0.2, 0.7), "b": (0.6, 0.3)}  # by action: mean reward where the state is -1 and 1


def best(state: F64, actions: Sequence[str]) -> F64:
    """Nine times in ten what is worth most."""
    right = np.array([[WORTH[name][side] for name in actions] for side in (0, 1)]).argmax(axis=1)
    chosen = right[(state[:, 0] > 0).astype(int)]
    return np.where(np.arange(len(actions)) == chosen[:, None], 0.9, 0.1)


VALUE = (0.9 * 0.6 + 0.1 * 0.2 + 0.9 * 0.7 + 0.1 * 0.3) / 2


def history(n: int, live: int = 0) -> list[dict[str, Any]]:
    """Decisions of v1, which tosses a coin, then `live` ones of v2, which takes the best."""
    rng = np.random.default_rng(0)
    events = []
    for i in range(n + live):
        x = float(rng.choice([-1.0, 1.0]))
        p = best(np.array([[x]]), ["a", "b"])[0] if i >= n else np.array([0.5, 0.5])
        action = "ab"[int(rng.random() > p[0])]
        events.append(decision(f"d{i}", i, policy="v2" if i >= n else "v1", action=action, state=[x],
                               propensity=float(p["ab".index(action)])))  # fmt: skip
        earned = float(rng.random() < WORTH[action][int(x > 0)])
        events.append(reward(f"d{i}", i + 1, earned, costs={"complaint": float(rng.random() < 0.05)}))
    return events


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The config, a log of v1, the same with v2 after it, and v2's probabilities of what v1 did."""
    folder = tmp_path_factory.mktemp("offline")
    made = {name: folder / name for name in ("config.toml", "log.jsonl", "both.jsonl", "probs.jsonl.gz")}
    made["config.toml"].write_text(CONFIG)
    log = history(3000)
    made["log.jsonl"].write_text("".join(json.dumps(event) + "\n" for event in log))
    made["both.jsonl"].write_text("".join(json.dumps(event) + "\n" for event in history(3000, live=2000)))
    with gzip.open(made["probs.jsonl.gz"], "wt") as out:
        for event in log:
            if event["type"] == "decision":
                p = best(np.array([event["state"]]), ["a", "b"])[0]["ab".index(event["action"])]
                out.write(json.dumps({"decision_id": event["decision_id"], "p": p}) + "\n")
    return made


def test_a_function_is_evaluated_with_a_model_fitted_out_of_fold(files: dict[str, Path]) -> None:
    found = evaluate_candidate(files["config.toml"], [files["log.jsonl"]], best, name="v2")
    dr = found.evaluation.estimates["dr"]
    assert isinstance(dr, Estimate)
    assert dr.lower < VALUE < dr.upper
    assert found.evaluation.verdict is Verdict.RELIABLE
    assert found.evaluation.n == len(found.weights) == 3000
    assert not found.evaluation.refused
    assert found.outcome is None


def test_a_file_of_probabilities_gives_the_weights_that_the_function_gives(files: dict[str, Path]) -> None:
    log = [files["log.jsonl"]]
    told = evaluate_candidate(files["config.toml"], log, files["probs.jsonl.gz"], name="v2")
    called = evaluate_candidate(files["config.toml"], log, best, name="v2")
    assert list(told.weights) == pytest.approx(list(called.weights))
    mine, theirs = (found.evaluation.estimates["snips"] for found in (told, called))
    assert isinstance(mine, Estimate)
    assert isinstance(theirs, Estimate)
    assert mine.value == pytest.approx(theirs.value, abs=1e-12)


def test_a_prediction_is_scored_where_the_candidate_ran_in_the_same_log(files: dict[str, Path]) -> None:
    found = evaluate_candidate(files["config.toml"], [files["both.jsonl"]], best, name="v2")
    assert found.evaluation.n == 3000  # what the candidate did itself is no evidence beforehand
    assert found.outcome is not None
    assert found.outcome.covered
    assert found.outcome.realised == pytest.approx(VALUE, abs=0.04)


def test_what_is_no_distribution_is_refused_in_words(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ViewError, match="shape"):
        evaluate_candidate(files["config.toml"], [files["log.jsonl"]], lambda state, actions: state)
    with pytest.raises(ViewError, match="sum of 1"):
        evaluate_candidate(
            files["config.toml"], [files["log.jsonl"]], lambda s, a: np.full((len(s), len(a)), 0.9)
        )
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"decision_id": "d1", "p": 0.5}\n{"decision_id": "d2", "p": 1.5}\n')
    with pytest.raises(ViewError, match=r"bad.jsonl:2: p is 1.5"):
        evaluate_candidate(files["config.toml"], [files["log.jsonl"]], bad)
    other = tmp_path / "other.jsonl"
    other.write_text('{"decision_id": "elsewhere", "p": 0.5}\n')
    with pytest.raises(NoCandidate):
        evaluate_candidate(files["config.toml"], [files["log.jsonl"]], other)


def test_the_command_reads_probabilities_keeps_a_record_and_gates(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, report = tmp_path / "record.jsonl", tmp_path / "report.html"
    arguments = ["evaluate", "-c", str(files["config.toml"]), "--candidate", "v2", "--probabilities",
                 str(files["probs.jsonl.gz"]), "--record", str(record), str(files["both.jsonl"])]  # fmt: skip
    assert main([*arguments, "--report", str(report)]) == FINE
    text = capsys.readouterr().out
    for name in ("snips", "empirical_bernstein", "hoeffding", "confidence_sequence", "difference_sequence",
                 "bootstrap_t", "empirical_likelihood", "quantile", "cvar", "complaint"):  # fmt: skip
        assert f"  {name} " in text, name
        assert f"<td>{name}</td>" in report.read_text() or name == "snips"
    assert "the predicted interval holds that" in text
    assert main([*arguments, "--json"]) == FINE
    told = json.loads(capsys.readouterr().out)
    assert told["realised"]["held"]
    assert told["coverage"]["n"] == 1  # the same candidate again is one outcome
    assert len(record.read_text().splitlines()) == 1
    assert main([*arguments, "--margin", "0.5"]) == FINDING
    record.write_text("no json")
    assert main(arguments) == USAGE


def test_a_shadow_is_evaluated_from_what_was_served_in_its_place(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights are those that a file of its probabilities gives; a situation served twice is left out."""
    events = []
    for event in history(3000):
        events.append(event | {"unit": f"u{event['ts']}"} if event["type"] == "decision" else event)
        if event["type"] == "decision":
            p = best(np.array([event["state"]]), ["a", "b"])[0]
            shadow = decision(
                f"s{event['decision_id']}", 0, policy="v2", stage="shadow", action="a", unit=f"u{event['ts']}"
            )
            probs = dict(zip("ab", p.tolist(), strict=True))
            events.append(shadow | {"ts": event["ts"], "action_probs": probs})
    log = tmp_path / "shadows.jsonl"
    log.write_text("".join(json.dumps(event) + "\n" for event in events))
    arguments = ["evaluate", "-c", str(files["config.toml"]), "--candidate", "v2", "--json"]
    assert main([*arguments, str(log)]) == FINE
    heard = json.loads(capsys.readouterr().out)
    main([*arguments, "--probabilities", str(files["probs.jsonl.gz"]), str(files["log.jsonl"])])
    told = json.loads(capsys.readouterr().out)
    assert heard["n"] == told["n"] == 3000
    for name in ("ips", "snips"):
        assert heard["estimates"][name]["value"] == pytest.approx(told["estimates"][name]["value"], abs=1e-12)
    twice = [e | {"ts": events[0]["ts"], "unit": "one"} if e["type"] == "decision" else e for e in events]
    log.write_text("".join(json.dumps(event) + "\n" for event in twice))
    assert main([*arguments, str(log)]) == USAGE
    assert "shares its situation" in capsys.readouterr().err


def written(path: Path, events: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def test_a_floor_under_the_worst_tenth_and_a_margin_decide_at_the_gate(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "-c", str(files["config.toml"]), "--candidate", "v2"]
    arguments += ["--probabilities", str(files["probs.jsonl.gz"]), str(files["log.jsonl"])]
    assert main(arguments) == FINE
    assert main([*arguments, "--cvar-floor", "0.5"]) == FINDING  # the worst tenth earns nothing
    assert "refused" in capsys.readouterr().out
    assert main([*arguments, "--margin", "0.9"]) == FINDING


def coin(state: F64, actions: Sequence[str]) -> F64:
    """What v1 does."""
    return np.full((len(state), len(actions)), 0.5)


def test_one_that_is_nearly_the_same_is_acceptable_with_a_margin_below_zero(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    log = written(tmp_path / "log.jsonl", history(3000))
    same = evaluate_candidate(tmp_path / "config.toml", [log], coin, name="v2")
    assert same.evaluation.comparison is Comparison.CANNOT_TELL
    near = evaluate_candidate(tmp_path / "config.toml", [log], coin, name="v2", margin=-0.05)
    assert near.evaluation.comparison is Comparison.BETTER


def test_propensities_that_are_missing_are_estimated_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    bare = [{k: v for k, v in event.items() if k != "propensity"} for event in history(3000)]
    found = evaluate_candidate(tmp_path / "config.toml", [written(tmp_path / "a", bare)], best, name="v2")
    known = evaluate_candidate(
        tmp_path / "config.toml", [written(tmp_path / "b", history(3000))], best, name="v2"
    )
    assert found.evaluation.verdict is Verdict.UNRELIABLE
    assert "were estimated" in found.evaluation.reason
    wide, narrow = (one.evaluation.estimates["snips"] for one in (found, known))
    assert isinstance(wide, Estimate)
    assert isinstance(narrow, Estimate)
    assert wide.upper - wide.lower > 1.3 * (narrow.upper - narrow.lower)
    assert wide.lower < VALUE < wide.upper


def test_an_action_taken_more_often_than_logged_is_found_for_candidates_that_the_log_names(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    rng = np.random.default_rng(1)
    events = []
    for i in range(4000):
        action, p = ("ab"[int(rng.random() < 0.7)], 0.5)  # it says that it tosses a fair coin
        events.append(decision(f"d{i}", i, action=action, propensity=p, candidates={"v2": {"p": 0.5}}))
        events.append(reward(f"d{i}", i + 1, float(rng.random() < 0.5)))
    log = Files([str(written(tmp_path / "log", events))], 1 << 20)
    found = evaluate_log(load_config(tmp_path / "config.toml"), "home", "v2", log)
    assert found.evaluation.verdict is Verdict.UNRELIABLE
    assert "times as often as its propensities say" in found.evaluation.reason


def test_two_policies_that_know_each_other_are_weighed_as_one_mixture(tmp_path: Path) -> None:
    """v0 hardly takes b, v1 hardly takes a: v2 tosses a coin, and weights stay below 2 instead of 20."""
    (tmp_path / "config.toml").write_text(CONFIG)
    rng = np.random.default_rng(2)
    share = {"v0": {"a": 0.975, "b": 0.025}, "v1": {"a": 0.025, "b": 0.975}}
    events = []
    for i in range(4000):
        name = "v0" if i % 2 else "v1"
        action = "ab"[int(rng.random() > share[name]["a"])]
        said = {other: {"p": share[other][action]} for other in share if other != name} | {"v2": {"p": 0.5}}
        made = {"policy": name, "action": action, "propensity": share[name][action], "candidates": said}
        events += [
            decision(f"d{i}", i, **made),
            reward(f"d{i}", i + 1, float(rng.random() < 0.3 + 0.4 * (action == "b"))),
        ]
    config = load_config(tmp_path / "config.toml")
    found = evaluate_log(config, "home", "v2", Files([str(written(tmp_path / "log", events))], 1 << 20))
    assert found.weights.max() < 1.1
    assert found.evaluation.verdict is Verdict.RELIABLE
    snips = found.evaluation.estimates["snips"]
    assert isinstance(snips, Estimate)
    assert snips.lower < 0.5 < snips.upper
    assert snips.upper - snips.lower < 0.05
    alone = [
        event | {"candidates": {"v2": {"p": 0.5}}} if event["type"] == "decision" else event
        for event in events
    ]
    naive = evaluate_log(config, "home", "v2", Files([str(written(tmp_path / "alone", alone))], 1 << 20))
    assert naive.weights.max() == pytest.approx(20.0)
