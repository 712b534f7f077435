"""The pure core with tiny hand-made logs: what is counted where, what is set aside and why, and when time moves."""

from typing import Any

import pytest

from monitor.joining import name_of
from monitor.judging import watched as watched_module
from monitor.persistence.state import restore, snapshot
from tests.unit.monitor.worlds import T0, World, decision, metric, reward, small

HOUR = 3_600


def joined(world: World) -> float:
    """Rewards counted in the last window."""
    return world.last("reward", "mean").n


def test_a_reward_is_counted_in_the_bucket_of_its_decision() -> None:
    world = World().feed(decision("a", 1), reward("a", 12, 0.5)).flush()
    assert world.ends() == [10, 20]
    assert [len(s.measured) for s in world.sealed] == [1, 1]
    assert world.last("reward", "mean").value == 0.5
    (windows,) = [watched.windows for watched in world.pipeline.core.watched.values()]  # type: ignore[attr-defined]
    ((buckets),) = [mine["reward"] for mine in windows.buckets.values()]
    assert list(buckets) == [T0]
    assert buckets[T0].moments[0, 0] == 1


def test_late_event_is_counted_not_summed() -> None:
    world = World().feed(decision("a", 0), decision("b", 60), decision("late", 54)).flush()
    assert world.reasons() == [("late", "p", 2)]
    assert "6000 ms behind" in world.rejected[0].detail
    assert sum(sealed.decisions for sealed in world.sealed) == 2


def test_an_event_that_is_late_but_allowed_is_summed() -> None:
    world = World().feed(decision("a", 0), decision("b", 60), decision("c", 55)).flush()
    assert world.rejected == []
    assert sum(sealed.decisions for sealed in world.sealed) == 3


def test_a_reward_before_its_decision_waits_for_it() -> None:
    world = World().feed(reward("a", 1, 0.25)).feed(decision("z", 25), decision("a", 26)).flush()
    assert world.last("reward", "mean").value == 0.25
    assert world.rejected == []


def test_a_reward_for_an_unknown_decision_is_set_aside_with_its_place() -> None:
    world = World().feed(decision("a", 0), reward("ghost", 1), partition="other").feed(decision("b", 1))
    for at_s in range(10, 60, 10):
        world.feed(decision(f"x{at_s}", at_s)).feed(decision(f"y{at_s}", at_s), partition="other")
    world.flush()
    assert world.reasons() == [("unknown_decision", "other", 1)]


def test_duplicates_are_set_aside_with_their_place_and_counted_once() -> None:
    world = World().feed(decision("a", 1), decision("a", 1), reward("a", 2, 0.5), reward("a", 2, 0.5)).flush()
    assert sorted(world.reasons()) == [("duplicate", "p", 1), ("duplicate", "p", 3)]
    assert (joined(world), world.last("reward", "mean").value) == (1, 0.5)


def test_duplicates_of_another_poll_are_set_aside_too() -> None:
    world = (
        World()
        .feed(decision("a", 1))
        .feed(decision("a", 1), decision("b", 25))
        .feed(decision("a", 26))
        .flush()
    )
    assert world.reasons() == [("duplicate", "p", 1), ("duplicate", "p", 3)]


def test_several_rewards_of_one_decision_add_up() -> None:
    world = World().feed(decision("a", 1), reward("a", 2, 0.5), reward("a", 3, 0.25)).flush()
    assert (joined(world), world.last("reward", "mean").value) == (1, 0.75)


def test_a_reward_after_the_horizon_is_set_aside_as_late() -> None:
    log = [decision("a", 0), *(decision(f"x{i}", i) for i in range(1, 31)), reward("a", 30.5)]
    world = World().feed(*log).flush()
    assert world.reasons() == [("late", "p", 31)]


