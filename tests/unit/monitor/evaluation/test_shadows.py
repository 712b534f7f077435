"""Candidates that run as a shadow: paired with what was served in their place."""

from typing import Any

import pytest

from detectors.measurement import Verdict
from tests.unit.monitor.evaluation.candidate_logs import (
    CONFIG,
    EPISODES,
    episodes,
    events,
    fed,
    lines_in_any_polls,
    said,
    shadowed,
)
from tests.unit.monitor.worlds import World, decision


@pytest.mark.parametrize("says", ["probs", "draw"])
def test_a_shadow_is_estimated_from_what_was_served_in_its_place(says: str) -> None:
    world = fed(World(CONFIG), shadowed(300, (0.4, 0.6), says=says))
    named = fed(World(CONFIG), events(300, (0.4, 0.6)))
    paired = said(world, "paired")
    assert (paired.value, said(world, "trust").value) == (1.0, 1.0)
    if says == "probs":  # the same weights as if the served decision had named it
        assert said(world, "ess").value == pytest.approx(said(named, "ess").value)
        assert said(world, "lower").value == pytest.approx(said(named, "lower").value)
    assert said(world, "value").value == pytest.approx(0.58, abs=0.05)
    assert said(world, "lower").value < 0.58 < said(world, "upper").value
    assert not [s for s in world.signals if s.rule == "candidates"]


def test_a_shadow_that_is_clearly_worse_or_breaks_a_budget_is_held() -> None:
    worse = fed(World(CONFIG), shadowed(300, (0.8, 0.2)))
    assert [(s.policy, s.subject, s.kind) for s in worse.signals if s.rule == "candidates"] == [
        ("v2", "shadow", "hold")
    ]
    dear = [
        e | {"costs": {"complaint": float(e["action"] == 1)}} if e.get("policy") == "v1" else e
        for e in shadowed(300, (0.5, 0.5))
    ]
    broken = fed(World(CONFIG), dear)
    assert said(broken, "cost").verdict is Verdict.BREACH
    assert said(broken, "cost").value == pytest.approx(0.9, abs=0.05)


def test_shadows_are_paired_by_episode_and_step_though_their_times_differ() -> None:
    log = shadowed(120, (0.4, 0.6), episode=lambda i: f"e{i // 20}", step=lambda i: i % 20)
    late = [e | {"ts": e["ts"] + 12_000} if e.get("stage") == "shadow" else e for e in log]
    world = fed(World(CONFIG), sorted(late, key=lambda e: e["ts"]))
    assert said(world, "paired").value == 1.0
    assert said(world, "value").n > 300


def test_what_cannot_be_paired_is_not_identified_and_says_why() -> None:
    nameless = [{k: v for k, v in e.items() if k != "unit"} for e in shadowed(60, (0.8, 0.2))]
    world = fed(World(CONFIG), nameless)
    assert said(world, "trust").value == -1.0
    assert "name no episode and step, nor a unit" in said(world, "trust").reason
    assert said(world, "difference").verdict is Verdict.UNKNOWN
    elsewhere = [
        e | {"unit": f"x{i}"} if e.get("stage") == "shadow" else e
        for i, e in enumerate(shadowed(120, (0.8, 0.2)))
    ]
    alone = fed(World(CONFIG), elsewhere)
    assert "no single served decision shares them" in said(alone, "trust").reason
    twice = [e | {"unit": "one", "ts": e["ts"] // 1000 * 1000} for e in shadowed(120, (0.8, 0.2))]
    assert said(fed(World(CONFIG), twice), "paired").value == 0.0


def test_a_shadow_paired_in_part_only_is_not_reliable() -> None:
    log = shadowed(120, (0.4, 0.6))
    part = [
        {k: v for k, v in e.items() if k != "unit"} if e.get("stage") == "shadow" and i % 5 == 0 else e
        for i, e in enumerate(log)
    ]
    world = fed(World(CONFIG), part)
    assert said(world, "trust").value == 0.0
    assert "were paired" in said(world, "trust").reason


def test_a_log_of_shadows_says_the_lines_in_any_polls_and_after_a_restart() -> None:
    lines = lines_in_any_polls(CONFIG, shadowed(100, (0.8, 0.2)))
    assert lines[0] == lines[1] == lines[2]


def test_a_shadow_of_whole_episodes_is_judged_as_if_its_steps_had_been_named() -> None:
    named = episodes(150, (0.4, 0.6))
    shadowing: list[dict[str, Any]] = []
    for i, event in enumerate(named):
        if event["type"] == "reward":
            shadowing.append(event)
            continue
        shadow = decision(f"s{i}", 0, stage="shadow", policy="v2", action=1, action_probs=[0.4, 0.6],
                          episode=event["episode"], step=event["step"])  # fmt: skip
        shadowing += [{k: v for k, v in event.items() if k != "candidates"}, shadow | {"ts": event["ts"]}]
    mine, theirs = fed(World(EPISODES), shadowing), fed(World(EPISODES), named)
    assert said(mine, "paired").value == 1.0
    for statistic in ("value", "difference", "lower", "upper", "ess"):
        assert said(mine, statistic).value == pytest.approx(said(theirs, statistic).value, abs=1e-12)
