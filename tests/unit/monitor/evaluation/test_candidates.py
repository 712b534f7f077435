"""Candidates in the live log: estimates that follow, a hold where one is worse, predictions set against what came."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from detectors.measurement import Measurement, Verdict
from detectors.ope import Estimate, Options, TrajectoryLog, evaluate
from monitor.config import Config
from monitor.joins import candidates as waiting
from monitor.judging.watched import Watched
from monitor.pages.replay import ReplayReport
from monitor.persistence.state import restore, snapshot
from monitor.replaying import Summary
from monitor.sealed import measurement_lines
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


# --- shadows ---------------------------------------------------------------------------------------------------------


def shadowed(
    seconds: int, worth: tuple[float, float], seed: int = 0, says: str = "probs", **named: Any
) -> list[dict[str, Any]]:
    """The same traffic, v2 a shadow that takes the second action nine times in ten, instead of `candidates`.

    says: whether it logs its whole distribution ("probs") or only its own draw ("draw").
    """
    rng = np.random.default_rng(seed + 100)
    made = []
    for i, event in enumerate(events(seconds, worth, seed)):
        if event["type"] == "reward":
            made.append(event)
            continue
        who = {key: value(i) for key, value in named.items()} or {"unit": f"u{i % 97}"}
        event = {key: value for key, value in event.items() if key != "candidates"} | who
        more: dict[str, Any] = {"action_probs": [0.1, 0.9]} if says == "probs" else {}
        shadow = decision(
            f"s{i}", 0, stage="shadow", policy="v2", action=int(rng.random() < 0.9), **who, **more
        )
        made += [event, shadow | {"ts": event["ts"]}]
    return made


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


def test_a_log_of_shadows_says_the_same_in_any_polls_and_after_a_restart() -> None:
    log = shadowed(100, (0.8, 0.2))
    whole, pieces = fed(World(CONFIG), log, cut=5_000), fed(World(CONFIG), log, cut=37)
    half = fed(World(CONFIG), log[: len(log) // 2], cut=101)
    again = World(CONFIG)
    again.sealed, again.offsets = half.sealed, half.offsets
    assert restore(again.pipeline, snapshot(half.pipeline)) == []
    fed(again, log[len(log) // 2 :], cut=211)
    lines = [
        [line for one in world.sealed for line in measurement_lines(one)] for world in (whole, pieces, again)
    ]
    assert lines[0] == lines[1] == lines[2]


# --- episodes --------------------------------------------------------------------------------------------------------

EPISODES = small(
    deployments__home__gamma=0.9,
    deployments__home__returns="episode",
    deployments__home__costs={"harm": {"budget": 0.3, "per": "episode"}},
)


def episodes(n: int, gains: tuple[float, float], seed: int = 0, harm: float = 0.0) -> list[dict[str, Any]]:
    """Episodes of four steps, one a second; v2 takes the second action .6 of the time, v1 half."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        for step in range(4):
            action, at = int(rng.random() < 0.5), i + step / 8
            name = f"e{i}.{step}"
            cost = {"harm": float(rng.random() < harm * action)}
            made.append(decision(name, at, action=action, propensity=0.5, episode=f"e{i}", step=step, costs=cost,
                                 candidates={"v2": {"p": (0.4, 0.6)[action]}}))  # fmt: skip
            earned = gains[action] + rng.normal(0, 0.1)
            made.append(reward(name, at + 1, float(earned), done=step == 3))
    return sorted(made, key=lambda event: event["ts"])


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


def test_episodes_say_the_same_in_any_polls_and_after_a_restart() -> None:
    log = episodes(120, (0.9, 0.1))
    whole, pieces = fed(World(EPISODES), log, cut=5_000), fed(World(EPISODES), log, cut=37)
    half = fed(World(EPISODES), log[: len(log) // 2], cut=101)
    again = World(EPISODES)
    again.sealed, again.offsets = half.sealed, half.offsets
    assert restore(again.pipeline, snapshot(half.pipeline)) == []
    fed(again, log[len(log) // 2 :], cut=211)
    lines = [
        [line for one in world.sealed for line in measurement_lines(one)] for world in (whole, pieces, again)
    ]
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
