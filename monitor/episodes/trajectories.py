"""The steps of many open episodes, each in one run of a shared pool of columns."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from detectors.arrays import F64, I32, I64, U8, U64, Arrays, Bool
from monitor.episodes.returns import ranges


@dataclass(slots=True)
class StepRows:
    """n decisions of episodes: what was logged, what their rewards became, and the critic target last given out.

    reward and target are NaN until known. cost comes with the decision, reward_cost with its rewards: (n, costs).
    """

    id: U64
    bucket_start_ms: I64
    ts_ms: I64
    step: I64
    value: F64
    action: I32
    unit: U64
    segments: U64
    reward: F64
    target: F64
    flags: U8
    cost: F64
    reward_cost: F64

    def take(self, index: I64) -> Self:
        """The rows chosen by an index array."""
        return type(self)(*(getattr(self, column.name)[index] for column in fields(self)))


NAMES = tuple(column.name for column in fields(StepRows))


def empty_rows(n: int, costs: int) -> StepRows:
    """n zeroed rows."""
    i, u, f = np.zeros(n, np.int64), np.zeros(n, np.uint64), np.zeros(n)
    return StepRows(
        id=u, bucket_start_ms=i, ts_ms=i.copy(), step=i.copy(), value=f, action=np.zeros(n, np.int32), unit=u.copy(),
        segments=u.copy(), reward=f.copy(), target=f.copy(), flags=np.zeros(n, np.uint8), cost=np.zeros((n, costs)),
        reward_cost=np.zeros((n, costs)),
    )  # fmt: skip


@dataclass(slots=True)
class Runs:
    """Where each slot's rows lie in the pool: start, length and the room before the next run begins."""

    start: I64
    length: I64
    room: I64


