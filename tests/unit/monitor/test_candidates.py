"""Candidates in the live log: estimates that follow, a hold where one is worse, predictions set against what came."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from detectors.measurement import Measurement, Verdict
from monitor.config import Config
from monitor.pages.replay import ReplayReport
from monitor.replaying import Summary
from monitor.sealed import measurement_lines
from monitor.state import restore, snapshot
from monitor.watched import Watched
from tests.unit.monitor.worlds import World, decision, pipeline_of, reward, small

SHADOW = ("v2", "shadow")
CONFIG = small(
    deployments__home__reward_range=[0, 1],
    deployments__home__costs={"complaint": {"budget": 0.1, "per": "decision"}},
)


def events(
    seconds: int, worth: tuple[float, float], seed: int = 0, first: int = 0, policy: str = "v1", **more: Any
) -> list[dict[str, Any]]:
    """Five decisions a second between two actions that earn `worth`; v2 takes the second nine times in ten."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(first * 5, (first + seconds) * 5):
        action, at = int(rng.random() < 0.5), i / 5
        p = (0.1, 0.9)[action]
        made.append(decision(f"d{i}", at, policy=policy, action=action, propensity=0.5, costs={"complaint": 0.0},
                             candidates={"v2": {"p": p, "q": worth[action], "v": 0.1 * worth[0] + 0.9 * worth[1]}},
                             **more))  # fmt: skip
        made.append(reward(f"d{i}", at + 1, float(rng.random() < worth[action])))
    return sorted(made, key=lambda event: event["ts"])


def fed(world: World, log: list[dict[str, Any]], cut: int = 500) -> World:
    for start in range(0, len(log), cut):
        world.feed(*log[start : start + cut])
    return world


def said(world: World, statistic: str) -> Measurement:
    return world.last("candidates", statistic, SHADOW)


def replace_home(**changed: Any) -> Config:
    return replace(CONFIG, deployments={"home": replace(CONFIG.deployments["home"], **changed)})


def watched(world: World) -> Watched:
    home = world.pipeline.core.watched[0]
    assert isinstance(home, Watched)
    return home


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
    log = events(120, (0.8, 0.2))
    whole, pieces = fed(World(CONFIG), log, cut=5_000), fed(World(CONFIG), log, cut=37)
    half = fed(World(CONFIG), log[: len(log) // 2], cut=101)
    again = World(CONFIG)
    again.pipeline, again.sealed, again.offsets = pipeline_of(CONFIG), half.sealed, half.offsets
    assert restore(again.pipeline, snapshot(half.pipeline)) == []
    fed(again, log[len(log) // 2 :], cut=211)
    lines = [
        [line for one in world.sealed for line in measurement_lines(one)] for world in (whole, pieces, again)
    ]
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


def test_candidates_of_episodes_are_left_to_evaluate() -> None:
    world = fed(
        World(small(deployments__home__gamma=0.9, deployments__home__returns="td")), events(100, (0.8, 0.2))
    )
    assert said(world, "difference").verdict is Verdict.UNKNOWN
    assert "whole episodes" in said(world, "difference").reason


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
