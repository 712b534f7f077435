"""Event time does not depend on how a partition's log was cut into polls."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from monitor.batch import Kind
from monitor.event_time import HELD, PartitionClock, TimeLimits, Watermark

LIMITS = TimeLimits(lateness_ms=10, horizon_ms=100, ahead_ms=200)

# steps between events: mostly small, some back, some jumps that must be confirmed
STEP = st.one_of(st.integers(-30, 30), st.integers(-150, 150), st.sampled_from([0, 1, 200, 201, 1_000]))
EVENTS = st.lists(st.tuples(STEP, st.sampled_from([Kind.DECISION, Kind.REWARD])), min_size=1, max_size=60)
CUTS = st.lists(st.integers(1, 12), max_size=60)


def through(events: list[tuple[int, Kind]], sizes: list[int]) -> tuple[object, ...]:
    """Every event's last fate, time and clock after the log went through in polls of these sizes."""
    clock, at = PartitionClock(LIMITS), 0
    ts_ms = np.cumsum([step for step, _ in events]).astype(np.int64) + 10_000
    kinds = np.array([kind for _, kind in events], np.uint8)
    fates: dict[int, str] = {}
    columns: list[tuple[int, int]] = []
    for size in [*sizes, len(events)]:
        part = slice(at, at + size)
        offsets = np.arange(len(events))[part]
        admission = clock.admit(ts_ms[part], kinds[part], offsets, [b""] * len(offsets))
        fates |= dict(zip(offsets.tolist(), map(str, admission.fate.tolist()), strict=True))
        fates |= {event.offset: "released" for event in admission.released}
        fates |= {event.offset: "refused" for event in admission.refused}
        columns += zip(admission.ts_ms.tolist(), admission.clock_ms.tolist(), strict=True)
        at += size
    return fates, columns, clock.now_ms, [event.offset for event in clock.held]


@given(EVENTS, CUTS)
def test_any_cut_into_polls_gives_the_same_fates_and_clocks(
    events: list[tuple[int, Kind]], sizes: list[int]
) -> None:
    assert through(events, sizes) == through(events, [])


@given(EVENTS, CUTS)
def test_the_clock_never_goes_back_and_every_held_event_is_accounted_for(
    events: list[tuple[int, Kind]], sizes: list[int]
) -> None:
    fates, columns, _, held = through(events, sizes)
    clocks = [clock for _, clock in columns]  # type: ignore[attr-defined]
    assert clocks == sorted(clocks)
    assert [offset for offset, fate in fates.items() if fate == str(HELD)] == held  # type: ignore[attr-defined]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["advance", "idle", "forget"]), st.integers(0, 99))
    )
)
def test_the_watermark_never_goes_back(moves: list[tuple[str, str, int]]) -> None:
    watermark, clocks, low = Watermark(10), {"a": 0, "b": 0, "c": 0}, -(10**9)
    for partition, move, by in moves:
        clocks[partition] += by
        match move:
            case "advance":
                watermark.advance(partition, clocks[partition])
            case "idle":
                watermark.set_idle(partition)
            case _:
                watermark.forget(partition)
        if watermark.now_ms is not None:
            assert watermark.now_ms >= low
            low = watermark.now_ms
