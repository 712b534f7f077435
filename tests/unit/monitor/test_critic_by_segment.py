"""The critic by segment and by action through the whole daemon: from a field of a decision to a page that names it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors.measurement import Verdict
from monitor.assembly import build_core, build_pipeline, vocabulary_for
from monitor.baselines.baseline import BaselineFile, load
from monitor.baselines.building import build_baseline
from monitor.checking import check
from monitor.config import Config
from monitor.judging.sequential_tests import BY_GROUP, SequentialTests, sequential_tests
from monitor.replaying import Observer
from monitor.source import Files
from tests.unit.monitor.worlds import World, decision, reward, small

SITES = ("north", "south", "west", "centre", "coast", "east")
PER_S = 4
OLD = Path(__file__).parent / "baseline-before-segments.npz"


def of_home(**changed: Any) -> Config:
    home = {
        "bucket": "10s", "window": "2m", "reward_horizon": "10s", "fallback_policy": "rules-v3",
        "false_signals": "1 per 1d",
    }  # fmt: skip
    return small(deployments__home=home | changed)


def log(seconds: int, seed: int, rot: float = 0.0) -> Iterator[dict[str, Any]]:
    """Two actions, six sites; from half of the time on the critic promises `rot` too much in the east."""
    rng = np.random.default_rng(seed)
    for i in range(seconds * PER_S):
        at_s, site = i / PER_S, int(rng.integers(6))
        worse = rot if SITES[site] == "east" and at_s > seconds / 2 else 0.0
        segments = {"site": SITES[site], "tier": "gold" if rng.random() < 0.2 else "basic"}
        came = round(0.5 - worse + 0.3 * float(rng.standard_normal()), 4)
        yield decision(f"{seed}-{i}", at_s, action=int(rng.integers(2)), value=0.5, segments=segments)
        yield reward(f"{seed}-{i}", at_s + 0.1, came, done=True)


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> BaselineFile:
    folder = tmp_path_factory.mktemp("baseline")
    lines = [json.dumps(event) for event in log(1_500, seed=1)]
    (folder / "log.jsonl").write_text("\n".join(lines))
    build_baseline(
        of_home(), "home", Files([str(folder / "log.jsonl")], 1 << 20), folder / "home", Observer()
    )
    return load(folder / "home")


def watched(baseline: BaselineFile, events: Iterator[dict[str, Any]], **changed: Any) -> World:
    world = World(of_home(**changed))
    vocabulary = vocabulary_for(world.config, {"home": baseline})
    core = build_core(world.config, {"home": baseline}, vocabulary)
    world.pipeline = build_pipeline(world.config, core, vocabulary)
    made = list(events)
    for start in range(0, len(made), 500):
        world.feed(*made[start : start + 500])
    return world.flush()


def armed_of(config: Config, file: BaselineFile) -> SequentialTests:
    return sequential_tests(config.deployments["home"], file.parts)


def test_the_baseline_knows_its_segments(baseline: BaselineFile) -> None:
    assert set(baseline.facts.segments) == {*(f"site={site}" for site in SITES), "tier=gold", "tier=basic"}
    assert baseline.parts["critic_groups"].segments == baseline.facts.segments


@pytest.mark.parametrize("returns", ["reward", "n-step"])
def test_a_segment_that_rots_is_named_in_the_page(baseline: BaselineFile, returns: str) -> None:
    """Through the join alone and through the book of episodes: those of one step return their reward."""
    world = watched(baseline, log(400, seed=2, rot=0.35), returns=returns)
    fired = [signal for signal in world.signals if signal.rule == "critic"]
    assert fired
    assert "the critic over-estimates in site=east: its mean of value - target has been" in fired[0].reason
    assert fired[0].evidence.culprits[0] == "site=east"
    bias = world.last("critic_groups", "bias_by_segment")
    assert bias.culprits[0].name == "site=east"


def test_check_prints_what_over_estimation_by_segment_costs_and_sees(baseline: BaselineFile) -> None:
    report = check(of_home(), {"home": baseline})
    prices = {price.statistic: price for price in report.prices["home"]}
    whole, by_segment, by_action = (
        prices[f"sequential.{name}"]
        for name in ("critic_shift", "critic_over_by_segment", "critic_over_by_action")
    )
    assert by_segment.false_per_month == pytest.approx(whole.false_per_month * BY_GROUP / (1 - 2 * BY_GROUP))
    assert by_action.false_per_month == by_segment.false_per_month
    assert by_segment.smallest_change > 0
    assert by_segment.seen_after_ms > 10_000


def test_where_no_group_can_be_told_apart_the_whole_price_is_the_critics_own(baseline: BaselineFile) -> None:
    config = of_home()
    known = armed_of(config, baseline)
    assert sorted(test.share for test in known.tests if test.statistic.startswith("critic_")) == [
        BY_GROUP, BY_GROUP, 1 - 2 * BY_GROUP,
    ]  # fmt: skip
    alone = replace(
        baseline, parts={name: part for name, part in baseline.parts.items() if name != "critic_groups"}
    )
    assert [test.share for test in armed_of(config, alone).tests if test.statistic == "critic_shift"] == [1.0]


def test_a_baseline_of_before_segments_is_read_and_groups_stay_unknown() -> None:
    """`baseline-before-segments.npz` was built by the version before: the rest of it is judged as it was."""
    old = load(OLD)
    assert old.facts.segments == ()
    world = watched(old, log(60, seed=3))
    groups = [
        m
        for sealed in world.sealed
        for measured in sealed.measured.values()
        for m in measured
        if m.detector == "critic_groups"
    ]
    assert {m.statistic for m in groups} >= {"bias_by_action", "bias_by_segment"}
    assert {m.verdict for m in groups} == {Verdict.UNKNOWN}
    assert world.last("critic", "bias").verdict is Verdict.OK