def test_silence_is_skipped_not_sealed_bucket_by_bucket() -> None:
    world = World(small(source__max_ahead="7d")).feed(decision("a", 0)).feed(decision("b", 24 * HOUR)).flush()
    # one window after the first event and the bucket that sees it empty, then nothing until the second
    assert world.ends() == [*range(10, 80, 10), 24 * HOUR + 10]


def test_a_window_that_empties_is_still_sealed_so_that_its_end_is_seen() -> None:
    world = World(small(source__max_ahead="7d")).feed(decision("a", 0)).feed(decision("b", HOUR))
    assert [len(sealed.measured) for sealed in world.sealed] == [1] * 6 + [0]


def test_time_moves_with_events_alone() -> None:
    world = World().feed(decision("a", 0), decision("b", 14.999))
    assert world.ends() == []
    assert world.feed(decision("c", 15)).ends() == [10]


def test_an_event_out_of_order_at_the_very_start_counts_however_it_was_polled() -> None:
    log = [decision("b", 11), decision("a", 8)]
    together = World().feed(*log).flush()
    apart = World().feed(log[0]).feed(log[1]).flush()
    assert apart.rejected == together.rejected == []
    assert apart.ends() == together.ends() == [10, 20]


def test_the_end_of_a_log_seals_every_bucket_that_has_begun() -> None:
    world = World().feed(decision("a", 0), decision("b", 21)).flush()
    assert world.ends() == [10, 20, 30]
    assert world.flush().ends() == [10, 20, 30]


def test_an_empty_log_seals_nothing() -> None:
    assert World().flush().sealed == []


def two(**changed: Any) -> World:
    shop = {"bucket": "15s", "window": "1m", "reward_horizon": "30s"}
    return World(small(deployments__shop=shop, **changed))


def test_deployments_with_different_buckets_are_sealed_each_on_its_own_grid() -> None:
    world = two().feed(
        *(decision(f"h{i}", i, deployment="home") for i in range(31)),
        *(decision(f"s{i}", 30, deployment="shop") for i in range(3)),
    ).flush()  # fmt: skip
    assert world.ends("home") == [10, 20, 30, 40, 50][: len(world.ends("home"))]
    assert world.ends("home")[:4] == [10, 20, 30, 40]
    assert world.ends("shop")[-1] == 45
    assert all(end % 15 == 0 for end in world.ends("shop"))
    assert [s.decisions for s in world.sealed if s.deployment == "shop"][-1] == 3


def test_a_reward_finds_its_decision_in_whichever_deployment_made_it() -> None:
    world = two().feed(decision("a", 0, deployment="home"), decision("b", 0, deployment="shop"))
    world.feed(reward("b", 1, 0.5), reward("a", 2, 0.25)).flush()
    assert world.rejected == []
    by_deployment = {s.deployment: s for s in world.sealed}
    means = {
        name: next(m.value for m in s.measured["v1", "full"] if m.statistic == "mean")
        for name, s in by_deployment.items()
    }
    assert means == {"home": 0.25, "shop": 0.5}


def test_a_metric_of_no_policy_is_counted_and_breaks_nothing() -> None:
    world = World().feed(decision("a", 0), metric("sales", 1, 2.5), metric("sales", 2, 3.5)).flush()
    assert ("*", "full") in world.sealed[-1].measured


def test_a_forbidden_action_is_told_before_its_bucket_is_sealed_and_once_however_polled() -> None:
    log = [decision(f"d{i}", i, masked=[1]) for i in range(3)]
    together, apart = World().feed(*log), World()
    for event in log:
        apart.feed(event)
    assert together.sealed == apart.sealed == []
    assert together.signals == apart.signals
    (signal,) = together.signals
    assert (signal.kind, signal.rule, signal.time_ms) == ("fallback", "constraint", T0)


def test_an_approved_action_is_no_violation() -> None:
    assert World().feed(decision("a", 0, masked=[1], approved_by="ada")).flush().signals == []


