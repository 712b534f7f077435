"""The statistics of a window as rows of one array, kept from seal to seal: a sum costs one pass.

Only a cache: rows in the order of time, summed first to last, so that the bits are those of the same buckets added up
anew and a restart changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from detectors.arrays import F64, I64
from detectors.statistic import Statistic

FEWEST_ROWS = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field lies in a row: cells [low, high), as an array of this shape."""

    low: int
    high: int
    shape: tuple[int, ...]

    def fits(self, value: F64) -> bool:
        """Whether a value is no wider than the place."""
        return bool(value.shape[-1] <= self.shape[-1])

    def write(self, row: F64, value: F64) -> None:
        """Put a value into a row; zeros beyond its width."""
        if value.shape == self.shape:
            row[self.low : self.high] = value.ravel()
            return
        cells, width = row[self.low : self.high].reshape(self.shape), value.shape[-1]
        cells[..., :width] = value
        cells[..., width:] = 0.0

    def read(self, rows: F64, width: int) -> F64:
        """(..., shape up to width) of rows (..., cells)."""
        cells = rows[..., self.low : self.high]
        if len(self.shape) > 1 or rows.ndim > 1:
            cells = cells.reshape(*rows.shape[:-1], *self.shape)
        return np.ascontiguousarray(cells if width == self.shape[-1] else cells[..., :width])


@dataclass(slots=True)
class WindowRows(Mapping[str, F64]):
    """One key's window of one detector; as a mapping, field name -> (buckets, ...), oldest first.

    first: row of starts[0]. stale: buckets that changed since the last look. cells: (rows, cells). widths: (rows,
    fields) of the last axis of what each row holds. shapes, full, end: the places' shapes, their widths, the last cell.
    narrow: buckets with a field that does not fill its place; mostly there is none, and only cells are looked at.
    """

    first: int = 0
    starts: list[int] = field(default_factory=list)
    stale: set[int] = field(default_factory=set)
    places: dict[str, Place] = field(default_factory=dict)
    cells: F64 = field(default_factory=lambda: np.zeros((FEWEST_ROWS, 0)))
    widths: I64 = field(default_factory=lambda: np.zeros((FEWEST_ROWS, 0), np.int64))
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    narrow: set[int] = field(default_factory=set)
    full: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    end: int = 0

    def __getitem__(self, name: str) -> F64:
        rows, place = slice(self.first, self.first + len(self.starts)), self.places[name]
        if not self.narrow:
            return place.read(self.cells[rows], place.shape[-1])
        column = list(self.places).index(name)
        return place.read(self.cells[rows], int(self.widths[rows, column].max()))

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def follow(self, buckets: Mapping[int, Statistic], oldest_ms: int, now_ms: int) -> None:
        """Hold exactly the buckets that start in [oldest_ms, now_ms)."""
        while self.starts and self.starts[0] < oldest_ms:
            self.narrow.discard(self.starts.pop(0))
            self.first += 1
        changed, self.stale = self.stale, set()
        for start in sorted(changed):
            if start >= now_ms:
                self.stale.add(start)
            elif start >= oldest_ms:
                self._put(start, buckets[start])

    def are_over(self, oldest_ms: int) -> bool:
        """Whether every bucket held starts before `oldest_ms`."""
        return not self.starts or self.starts[-1] < oldest_ms

    def total(self, kind: type[Statistic]) -> Statistic:
        """The sum over the buckets, of which there is at least one."""
        rows = slice(self.first, self.first + len(self.starts))
        total = np.add.reduce(self.cells[rows], axis=0)
        if not self.narrow:
            return kind(*(place.read(total, place.shape[-1]) for place in self.places.values()))
        widest = np.maximum.reduce(self.widths[rows], axis=0).tolist()
        return kind(
            *(place.read(total, width) for place, width in zip(self.places.values(), widest, strict=True))
        )

    def _put(self, start: int, bucket: Statistic) -> None:
        values = bucket.values()
        shapes = [value.shape for value in values]
        if shapes != self.shapes and not self._has_room(values):
            self._widen(bucket.arrays())
        order = self._order(start)
        row = self.cells[self.first + order]  # making a place may have moved the first row
        if shapes == self.shapes:
            np.concatenate([value.ravel() for value in values], out=row[: self.end])
            self.widths[self.first + order] = self.full
            self.narrow.discard(start)
            return
        for place, value in zip(self.places.values(), values, strict=True):
            place.write(row, value)
        self.widths[self.first + order] = [shape[-1] for shape in shapes]
        self.narrow.add(start)

    def _has_room(self, values: Sequence[F64]) -> bool:
        return len(values) == len(self.places) and all(
            place.fits(value) for place, value in zip(self.places.values(), values, strict=True)
        )

    def _widen(self, values: Mapping[str, F64]) -> None:
        """Lay the row out anew, with room in the fields that had too little."""
        before, self.places = self.places, {}
        end = 0
        for name, value in values.items():
            shape = before[name].shape if name in before else value.shape
            if value.shape[-1] > shape[-1]:
                shape = (*shape[:-1], value.shape[-1] + value.shape[-1] // 4)
            self.places[name] = Place(end, end + prod(shape), shape)
            end += prod(shape)
        cells = np.zeros(
            (len(self.cells), max(end, 2))
        )  # a sum over a single column would be summed pairwise
        for name, old in before.items():
            new = self.places[name]
            wide = cells[:, new.low : new.high].reshape(len(cells), *new.shape)
            wide[..., : old.shape[-1]] = self.cells[:, old.low : old.high].reshape(len(cells), *old.shape)
        self.cells = cells
        self.shapes, self.end = [place.shape for place in self.places.values()], end
        self.full = np.array([shape[-1] for shape in self.shapes])
        self.narrow = set(self.starts)
        if not before:
            self.widths = np.zeros((len(cells), len(values)), np.int64)

    def _order(self, start: int) -> int:
        """The place of a bucket among those held, made where there is none."""
        order = len(self.starts)
        while order and self.starts[order - 1] >= start:
            order -= 1
        if order < len(self.starts) and self.starts[order] == start:
            return order
        self._make_room()
        row, end = self.first + order, self.first + len(self.starts)
        if row < end:
            self._shift(row, end, 1)
        self.starts.insert(order, start)
        return order

    def _make_room(self) -> None:
        end, held = self.first + len(self.starts), len(self.cells)
        if end < held:
            return
        if self.first > held // 5:
            self._shift(self.first, end, -self.first)
            self.first = 0
            return
        more = held // 2
        self.cells = np.concatenate([self.cells, np.zeros((more, self.cells.shape[1]))])
        self.widths = np.concatenate([self.widths, np.zeros((more, self.widths.shape[1]), np.int64)])

    def _shift(self, low: int, high: int, by: int) -> None:
        self.cells[low + by : high + by] = self.cells[low:high].copy()
        self.widths[low + by : high + by] = self.widths[low:high].copy()
