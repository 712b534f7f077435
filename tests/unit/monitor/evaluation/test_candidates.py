"""Candidates in the live log: estimates that follow, a hold where one is worse, predictions set against what came."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from detectors.measurement import Verdict
from monitor.joins import candidates as waiting
from monitor.pages.replay import ReplayReport
from monitor.persistence.state import restore, snapshot
from monitor.replaying import Summary
from tests.unit.monitor.evaluation.candidate_logs import (
    CONFIG,
    SHADOW,
    events,
    fed,
    lines_in_any_polls,
    replace_home,
    said,
    watched,
)
from tests.unit.monitor.worlds import World, decision, small


def test_estimates_of_a_candidate_are_those_of_its_final_decisions() -> None:
    log = events(300, (0.4, 0.6))
    world = fed(World(CONFIG), log)
    now_ms = world.sealed[-1].end_ms
    final = [e for e in log if e["type"] == "decision" and e["ts"] < now_ms - 30_000]
    earned = {e["decision_id"]: e["reward"] for e in log if e["type"] == "reward"}
    w = np.array([e["candidates"]["v2"]["p"] / 0.5 for e in final])
    r = np.array([earned[e["decision_id"]] for e in final])
    q = np.array([e["candidates"]["v2"]["q"] for e in final])
    assert said(world, "value").n == len(final) > 1_000
    assert said(world, "value").value == pytest.approx((0.58 + w * (r - q)).mean(), abs=1e-12)
    assert said(world, "difference").value == pytest.approx((0.58 + w * (r - q) - r).mean(), abs=1e-12)
    assert said(world, "ess").value == pytest.approx(w.sum() ** 2 / (w**2).sum())
    assert said(world, "lower").value < 0.58 < said(world, "upper").value
    assert said(world, "trust").value == 1.0
    assert not world.signals


def test_a_candidate_that_is_clearly_worse_is_held_and_named() -> None:
    world = fed(World(CONFIG), events(300, (0.8, 0.2)))
    firing = [s for s in world.signals if s.rule == "candidates"]
    assert [(s.policy, s.subject, s.kind, s.state) for s in firing] == [("v2", "shadow", "hold", "firing")]
    assert " decisions of v1" in firing[0].reason
    assert said(world, "difference").verdict is Verdict.BREACH
    assert said(world, "comparison").value == -1.0


def test_a_decision_without_a_reward_is_lacking_or_zero_as_configured() -> None:
    log = [e for e in events(150, (0.5, 0.5)) if e["type"] == "decision" or e["reward"] == 1.0]
    ignored, zero = (fed(World(replace_home(missing_reward=m)), log) for m in ("ignore", "zero"))
    assert said(ignored, "trust").value == 0.0
    assert "lack a reward" in said(ignored, "trust").reason
    assert said(zero, "value").value == pytest.approx(0.5, abs=0.1)


def test_the_page_of_a_replay_shows_where_a_candidate_stands() -> None:
    world = fed(World(CONFIG), events(100, (0.8, 0.2)))
    report = ReplayReport()
    for one in world.sealed:
        report.sealed(one)
    page = report.render(Summary())
    assert "<td>home</td><td>v2</td><td>v1</td>" in page
    assert "the candidate earns -0." in page


def test_a_candidate_that_is_better_is_said_to_be() -> None:
    world = fed(World(CONFIG), events(300, (0.2, 0.8)))
    assert said(world, "comparison").value == 1.0
    assert not [s for s in world.signals if s.rule == "candidates"]


def test_a_candidate_that_breaks_a_budget_is_held_and_one_that_may_is_unknown() -> None:
    log = events(300, (0.5, 0.5))
    few = [e if e["type"] == "reward" else e | {"costs": {"complaint": float(e["action"] == 1)}} for e in log]
    world = fed(World(CONFIG), few)
    assert said(world, "cost").verdict is Verdict.BREACH
    assert [s.rule for s in world.signals if s.policy == "v2"] == ["candidates"]
    never = fed(World(CONFIG), events(100, (0.5, 0.5)))  # none was ever seen, in 350 decisions
    assert said(never, "cost").verdict is Verdict.OK
    rng = np.random.default_rng(5)
    dear = [
        e if e["type"] == "reward" else e | {"costs": {"complaint": float(rng.random() < 0.1)}}
        for e in events(100, (0.5, 0.5))
    ]
    unsettled = fed(World(CONFIG), dear)
    assert said(unsettled, "cost").verdict is Verdict.UNKNOWN


def test_what_is_said_does_not_depend_on_polls_or_on_a_restart() -> None:
    lines = lines_in_any_polls(CONFIG, events(120, (0.8, 0.2)))
    assert any(b'"candidates"' in line for line in lines[0])
    assert lines[0] == lines[1] == lines[2]


def test_decisions_become_final_in_silence_too() -> None:
    log = events(60, (0.5, 0.5))
    after = decision("late", 600)
    world = fed(World(CONFIG), [*log, after])
    assert said(world, "value").n == 300


def test_a_log_without_candidates_says_and_keeps_nothing() -> None:
    log = [{k: v for k, v in e.items() if k != "candidates"} for e in events(60, (0.5, 0.5))]
    world = fed(World(CONFIG), log)
    home = watched(world)
    assert not any(SHADOW in one.measured for one in world.sealed)
    assert home.joining.candidates is not None
    assert len(home.joining.candidates) == 0


def test_without_a_range_of_rewards_nothing_is_held() -> None:
    world = fed(World(small()), events(200, (0.8, 0.2)))
    assert said(world, "difference").verdict is Verdict.UNKNOWN
    assert "reward_range" in said(world, "difference").reason
    assert said(world, "value").value == pytest.approx(0.26, abs=0.05)


def test_a_withdrawn_candidate_lets_its_alert_resolve() -> None:
    log = events(200, (0.8, 0.2))
    rest = [{k: v for k, v in e.items() if k != "candidates"} for e in events(500, (0.8, 0.2), first=200)]
    world = fed(World(CONFIG), log + rest)
    assert [s.state for s in world.signals if s.rule == "candidates"] == ["firing", "resolved"]


def test_more_candidates_than_there_is_room_for_are_counted() -> None:
    log = events(60, (0.5, 0.5))
    crowd = {f"c{i}": {"p": 0.5, "q": 0.5, "v": 0.5} for i in range(12)}
    world = fed(World(CONFIG), [e if e["type"] == "reward" else e | {"candidates": crowd} for e in log])
    judged = {key[0] for one in world.sealed for key in one.measured if key[1] == "shadow" and key[0] != "*"}
    assert len(judged) == 8
    assert world.last("candidates", "left_out", ("*", "shadow")).value > 0


def test_a_prediction_is_set_against_what_the_candidate_earns_when_it_runs() -> None:
    log = events(200, (0.4, 0.6))
    live = [
        e if e["type"] == "reward" else {k: v for k, v in e.items() if k != "candidates"}
        for e in events(200, (0.58, 0.58), first=200, policy="v2", seed=3)
    ]
    world = fed(World(CONFIG), log + live)
    coverage = world.last("candidates", "coverage", ("*", "shadow"))
    assert (coverage.value, coverage.n) == (1.0, 1)
    realised = said(world, "realised")
    assert realised.value == pytest.approx(0.58, abs=0.05)
    assert "held" in realised.reason
    again = World(CONFIG)
    restore(again.pipeline, snapshot(world.pipeline))
    assert [home.candidates.record for home in map(watched, (again, world))] == [
        watched(world).candidates.record
    ] * 2
    wrong = [e if e["type"] == "decision" else e | {"reward": 0.0} for e in live]
    missed = fed(World(CONFIG), log + wrong).last("candidates", "coverage", ("*", "shadow"))
    assert (missed.value, missed.n) == (0.0, 1)


def test_other_budgets_begin_a_life_anew() -> None:
    log = events(100, (0.5, 0.5))
    world = fed(World(CONFIG), log)
    costs = {"complaint": replace(CONFIG.deployments["home"].costs["complaint"], budget=0.2)}
    other = World(replace_home(costs=costs))
    restore(other.pipeline, snapshot(world.pipeline))
    other.offsets = world.offsets
    fed(other, events(40, (0.5, 0.5), first=100))
    assert 0 < said(other, "value").n < said(world, "value").n
    assert json.dumps(said(other, "cost").reason)


def test_a_state_of_the_version_before_is_read_and_its_lives_begin_anew() -> None:
    """`candidates-1.msgpack.gz` holds a minute of `events` in polls of 101, as saved by version 0.1."""
    saved = gzip.decompress((Path(__file__).parent / "candidates-1.msgpack.gz").read_bytes())
    world = World(CONFIG)
    assert restore(world.pipeline, msgspec.msgpack.decode(saved)) == []
    assert watched(world).candidates.lives == {}
    assert len(watched(world).candidates.pending) == 150
    world.offsets = {"p": 600}
    fed(world, events(100, (0.4, 0.6))[600:])
    assert said(world, "value").n == 200  # the 150 that waited, and 50 more


def test_what_waits_for_rewards_has_a_limit_that_does_not_look_at_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "MOST_ROWS", 100)
    log = events(120, (0.4, 0.6))
    world = fed(World(CONFIG), log)
    home = watched(world)
    assert len(home.candidates.pending) <= 100
    assert world.last("candidates", "crowded_out", ("*", "shadow")).value > 100
    assert said(world, "value").value == pytest.approx(0.58, abs=0.1)
    again = World(CONFIG)
    restore(again.pipeline, snapshot(world.pipeline))
    assert watched(again).candidates.pending.crowded_out == home.candidates.pending.crowded_out


def test_propensities_next_to_nothing_fail_for_their_candidate_and_end_nothing_else() -> None:
    """Weights of 1e300 have squares that are no numbers: the daemon died of them, and again at every start."""
    log = events(120, (0.2, 0.8))
    for at, made in enumerate(log):
        if made["type"] == "decision" and at % 3 == 0:
            made["propensity"] = 1e-300
    world = fed(World(CONFIG), log)
    assert world.ends()[-1] >= 100
    assert world.last("reward", "mean").n > 0
    assert all(m.verdict is not Verdict.BREACH for m in world.sealed[-1].measured[SHADOW])