def test_an_idle_partition_that_comes_back_behind_sealed_time_is_told_late() -> None:
    world = World().feed(decision("a", 0), partition="slow").feed(decision("b", 60), partition="fast")
    world.pipeline.watermark.set_idle("slow")
    world.advance().feed(decision("c", 2), partition="slow")
    assert world.reasons() == [("late", "slow", 1)]


def test_events_that_ran_ahead_and_were_confirmed_too_late_are_told_not_lost() -> None:
    world = World(small(source__max_ahead="1m")).feed(decision("a", 0), partition="slow")
    world.feed(*(decision(f"n{i}", 600 + i) for i in range(7)), partition="slow")
    world.pipeline.watermark.set_idle("slow")
    for at_s in range(0, 700, 50):
        world.feed(decision(f"f{at_s}", at_s), partition="fast")
    world.feed(decision("n7", 607), partition="slow")
    assert world.reasons() == [("late", "slow", offset) for offset in range(1, 9)]


def test_memory_does_not_grow_with_the_length_of_the_log() -> None:
    world = World()
    for i in range(20):
        at_s = 20 * i
        world.feed(decision(f"d{i}", at_s, policy=f"v{i % 2}"), reward(f"d{i}", at_s + 1))
    (watched,) = world.pipeline.core.watched.values()
    buckets = watched.windows.buckets  # type: ignore[attr-defined]
    most = (60 + 30 + 10) // 10 + 2  # window, horizon and the bucket that is filling
    assert max(len(kept) for mine in buckets.values() for kept in mine.values()) <= most
    assert len(world.pipeline.core.ticks) <= 2
    assert len(watched.joining.table) <= 5


def test_a_policy_without_a_decision_for_a_long_time_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_module, "RETIRED_AFTER_WINDOWS", 3)
    world = World().feed(decision("old", 0, policy="v0", masked=[1]))
    world.feed(*(decision(f"d{i}", 60 * i) for i in range(1, 6))).flush()
    (watched,) = world.pipeline.core.watched.values()
    assert len(watched.windows.buckets) == 1  # type: ignore[attr-defined]
    assert watched.judge.incidents.keys() == set()  # type: ignore[attr-defined]


def many_stages(of: World, n: int, first_s: float) -> World:
    """One decision of policy v1 in each of n stages, then one of v2."""
    made = [decision(f"{first_s}-{i}", first_s + 1, stage=f"s{i}") for i in range(n)]
    return of.feed(*made, decision(f"{first_s}-x", first_s + 1, policy="v2", stage="full"))


def test_stages_beyond_what_a_key_holds_are_counted_as_others_and_as_no_other_policy() -> None:
    """Seventeen names (the four of the start, and more) made a key that was the next policy's, or nobody's."""
    world = many_stages(World(), 30, 0).flush()
    (watched,) = world.pipeline.core.watched.values()
    decided = {
        name_of(key, world.pipeline.vocabulary): sum(
            float(b.decisions.sum()) for b in mine["reward"].values()
        )
        for key, mine in watched.windows.buckets.items()  # type: ignore[attr-defined]
    }
    assert set(decided) == {("v1", f"s{i}") for i in range(11)} | {("v1", "(other)"), ("v2", "full")}
    assert decided["v1", "(other)"] == 19
    assert decided["v2", "full"] == 1


@pytest.mark.parametrize("stages", [12, 13])
def test_a_state_that_told_too_many_stages_apart_goes_on(stages: int) -> None:
    """Sixteen, or `(other)` besides, as the version before had it."""
    before, after = World(), World()
    labels = before.pipeline.vocabulary.stages
    labels.limit = 16
    labels.extend(f"s{i}" for i in range(stages))
    restore(after.pipeline, snapshot(before.pipeline))
    many_stages(after, 30, 20).flush()
    keys = set(after.sealed[0].measured)
    assert keys == {("v1", f"s{i}") for i in range(11)} | {("v1", "(other)"), ("v2", "full")}
