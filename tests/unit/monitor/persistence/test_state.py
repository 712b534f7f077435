"""Snapshot and restore: a pipeline that goes on from any point of a log gives exactly the same future."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from alerts.signal import cloudevent
from monitor.persistence.state import CODEC, StateError, restore, snapshot
from monitor.sealed import measurement_lines
from tests.unit.monitor.worlds import World, decision, metric, reward, small

Event = dict[str, Any]


def log() -> list[Event]:
    """A minute of three policies: delayed and missing rewards, forbidden actions, duplicates, orphans, jumps ahead."""
    rng = np.random.default_rng(7)
    events: list[tuple[float, Event]] = []
    for i in range(60):
        at_s, stage = float(i), ("full", "canary", "full")[i % 3]
        state = [round(float(x), 3) for x in rng.normal(size=2)]
        made = decision(f"d{i}", at_s, policy=f"v{i % 3}", stage=stage, action=int(rng.integers(4)), state=state,
                        episode=f"e{i // 10}", step=i % 10, segments={"site": "ab"[i % 2]},
                        value=0.5, masked=[3], costs={"unsafe": i % 2},
                        latency_ms=float(rng.integers(5, 50)), deployment="home")  # fmt: skip
        events.append((at_s, made))
        if rng.random() < 0.8:
            paid_s = at_s + float(rng.integers(1, 15))
            paid = reward(f"d{i}", paid_s, round(float(rng.normal()), 3), done=i % 10 == 9)
            events.append((paid_s, paid))
        if i % 20 == 5:
            events += [(at_s, made), (at_s, reward(f"ghost{i}", at_s)), (at_s, metric("sales", at_s, i))]
        if i % 20 == 8:
            events.append((at_s, decision(f"far{i}", at_s + 50_000, deployment="home")))
    return [event for _, event in sorted(events, key=lambda pair: pair[0])]


LOG = log()
CONFIG = small(
    deployments__home={
        "bucket": "10s", "window": "30s", "reward_horizon": "10s", "fallback_policy": "rules-v3", "min_samples": 2,
        "returns": "n-step", "gamma": 0.9, "metrics": ["sales"],
        "costs": {"unsafe": {"budget": 0.2}, "risk": {"budget": 1.0, "per": "episode"}},
    },
    deployments__shop={"bucket": "15s", "window": "30s", "reward_horizon": "10s"},
)  # fmt: skip
PARTITIONS = ("p0", "p1")


def said(world: World) -> tuple[list[bytes], list[bytes], list[Any]]:
    """Everything told, as bytes."""
    return (
        [line for sealed in world.sealed for line in measurement_lines(sealed)],
        [cloudevent(signal) for signal in world.signals],
        [(r.reason, r.partition, r.offset) for r in world.rejected],
    )


def fed(world: World, events: Sequence[Event], first: int = 0) -> World:
    """One event a poll, the partitions by turns."""
    for i, event in enumerate(events, first):
        world.feed(event, partition=PARTITIONS[i % 2])
    return world


def restarted(world: World) -> World:
    """A new process on the state of the old one."""
    fresh = World(world.config)
    parts = snapshot(world.pipeline)
    assert restore(fresh.pipeline, parts) == []
    fresh.offsets = dict(world.offsets)
    return fresh


WHOLE = said(fed(World(CONFIG), LOG).flush())


def test_the_log_of_these_tests_has_something_of_everything() -> None:
    lines, signals, rejected = WHOLE
    assert len(lines) > 200
    assert len(signals) >= 2
    assert {reason for reason, _, _ in rejected} >= {"duplicate", "future", "unknown_decision"}


@settings(max_examples=8, phases=[Phase.explicit, Phase.generate])  # shrinking replays the log too often
@given(st.integers(0, len(LOG)))
def test_a_restart_at_any_point_gives_the_same_future_byte_for_byte(cut: int) -> None:
    before = fed(World(CONFIG), LOG[:cut])
    after = fed(restarted(before), LOG[cut:], cut).flush()
    assert tuple(a + b for a, b in zip(said(before), said(after), strict=True)) == WHOLE


def test_equal_pipelines_have_equal_bytes() -> None:
    assert snapshot(fed(World(CONFIG), LOG[:80]).pipeline) == snapshot(fed(World(CONFIG), LOG[:80]).pipeline)


def test_a_snapshot_does_not_change_with_what_comes_after() -> None:
    world = fed(World(CONFIG), LOG[:80])
    parts = snapshot(world.pipeline)
    kept = {name: bytes(data) for name, data in parts.items()}
    fed(world, LOG[80:], 80)
    assert parts == kept


def test_a_partition_that_went_elsewhere_does_not_hold_time_back_after_a_restart() -> None:
    world = World().feed(decision("a", 0), partition="gone").feed(decision("b", 0), partition="ours")
    world.pipeline.watermark.forget("gone")
    assert restarted(world).feed(decision("c", 60), partition="ours").ends()[:2] == [10, 20]


def test_a_partition_that_is_ours_and_was_not_heard_yet_holds_time_back_after_a_restart() -> None:
    before = World()
    before.pipeline.watermark.expect("decisions")
    after = restarted(before.feed(decision("a", 0), partition="rewards"))
    assert after.feed(decision("b", 60), partition="rewards").ends() == []
    after.feed(decision("c", 0), decision("d", 60), partition="decisions")
    assert after.ends()[:2] == [10, 20]
    assert after.reasons() == []


def test_widths_and_columns_fixed_by_the_log_survive_a_restart() -> None:
    before = World().feed(decision("a", 0, action=[1.0, 2.0], state=[1.0]))
    after = restarted(before).feed(decision("b", 1, action=[1.0]), decision("c", 2, action=[1.0, 2.0]))
    assert after.reasons() == [("action_length", "p", 1)]
    names = before.pipeline.vocabulary.names
    assert {k: v.names for k, v in after.pipeline.vocabulary.names.items()} == {
        k: v.names for k, v in names.items()
    }


def test_what_was_set_aside_but_not_yet_told_survives_a_restart() -> None:
    before = World(CONFIG)
    twice = [decision("a", 0, deployment="home")] * 2
    before.feed(*twice, decision("b", 11, deployment="home"))  # its tick has run, no bucket was sealed
    assert (before.sealed, before.reasons()) == ([], [])
    assert restarted(before).flush().reasons() == [("duplicate", "p", 1)]


def test_a_deployment_added_in_front_of_the_others_takes_nothing_of_theirs() -> None:
    before = World(small()).feed(decision("a", 1, deployment="home"), reward("a", 2, 0.5))
    more = {"deployments": {"aaa": {"bucket": "10s", "window": "1m"}, **_deployments(small())}}
    after = World(small(**more))
    restore(after.pipeline, snapshot(before.pipeline))
    after.flush()
    assert {s.deployment: s.decisions for s in after.sealed} == {"aaa": 0, "home": 1}


def _deployments(of: Any) -> dict[str, Any]:
    return {name: {"bucket": "10s", "window": "1m", "reward_horizon": "30s"} for name in of.deployments}


@pytest.mark.parametrize(
    "change", [{"bucket": "5s"}, {"gamma": 0.5}, {"combine": "mean"}, {"components": ["x"]}]
)
def test_a_deployment_that_counts_something_else_starts_anew(change: dict[str, Any]) -> None:
    before = fed(World(small()), LOG[:40])
    home = {"bucket": "10s", "window": "1m", "reward_horizon": "30s"} | change
    after = World(small(deployments__home=home))
    assert restore(after.pipeline, snapshot(before.pipeline)) == ["home"]


def test_a_state_of_another_format_is_refused() -> None:
    parts = snapshot(World().pipeline)
    shell = CODEC.decode(parts["shell"]) | {"format": 99}
    with pytest.raises(StateError, match="format 99"):
        restore(World().pipeline, parts | {"shell": CODEC.encode(shell)})


def test_a_state_of_before_decisions_had_segments_goes_on() -> None:
    """`state-format-1.msgpack.z` is this log's state by the version before, in the middle of a bucket."""
    path = Path(__file__).parent / "state-format-1.msgpack.z"
    saved = msgspec.msgpack.decode(zlib.decompress(path.read_bytes()))
    assert CODEC.decode(saved["parts"]["shell"])["format"] == 1
    world = World(CONFIG, offsets=saved["offsets"])
    assert restore(world.pipeline, saved["parts"]) == []
    fed(world, LOG[saved["events"] :], saved["events"]).flush()
    lines, signals, _ = said(world)
    assert len(lines) > 50
    assert lines == WHOLE[0][-len(lines) :]
    assert signals == WHOLE[1][len(WHOLE[1]) - len(signals) :]
