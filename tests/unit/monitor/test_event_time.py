"""Event time by hand: what is late, ahead, held, released or refused, and how far the clocks have come."""

from collections.abc import Sequence

import numpy as np
import pytest

from monitor.batch import Kind
from monitor.event_time import (
    ADMITTED,
    CONFIRMATIONS,
    FUTURE,
    HELD,
    LATE,
    Admission,
    PartitionClock,
    TimeLimits,
    Watermark,
)

LIMITS = TimeLimits(lateness_ms=10, horizon_ms=100, ahead_ms=1_000)
NIGHT = 50_000


def admit(clock: PartitionClock, *times: int, kind: Kind = Kind.DECISION, first: int = 0) -> Admission:
    ts_ms = np.array(times, np.int64)
    offsets = np.arange(first, first + len(times))
    return clock.admit(ts_ms, np.full(len(times), kind, np.uint8), offsets, [b"%d" % t for t in times])


def fates(*times: int, kind: Kind = Kind.DECISION) -> list[int]:
    return [int(fate) for fate in admit(PartitionClock(LIMITS), *times, kind=kind).fate]


def test_events_in_order_are_admitted_at_their_own_time() -> None:
    admission = admit(PartitionClock(LIMITS), 0, 5, 5, 1_000)
    assert admission.fate.tolist() == [ADMITTED] * 4
    assert admission.ts_ms.tolist() == admission.clock_ms.tolist() == [0, 5, 5, 1_000]


@pytest.mark.parametrize(("behind", "fate"), [(0, ADMITTED), (10, ADMITTED), (11, LATE), (100, LATE)])
def test_a_decision_may_be_as_late_as_the_lateness(behind: int, fate: int) -> None:
    assert fates(1_000, 1_000 - behind) == [ADMITTED, fate]


@pytest.mark.parametrize(("behind", "fate"), [(10, ADMITTED), (100, ADMITTED), (101, LATE)])
def test_a_reward_may_be_as_late_as_the_horizon(behind: int, fate: int) -> None:
    assert fates(1_000, 1_000 - behind, kind=Kind.REWARD) == [ADMITTED, fate]


def test_a_late_reward_counts_at_the_watermark_of_its_partition() -> None:
    admission = admit(PartitionClock(LIMITS), 1_000, 950, 995, kind=Kind.REWARD)
    assert admission.ts_ms.tolist() == [1_000, 990, 995]


def test_a_late_event_does_not_move_the_clock() -> None:
    clock = PartitionClock(LIMITS)
    admit(clock, 1_000, 500)
    assert clock.now_ms == 1_000
    assert clock.watermark_ms == 990


def test_a_partition_without_events_has_no_time() -> None:
    clock = PartitionClock(LIMITS)
    assert len(admit(clock).fate) == 0
    assert (clock.now_ms, clock.watermark_ms) == (None, None)


def test_an_event_as_far_ahead_as_allowed_is_believed() -> None:
    assert fates(0, 1_000) == [ADMITTED, ADMITTED]
    assert fates(0, 1_001) == [ADMITTED, HELD]


def test_one_impossible_event_is_held_and_refused_by_the_next_ordinary_one() -> None:
    clock = PartitionClock(LIMITS)
    admission = admit(clock, 0, NIGHT, 5)
    assert admission.fate.tolist() == [ADMITTED, HELD, ADMITTED]
    assert [event.offset for event in admission.refused] == [1]
    assert admission.refused[0].payload == b"50000"
    assert admission.clock_ms.tolist() == [0, 0, 5]
    assert clock.held == []


def test_seven_bad_future_events_in_a_row_do_not_move_the_clock() -> None:
    clock = PartitionClock(LIMITS)
    admission = admit(clock, 0, *[NIGHT + i for i in range(CONFIRMATIONS - 1)], 5, 6)
    assert [event.offset for event in admission.refused] == list(range(1, CONFIRMATIONS))
    assert admission.released == []
    assert clock.now_ms == 6


