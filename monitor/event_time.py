"""Event time of one partition: which events count, and how far the partition's clock has come."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from detectors.arrays import I64, U8
from monitor.batch import Kind

ADMITTED, LATE, FUTURE, HELD = 0, 1, 2, 3
CONFIRMATIONS = 8  # so many events in a row beyond the limit are a jump of time, fewer are impossible events


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How far an event may stray from its partition's clock.

    lateness: behind it. horizon: the same for a reward, which then counts at the partition's watermark. ahead:
    beyond it.
    """

    lateness_ms: int
    horizon_ms: int
    ahead_ms: int


@dataclass(frozen=True, slots=True)
class Admission:
    """What becomes of each event of a batch.

    fate: (n,) ADMITTED, LATE, FUTURE or HELD. ts_ms: (n,) the time an event counts at. clock_ms: (n,) the
    partition's clock after each event. released: rows held earlier that turn out to be right.
    """

    fate: U8
    ts_ms: I64
    clock_ms: I64
    released: list["HeldEvent"]
    refused: list["HeldEvent"]


def believed(ts_ms: I64) -> Admission:
    """Admission of events that have been decided on before."""
    return Admission(np.zeros(len(ts_ms), np.uint8), ts_ms, np.maximum.accumulate(ts_ms), [], [])


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event too far ahead of its partition to believe at once."""

    offset: int
    ts_ms: int
    kind: int
    payload: bytes


@dataclass(slots=True)
class PartitionClock:
    """The largest believable event time seen, a function of the partition's own records alone.

    An event more than `ahead_ms` beyond the clock is held until either an ordinary event follows (it was
    impossible) or CONFIRMATIONS such events follow each other (time has jumped: a night without traffic).
    """

    limits: TimeLimits
    now_ms: int | None = None
    held: list[HeldEvent] = field(default_factory=list)

    @property
    def watermark_ms(self) -> int | None:
        """No admitted event can be older than this any more."""
        return None if self.now_ms is None else self.now_ms - self.limits.lateness_ms

    def admit(self, ts_ms: I64, kind: U8, offsets: I64, payloads: Sequence[bytes]) -> Admission:
        """Decide every event of a batch in offset order; independent of how the log was cut into batches."""
        if len(ts_ms) == 0:
            return Admission(np.empty(0, np.uint8), ts_ms, ts_ms, [], [])
        start = int(ts_ms[0]) if self.now_ms is None else self.now_ms
        clock = np.maximum(np.maximum.accumulate(ts_ms), start)
        before = np.concatenate([[start], clock[:-1]])
        if not self.held and not np.any(ts_ms - before > self.limits.ahead_ms):
            self.now_ms = int(clock[-1])
            return self._judged(np.zeros(len(ts_ms), np.uint8), ts_ms, kind, clock, [], [])
        return self._admit_one_by_one(start, ts_ms, kind, offsets, payloads)

    def flush(self) -> list[HeldEvent]:
        """The end of the log: nothing came to confirm what is held."""
        refused, self.held = self.held, []
        return refused

    def _admit_one_by_one(
        self, now: int, ts_ms: I64, kind: U8, offsets: I64, payloads: Sequence[bytes]
    ) -> Admission:
        fate, clock = np.zeros(len(ts_ms), np.uint8), np.empty(len(ts_ms), np.int64)
        released: list[HeldEvent] = []
        refused: list[HeldEvent] = []
        for i, ts in enumerate(ts_ms.tolist()):
            if ts - now > self.limits.ahead_ms:
                fate[i] = HELD
                self.held.append(HeldEvent(int(offsets[i]), ts, int(kind[i]), payloads[i]))
                if len(self.held) >= CONFIRMATIONS:
                    now = max(event.ts_ms for event in self.held)
                    released, self.held = released + self.held, []
            else:
                refused, self.held = refused + self.held, []
                now = max(now, ts)
            clock[i] = now
        self.now_ms = now
        return self._judged(fate, ts_ms, kind, clock, released, refused)

    def _judged(
        self, fate: U8, ts_ms: I64, kind: U8, clock: I64, released: list[HeldEvent], refused: list[HeldEvent]
    ) -> Admission:
        reward = kind == Kind.REWARD
        allowed = np.where(reward, self.limits.horizon_ms, self.limits.lateness_ms)
        fate[(fate == ADMITTED) & (ts_ms < clock - allowed)] = LATE
        counted = np.where(reward, np.maximum(ts_ms, clock - self.limits.lateness_ms), ts_ms)
        return Admission(fate, counted, clock, released, refused)


@dataclass(slots=True)
class Watermark:
    """The event time below which every active partition is complete."""

    lateness_ms: int
    clocks: dict[str, int | None] = field(default_factory=dict)
    idle: set[str] = field(default_factory=set)
    low_ms: int | None = None
    ceiling_ms: int | None = None  # a replay stops here until a partition that was silent has gone on

    def expect(self, partition: str, clock_ms: int | None = None) -> None:
        """A partition that must be heard from before time moves; clock_ms: as far as it was heard before, if it was."""
        self.clocks.setdefault(partition, clock_ms)

    def forget(self, partition: str) -> None:
        """A partition that went to another member."""
        self.clocks.pop(partition, None)
        self.idle.discard(partition)

    def advance(self, partition: str, clock_ms: int) -> None:
        """A partition's clock moved; it is active again."""
        self.clocks[partition] = clock_ms
        self.idle.discard(partition)

    def set_idle(self, partition: str) -> None:
        """A partition has nothing to say: it no longer holds the others back."""
        self.idle.add(partition)

    @property
    def now_ms(self) -> int | None:
        """Never moves back; None until every active partition has been heard."""
        active = [clock for name, clock in self.clocks.items() if name not in self.idle]
        if active and all(clock is not None for clock in active):
            low = min(clock for clock in active if clock is not None) - self.lateness_ms
            low = low if self.ceiling_ms is None else min(low, self.ceiling_ms)
            self.low_ms = low if self.low_ms is None else max(self.low_ms, low)
        return self.low_ms

    @property
    def newest_ms(self) -> int | None:
        """The furthest clock, where everything idle is flushed to."""
        return max((clock for clock in self.clocks.values() if clock is not None), default=None)
