"""Coarser buckets keep every total, and buckets of one window merge to what one bucket would have been."""

from dataclasses import fields

import numpy as np
import pytest

from detectors.registry import REGISTRY
from monitor.baselines import collecting
from monitor.baselines.collecting import Collector
from monitor.judging.plans import plan_for
from monitor.judging.windows import Group
from tests.unit.monitor.worlds import T0, World, decision, reward, small

SECONDS = 60


def collector(bucket_ms: int) -> Collector:
    plans = {spec.name: plan_for(small().deployments["home"], spec.name) for spec in REGISTRY}
    return Collector(REGISTRY, plans, bucket_ms, ["1", "0", "2"])


@pytest.fixture(scope="module")
def minute() -> list[Group]:
    world = World()
    watched = next(iter(world.pipeline.core.watched.values()))
    events = [decision(f"d{i}", i, state=[float(i % 7), float(i % 5)], action=i % 3) for i in range(SECONDS)]
    rewards = [reward(f"d{i}", i + 0.5, i % 2) for i in range(SECONDS)]
    log = sorted(events + rewards, key=lambda event: event["ts"])
    found: list[Group] = []
    for event in log:
        world.feed(event, seal=False)
    core = world.pipeline.core
    for start in sorted(core.ticks):
        core._run_tick(core.ticks.pop(start), start + 10_000)
        found += watched.joining.take()
    return found


def test_coarser_buckets_keep_every_total(minute: list[Group], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "MAX_BUCKETS", 2)
    coarse, fine = collector(10_000), collector(10_000)
    coarse.add(minute)
    coarse_parts = coarse.finish()
    monkeypatch.undo()
    fine.add(minute)
    fine_parts = fine.finish()
    assert coarse_parts["reward"].bucket_ms == 40_000
    assert len(coarse_parts["reward"].starts_ms) == 2
    assert len(fine_parts["reward"].starts_ms) == 6
    assert coarse_parts.keys() == fine_parts.keys()
    for name, part in fine_parts.items():
        for field, series in part.series.items():
            np.testing.assert_allclose(
                coarse_parts[name].series[field].sum(axis=0),
                series.sum(axis=0),
                rtol=1e-12,
                err_msg=f"{name}.{field}",
            )


def test_every_group_is_counted_once_whether_it_came_before_or_after_the_schema_was_fixed(
    minute: list[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "SAMPLE_ROWS", 25)
    made = collector(10_000)
    for group in minute:
        made.add([group])
    assert made.decisions == SECONDS
    assert made.rewards == SECONDS
    assert made.finish()["reward"].series["decisions"].sum() == SECONDS


def test_nothing_makes_no_baseline() -> None:
    with pytest.raises(ValueError, match="no decision"):
        collector(10_000).finish()


def test_a_window_is_the_sum_of_its_buckets(minute: list[Group]) -> None:
    """of(a) + of(b) == of(a + b), for every detector that the registry has."""
    world = World()
    windows = next(iter(world.pipeline.core.watched.values())).windows  # type: ignore[attr-defined]
    windows.add(minute)
    key = minute[0].key
    for spec in REGISTRY:
        window = windows.window(key, spec.name, T0 + 60_000, ())
        if window is None:
            continue
        for field in fields(spec.statistic):
            whole = getattr(window.total, field.name)
            halves = type(window.total).merged(window.buckets[:3]) + type(window.total).merged(
                window.buckets[3:]
            )
            np.testing.assert_allclose(getattr(halves, field.name), whole, rtol=1e-12, err_msg=spec.name)


def test_a_window_ends_before_now_and_reaches_back_its_length(minute: list[Group]) -> None:
    world = World()
    windows = next(iter(world.pipeline.core.watched.values())).windows  # type: ignore[attr-defined]
    windows.add(minute)
    window = windows.window(minute[0].key, "reward", T0 + 70_000, ())
    assert window is not None
    assert list(window.starts_ms) == [T0 + ms for ms in range(10_000, 60_000, 10_000)]
    assert windows.window(minute[0].key, "reward", T0 + 120_000, ()) is None


def test_buckets_that_arrive_out_of_order_are_kept_in_order(minute: list[Group]) -> None:
    world = World()
    windows = next(iter(world.pipeline.core.watched.values())).windows  # type: ignore[attr-defined]
    windows.add(minute[::-1])
    assert list(windows.buckets[minute[0].key]["reward"]) == [T0 + ms for ms in range(0, 60_000, 10_000)]


def test_what_no_window_and_no_late_reward_can_reach_is_pruned(minute: list[Group]) -> None:
    world = World()
    windows = next(iter(world.pipeline.core.watched.values())).windows  # type: ignore[attr-defined]
    windows.add(minute)
    windows.prune(T0 + 60_000 + 60_000 + 30_000 + 10_001)
    assert not any(kept for mine in windows.buckets.values() for kept in mine.values())
