"""Rows by 64-bit id that are remembered until they are too old: columns in runs that are freed whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import I64, U64, Bool
from monitor.joins.index import Index

RUN = 2048  # rows of a run: a few times what a tick brings, and small for a deployment with little traffic
NEVER = np.iinfo(np.int64).max
CHUNK = 1 << 16  # rows appended at once: bounds the temporary arrays
ALWAYS = frozenset({"id", "ts_ms", "here"})

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Column:
    """How a column is laid: its type, and the value that means missing."""

    dtype: str
    missing: Any

    def is_missing(self, values: Array) -> bool:
        """Whether there is nothing in it."""
        return bool(
            np.isnan(values).all() if self.missing != self.missing else (values == self.missing).all()
        )


class SpilledColumn(Protocol):
    """A column that lies outside this process's memory."""

    def grown(self, column: Array, n: int) -> Array:
        """The column with room for n rows."""

    def release(self) -> None:
        """Take its pages out of memory; they come back when they are touched."""


class Spill(Protocol):
    """Where columns go beyond a cap."""

    @property
    def cap_bytes(self) -> int:
        """What may stay in memory."""

    def column(self) -> SpilledColumn:
        """A place for one more column."""


class Runs:
    """The rows of one table: `id` and `ts_ms` always, other columns only once they hold something.

    A row keeps its place (an index into the columns) as long as it lives. Rows fill runs of RUN places in order of
    arrival, hence nearly of time; a run whose rows have all left is used again, so the cost of a row does not
    depend on how many there are.
    """

    def __init__(self, columns: Mapping[str, Column], spill: Spill | None = None) -> None:
        self._laid_out = dict(columns)
        self._spill = spill
        self._spilled: dict[str, SpilledColumn] = {}
        self._since_release = 0  # runs opened
        self._index = Index()
        self._capacity = 0
        self._columns: dict[str, Array] = {
            "id": np.empty(0, np.uint64), "ts_ms": np.empty(0, np.int64), "here": np.zeros(0, np.bool_)
        }  # fmt: skip
        self._oldest: I64 = np.empty(
            0, np.int64
        )  # per run: the smallest ts_ms in it, NEVER where it is empty
        self._free: list[int] = []
        self._open: I64 = np.empty(0, np.int64)  # places left in the run that is being filled
        self._size = 0
        self._grow(1)

    def __len__(self) -> int:
        return self._size

    def insert(self, ids: U64, ts_ms: I64, columns: Mapping[str, Array]) -> Bool:
        """Appends the rows whose id is not here yet; of equal ids the first. Returns which were appended."""
        fresh = first_of_each(ids) & (self.find(ids) < 0)
        new = np.flatnonzero(fresh)
        for start in range(0, len(new), CHUNK):
            part = new[start : start + CHUNK]
            self._append(ids[part], ts_ms[part], {name: values[part] for name, values in columns.items()})
        return fresh

    def find(self, ids: U64) -> I64:
        """The place of each id, or -1."""
        return self._index.find(ids, self._columns["id"], self._columns["here"])

    def read(self, name: str, places: I64) -> Any:
        """Values of a column, missing where it was never written."""
        if name in self._columns:
            return self._columns[name][places]
        column = self._laid_out[name]
        return np.full(len(places), column.missing, column.dtype)

    def write(self, name: str, places: I64, values: Array) -> None:
        """Sets values of a column, laying it if it is new."""
        self._lay(name)
        self._columns[name][places] = values

    def declare(self, name: str, column: Column) -> None:
        """Makes a column known; it takes no memory until it is written."""
        self._laid_out.setdefault(name, column)

    def expire(self, before_ms: int) -> I64:
        """Rows older than before_ms leave. Returns their places, readable until the next insert."""
        gone: list[I64] = []
        emptied: list[int] = []
        ts_ms, here = self._columns["ts_ms"], self._columns["here"]
        for run in np.flatnonzero(self._oldest < before_ms).tolist():
            span = slice(run * RUN, (run + 1) * RUN)
            leaves = here[span] & (ts_ms[span] < before_ms)
            gone.append(np.flatnonzero(leaves) + run * RUN)
            here[span] &= ~leaves
            self._oldest[run] = ts_ms[span][here[span]].min(initial=NEVER)
            if self._oldest[run] == NEVER and not self._is_open(run):
                emptied.append(run)
        self._index.forget(emptied)
        self._free.extend(reversed(emptied))
        places = np.concatenate(gone) if gone else np.empty(0, np.int64)
        self._size -= len(places)
        return places

    def arrays(self) -> dict[str, Array]:
        """The rows as one array per written column (copies)."""
        places = np.flatnonzero(self._columns["here"])
        return {name: column[places] for name, column in self._columns.items() if name != "here"}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Takes up the rows of `arrays` in an empty table."""
        columns = {name: values for name, values in arrays.items() if name not in ("id", "ts_ms")}
        n = len(arrays["id"])
        if n:
            self._index.open(n, n)
        for start in range(0, n, CHUNK):
            part = slice(start, start + CHUNK)
            self._append(
                arrays["id"][part],
                arrays["ts_ms"][part],
                {name: values[part] for name, values in columns.items()},
            )

    @property
    def nbytes(self) -> int:
        """Memory of columns and index, without what is spilled."""
        columns = sum(column.nbytes for name, column in self._columns.items() if name not in self._spilled)
        return columns + self._index.nbytes + self._oldest.nbytes

    def _append(self, ids: U64, ts_ms: I64, columns: Mapping[str, Array]) -> None:
        if not self._index.has_room(len(ids)):
            self._index.open(len(ids), self._size)
        places = self._places(len(ids))
        runs = places // RUN
        self._size += len(ids)
        self._columns["id"][places] = ids
        self._columns["ts_ms"][places] = ts_ms
        self._columns["here"][places] = True
        np.minimum.at(self._oldest, runs, ts_ms)
        for name, values in columns.items():
            if name in self._columns or not self._laid_out[name].is_missing(values):
                self.write(name, places, values)
        for name in self._columns.keys() - columns.keys() - ALWAYS:
            self._columns[name][places] = self._laid_out[name].missing
        self._index.add(ids, places, set(runs[:: RUN // 2].tolist()) | {int(runs[-1])})

    def _places(self, n: int) -> I64:
        """n free places: the rest of the open run, then free runs, then new ones at the end."""
        more = -(-(n - len(self._open)) // RUN)
        if more > 0:
            if more > len(self._free):
                self._grow(more - len(self._free))
            runs = np.array([self._free.pop() for _ in range(more)])
            self._release(more)
            opened = (runs[:, None] * RUN + np.arange(RUN)).ravel()
            self._open = np.concatenate([self._open, opened])
        places, self._open = self._open[:n], self._open[n:]
        return places

    def _is_open(self, run: int) -> bool:
        return len(self._open) > 0 and int(self._open[0]) // RUN == run

    def _grow(self, runs: int) -> None:
        """Room for at least so many more runs: doubling while small, then by an eighth to waste little."""
        have = len(self._oldest)
        more = max(runs, have if have < 64 else have // 8)
        self._free = list(range(have + more - 1, have - 1, -1)) + self._free
        self._capacity = (have + more) * RUN
        self._oldest = np.concatenate([self._oldest, np.full(more, NEVER)])
        names = list(self._columns)  # what every lookup needs comes first, and is spilled last
        for name in reversed(names):
            self._columns[name] = self._resized(name, self._columns.pop(name))
        self._columns = {name: self._columns[name] for name in names}

    def _lay(self, name: str) -> None:
        if name not in self._columns:
            column = self._laid_out[name]
            fresh = self._resized(name, np.empty(0, column.dtype))
            fresh[self._columns["here"]] = column.missing
            self._columns[name] = fresh

    def _resized(self, name: str, column: Array) -> Array:
        if name in self._spilled or self._is_beyond_cap(column):
            if name not in self._spilled:
                assert self._spill is not None
                self._spilled[name] = self._spill.column()
            return self._spilled[name].grown(column, self._capacity)
        column.resize(
            self._capacity, refcheck=False
        )  # in place, without a second copy; no view leaves this class
        return column

    def _is_beyond_cap(self, column: Array) -> bool:
        if self._spill is None:
            return False
        others = sum(one.itemsize for name, one in self._columns.items() if name not in self._spilled)
        return (others + column.itemsize) * self._capacity > self._spill.cap_bytes

    def _release(self, opened: int) -> None:
        """Every sixteenth of a turn the pages of spilled columns leave this process; the hot ones soon come back."""
        self._since_release += opened
        if self._since_release * 16 >= len(self._oldest):
            self._since_release = 0
            for column in self._spilled.values():
                column.release()


def first_of_each(values: Array) -> Bool:
    """Which rows hold a value that no earlier row holds."""
    ordered = np.sort(values)
    if (
        ordered[1:] != ordered[:-1]
    ).all():  # nearly always, and a plain sort costs a fifth of `unique` with indexes
        return np.ones(len(values), np.bool_)
    first = np.zeros(len(values), np.bool_)
    first[np.unique(values, return_index=True)[1]] = True
    return first