class Trajectories:
    """Rows per slot in the order (step, time, id); appending is amortised O(1) per row.

    A run that outgrows its room moves to the end of the pool; when the pool is full, the live runs are packed.
    """

    def __init__(self, costs: int) -> None:
        self.rows = empty_rows(0, costs)
        self.runs = Runs(*(np.zeros(0, np.int64) for _ in range(3)))
        self._end = self._live = 0

    def __len__(self) -> int:
        return self._live

    def ensure_slots(self, n: int) -> None:
        """Makes slots 0..n-1 addressable."""
        more = n - len(self.runs.start)
        if more > 0:
            pad = np.zeros(more, np.int64)
            runs = self.runs
            self.runs = Runs(
                *(np.concatenate([column, pad]) for column in (runs.start, runs.length, runs.room))
            )

    def append(self, slot: I64, new: StepRows) -> I64:
        """Adds rows (sorted by slot, step, time, id) and returns their places after any re-ordering."""
        slots, count = np.unique(slot, return_counts=True)
        self._make_room(slots, count)
        length = self.runs.length[slots]
        places = ranges(self.runs.start[slots] + length, count)
        for name in NAMES:
            getattr(self.rows, name)[places] = getattr(new, name)
        self.runs.length[slots] = length + count
        self._live += len(places)
        joined = self.runs.start[slots] + length
        late = (length > 0) & self._before(joined, joined - 1)
        if not late.any():
            return places
        return self._sorted(slots[late], places)

    def find(self, slot: I64, step: I64, ts_ms: I64, decision: U64) -> I64:
        """(n,) place of each decision in its slot's run, -1 where it is not (any more)."""
        low = self.runs.start[slot].copy()
        stop = low + self.runs.length[slot]
        high = stop.copy()
        while (open_ := np.flatnonzero(low < high)).size:
            middle = (low[open_] + high[open_]) // 2
            less = self._less(middle, step[open_], ts_ms[open_], decision[open_])
            low[open_[less]] = middle[less] + 1
            high[open_[~less]] = middle[~less]
        found = low < stop
        found[found] = self.rows.id[low[found]] == decision[found]
        return np.where(found, low, -1)

    def places(self, slots: I64) -> I64:
        """All rows of the slots, slot after slot, each in its order."""
        return ranges(self.runs.start[slots], self.runs.length[slots])

    def drop_head(self, slots: I64, count: I64) -> None:
        """Forgets the first rows of each (distinct) slot."""
        self.runs.start[slots] += count
        self.runs.length[slots] -= count
        self._live -= int(count.sum())
        self.runs.room[slots] -= count

    def clear(self, slots: I64) -> None:
        """Forgets all rows of the slots."""
        self._live -= int(self.runs.length[slots].sum())
        self.runs.length[slots] = 0
        self.runs.room[slots] = 0

    def pack(self, extra: int = 0) -> None:
        """Copies the live runs, in slot order, into a fresh pool with place for `extra` more rows."""
        runs, live = self.runs, np.flatnonzero(self.runs.length > 0)
        old = self.places(live)
        room = np.where(runs.length > 0, _power_of_two(runs.length), 0)
        start = np.cumsum(room) - room
        self._end = int(room.sum())
        size = max(1024, 2 * (self._end + extra))
        runs.start, runs.room = start, room
        new = self.places(live)
        packed = empty_rows(size, self.rows.cost.shape[1])
        for name in NAMES:
            getattr(packed, name)[new] = getattr(self.rows, name)[old]
        self.rows = packed

    def arrays(self) -> Arrays:
        """The live rows, slot after slot, and the length of each slot's run."""
        live = self.places(np.arange(len(self.runs.length)))
        return {"length": self.runs.length.copy(), **{name: getattr(self.rows, name)[live] for name in NAMES}}

    def restore(self, arrays: Arrays) -> None:
        """The inverse of `arrays`."""
        length = arrays["length"].astype(np.int64)
        older = {"segments": np.zeros(int(length.sum()), np.uint64)}  # states of format 1 hold none
        arrays = {**older, **arrays}
        self.runs = Runs(np.cumsum(length) - length, length, length.copy())
        self.rows = StepRows(**{name: arrays[name].copy() for name in NAMES})  # type: ignore[arg-type]
        self._live = int(length.sum())
        self.pack()

    def _make_room(self, slots: I64, count: I64) -> None:
        runs = self.runs
        wanted = runs.length[slots] + count
        cramped = wanted > runs.room[slots]
        room = _power_of_two(wanted[cramped])
        if self._end + int(room.sum()) > len(self.rows.id):
            self.pack(2 * int(wanted.sum()))
            cramped = wanted > runs.room[slots]
            room = _power_of_two(wanted[cramped])
        moving = slots[cramped]
        old = self.places(moving)
        runs.start[moving] = self._end + np.cumsum(room) - room
        runs.room[moving] = room
        new = self.places(moving)
        for name in NAMES:
            column = getattr(self.rows, name)
            column[new] = column[old]
        self._end += int(room.sum())

    def _sorted(self, slots: I64, places: I64) -> I64:
        """Re-orders the runs of slots; returns where the rows at `places` lie now."""
        old = self.places(slots)
        owner = np.repeat(slots, self.runs.length[slots])
        rows = self.rows
        order = np.lexsort((rows.id[old], rows.ts_ms[old], rows.step[old], owner))
        for name in NAMES:
            column = getattr(rows, name)
            column[old] = column[old[order]]
        source, target = old[order], old
        by_source = np.argsort(source)
        at = np.minimum(np.searchsorted(source[by_source], places), len(source) - 1)
        return np.where(source[by_source[at]] == places, target[by_source[at]], places)

    def _before(self, a: I64, b: I64) -> Bool:
        rows = self.rows
        b = np.maximum(b, 0)
        return ~self._less(b, rows.step[a], rows.ts_ms[a], rows.id[a])

    def _less(self, place: I64, step: I64, ts_ms: I64, decision: U64) -> Bool:
        """Whether the row at `place` comes before (step, ts_ms, id)."""
        rows = self.rows
        by_step, by_ts = rows.step[place], rows.ts_ms[place]
        same_step = by_step == step
        less = by_step < step
        less |= same_step & (by_ts < ts_ms)
        less |= same_step & (by_ts == ts_ms) & (rows.id[place] < decision)
        return np.asarray(less)


def _power_of_two(n: I64) -> I64:
    return (2 ** np.ceil(np.log2(np.maximum(n, 1)))).astype(np.int64)


def known_sum(a: F64, b: F64) -> F64:
    """a + b where a missing part counts nothing; NaN where both are missing."""
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, a + b))