def test_a_jump_of_a_night_is_believed_after_eight_events_and_nothing_is_lost() -> None:
    clock = PartitionClock(LIMITS)
    morning = [NIGHT + 3 * i for i in range(CONFIRMATIONS + 2)]
    admission = admit(clock, 0, *morning)
    assert admission.fate.tolist() == [ADMITTED] + [HELD] * CONFIRMATIONS + [ADMITTED] * 2
    assert [event.ts_ms for event in admission.released] == morning[:CONFIRMATIONS]
    assert admission.refused == []
    assert clock.now_ms == morning[-1]
    assert admission.clock_ms.tolist()[: CONFIRMATIONS + 1] == [0] * CONFIRMATIONS + [
        morning[CONFIRMATIONS - 1]
    ]


def test_a_jump_is_believed_across_polls() -> None:
    clock = PartitionClock(LIMITS)
    admit(clock, 0)
    seen = [admit(clock, NIGHT + i, first=1 + i) for i in range(CONFIRMATIONS)]
    assert [len(admission.released) for admission in seen] == [0] * (CONFIRMATIONS - 1) + [CONFIRMATIONS]
    assert clock.now_ms == NIGHT + CONFIRMATIONS - 1


def test_an_ordinary_event_begins_the_count_of_confirmations_anew() -> None:
    burst = [NIGHT] * (CONFIRMATIONS - 1)
    admission = admit(PartitionClock(LIMITS), 0, *burst, 1, *burst, 2)
    assert len(admission.refused) == 2 * (CONFIRMATIONS - 1)
    assert admission.released == []


def test_a_sparse_stream_is_admitted_in_groups_and_loses_nothing_that_was_confirmed() -> None:
    clock = PartitionClock(LIMITS)
    hourly = [i * 2_000 for i in range(1 + 2 * CONFIRMATIONS)]  # always twice as far apart as allowed
    admissions = [admit(clock, ts, first=i) for i, ts in enumerate(hourly)]
    assert [e.ts_ms for a in admissions for e in a.released] == hourly[1:]
    assert clock.now_ms == hourly[-1]


def test_what_is_held_at_the_end_of_the_log_was_never_confirmed() -> None:
    clock = PartitionClock(LIMITS)
    admit(clock, 0, NIGHT, NIGHT + 1)
    assert [event.offset for event in clock.flush()] == [1, 2]
    assert clock.flush() == []


def test_a_late_event_that_follows_held_ones_still_refuses_them() -> None:
    admission = admit(PartitionClock(LIMITS), 1_000, NIGHT, 900)
    assert admission.fate.tolist() == [ADMITTED, HELD, LATE]
    assert len(admission.refused) == 1


def test_no_fate_is_named_future_before_the_log_has_said_so() -> None:
    assert FUTURE not in fates(0, NIGHT, 1, NIGHT)


def watermark(clocks: Sequence[tuple[str, int]], expected: Sequence[str] = ()) -> Watermark:
    made = Watermark(10)
    for partition in expected:
        made.expect(partition)
    for partition, clock_ms in clocks:
        made.advance(partition, clock_ms)
    return made


def test_the_slowest_partition_holds_the_watermark() -> None:
    assert watermark([("a", 500), ("b", 300)]).now_ms == 290


def test_time_does_not_move_before_every_expected_partition_was_heard() -> None:
    assert watermark([("a", 500)], expected=["a", "b"]).now_ms is None
    assert watermark([]).now_ms is None


def test_an_idle_partition_holds_nobody_back_until_it_speaks_again() -> None:
    made = watermark([("a", 500), ("b", 300)])
    made.set_idle("b")
    assert made.now_ms == 490
    made.advance("b", 350)
    assert made.now_ms == 490  # never back
    made.advance("a", 900)
    assert made.now_ms == 490  # b holds it again
    made.advance("b", 800)
    assert made.now_ms == 790


def test_when_all_are_idle_time_stands_still() -> None:
    made = watermark([("a", 500)])
    assert made.now_ms == 490
    made.set_idle("a")
    assert made.now_ms == 490


def test_an_expected_partition_that_is_idle_from_the_start_holds_nobody_back() -> None:
    made = watermark([("a", 500)], expected=["a", "b"])
    made.set_idle("b")
    assert made.now_ms == 490


def test_a_partition_that_went_elsewhere_holds_nobody_back() -> None:
    made = watermark([("a", 500), ("b", 300)])
    made.forget("b")
    assert made.now_ms == 490
    assert made.newest_ms == 500


def test_expecting_a_partition_again_does_not_forget_its_clock() -> None:
    made = watermark([("a", 500)])
    made.expect("a")
    assert made.clocks == {"a": 500}
