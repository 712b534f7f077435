"""Candidates of whole episodes."""

import numpy as np
import pytest

from detectors.measurement import Verdict
from detectors.ope import Estimate, Options, TrajectoryLog, evaluate
from tests.unit.monitor.evaluation.candidate_logs import (
    EPISODES,
    SHADOW,
    episodes,
    fed,
    lines_in_any_polls,
    said,
    watched,
)
from tests.unit.monitor.worlds import World, decision


def test_finished_episodes_of_a_candidate_are_estimated_as_evaluate_does() -> None:
    log = episodes(400, (0.4, 0.6))
    world = fed(World(EPISODES), log)
    now_ms = world.sealed[-1].end_ms
    earned = {e["decision_id"]: e["reward"] for e in log if e["type"] == "reward"}
    steps = [e for e in log if e["type"] == "decision"]
    last = {e["episode"]: e["ts"] for e in steps if e["step"] == 3}
    final = [e for e in steps if last[e["episode"]] < now_ms - 30_000]
    names = sorted({e["episode"] for e in final})
    column = {name: i for i, name in enumerate(names)}
    offline = evaluate(
        TrajectoryLog(
            episode=np.array([column[e["episode"]] for e in final]),
            step=np.array([e["step"] for e in final]),
            reward=np.array([earned[e["decision_id"]] for e in final]),
            propensity=np.full(len(final), 0.5),
            p=np.array([e["candidates"]["v2"]["p"] for e in final]),
            gamma=0.9,
        ),
        Options(),
    )
    mine, theirs = said(world, "value"), offline.estimates["trajectory_wis"]
    assert isinstance(theirs, Estimate)
    assert mine.n == len(names) > 300
    assert mine.value == pytest.approx(theirs.value, abs=1e-9)
    assert mine.reason == "trajectory_wis"
    truth = 0.52 * (1 - 0.9**4) / 0.1
    assert said(world, "lower").value < truth < said(world, "upper").value
    assert (
        said(world, "upper").value - said(world, "lower").value > theirs.upper - theirs.lower
    )  # at every look
    assert said(world, "trust").value == 1.0
    assert said(world, "usable_steps").value == 4.0
    assert not world.signals


def test_a_candidate_whose_episodes_are_worse_or_too_dear_is_held() -> None:
    worse = fed(World(EPISODES), episodes(900, (1.0, 0.0)))
    assert said(worse, "difference").verdict is Verdict.BREACH
    assert [(s.policy, s.kind) for s in worse.signals if s.rule == "candidates"] == [("v2", "hold")]
    assert "episodes of v1" in said(worse, "difference").reason
    dear = fed(World(EPISODES), episodes(500, (0.5, 0.5), harm=0.5))
    assert said(dear, "cost").verdict is Verdict.BREACH
    assert said(dear, "cost").value == pytest.approx(4 * 0.6 * 0.5, abs=0.15)


def test_estimates_are_withheld_where_the_weights_of_episodes_are_gone() -> None:
    far = [
        e if e["type"] == "reward" else e | {"candidates": {"v2": {"p": (0.0, 1.0)[e["action"]]}}}
        for e in episodes(120, (0.4, 0.6))
    ]
    world = fed(World(EPISODES), far)
    assert said(world, "trust").value == 0.0
    assert said(world, "difference").verdict is Verdict.UNKNOWN
    assert not [m for m in world.sealed[-1].measured[SHADOW] if m.statistic == "value"]


def test_episodes_say_the_lines_in_any_polls_and_after_a_restart() -> None:
    lines = lines_in_any_polls(EPISODES, episodes(120, (0.9, 0.1)))
    assert any(b'"candidates"' in line for line in lines[0])
    assert lines[0] == lines[1] == lines[2]


def test_an_episode_that_never_ends_is_taken_as_it_is_once_it_is_idle() -> None:
    log = [e | {"done": False} if e["type"] == "reward" else e for e in episodes(150, (0.4, 0.6))]
    world = fed(World(EPISODES), [*log, decision("later", 400)])
    assert said(world, "value").n == 150
    assert "cut off" in said(world, "trust").reason
    assert len(watched(world).candidates.unfinished) == 0


def test_decisions_with_consequences_but_without_an_episode_cannot_be_judged() -> None:
    bare = [{k: v for k, v in e.items() if k not in ("episode", "step")} for e in episodes(100, (0.4, 0.6))]
    world = fed(World(EPISODES), bare)
    assert said(world, "difference").verdict is Verdict.UNKNOWN
    assert world.last("candidates", "steps_left_out", ("*", "shadow")).value > 200
