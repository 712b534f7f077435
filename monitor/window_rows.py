"""The statistics of a window as rows of one array per field, kept from seal to seal: a sum costs one pass.

Only a cache: rows in the order of time, summed first to last, so that the bits are those of the same buckets added up
anew and a restart changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from detectors.arrays import F64
from detectors.statistic import Statistic

FEWEST_ROWS = 8


@dataclass(slots=True)
class Column:
    """One field of successive buckets: cells (rows, ..., width) hold zeros beyond widths (rows,)."""

    cells: F64
    widths: list[int]

    def put(self, row: int, value: F64) -> None:
        """Set a row; a wider one widens all."""
        width, held = value.shape[-1], self.cells.shape[-1]
        if width > held:
            wider = np.zeros((*self.cells.shape[:-1], width + width // 4))
            wider[..., :held] = self.cells
            self.cells = wider
        mine = self.cells[row]
        mine[..., :width] = value
        mine[..., width:] = 0.0
        self.widths[row] = width

    def between(self, low: int, high: int) -> F64:
        """(high - low, ..., width) as wide as the widest of these rows."""
        rows, width = self.cells[low:high], max(self.widths[low:high])
        return rows if width == rows.shape[-1] else rows[..., :width]

    def shift(self, low: int, high: int, by: int) -> None:
        """Move rows up or down."""
        self.cells[low + by : high + by] = self.cells[low:high].copy()
        self.widths[low + by : high + by] = self.widths[low:high]

    def grow(self, rows: int) -> None:
        """Make room for more rows."""
        self.cells = np.concatenate([self.cells, np.zeros((rows, *self.cells.shape[1:]))])
        self.widths += [0] * rows


@dataclass(slots=True)
class WindowRows:
    """One key's window of one detector. first: row of starts[0]. stale: buckets that changed since the last look."""

    first: int = 0
    starts: list[int] = field(default_factory=list)
    stale: set[int] = field(default_factory=set)
    columns: dict[str, Column] = field(default_factory=dict)

    def follow(self, buckets: Mapping[int, Statistic], oldest_ms: int, now_ms: int) -> None:
        """Hold exactly the buckets that start in [oldest_ms, now_ms)."""
        while self.starts and self.starts[0] < oldest_ms:
            del self.starts[0]
            self.first += 1
        changed, self.stale = self.stale, set()
        for start in sorted(changed):
            if start >= now_ms:
                self.stale.add(start)
            elif start >= oldest_ms:
                self._put(start, buckets[start])

    def series(self) -> dict[str, F64]:
        """Field name -> (buckets, ...), oldest first."""
        low, high = self.first, self.first + len(self.starts)
        return {name: column.between(low, high) for name, column in self.columns.items()}

    def _put(self, start: int, statistic: Statistic) -> None:
        arrays = statistic.arrays()
        if not self.columns:
            self.columns = {
                name: Column(np.zeros((FEWEST_ROWS, *value.shape)), [0] * FEWEST_ROWS)
                for name, value in arrays.items()
            }
        place = self._place(start)
        row = self.first + place  # making a place may have moved the first row
        for name, column in self.columns.items():
            column.put(row, arrays[name])

    def _place(self, start: int) -> int:
        """The place of a bucket among those held, made where there is none."""
        place = len(self.starts)
        while place and self.starts[place - 1] >= start:
            place -= 1
        if place < len(self.starts) and self.starts[place] == start:
            return place
        self._make_room()
        row, end = self.first + place, self.first + len(self.starts)
        if row < end:
            for column in self.columns.values():
                column.shift(row, end, 1)
        self.starts.insert(place, start)
        return place

    def _make_room(self) -> None:
        end, held = self.first + len(self.starts), max(len(c.widths) for c in self.columns.values())
        if end < held:
            return
        crowded = self.first <= held // 5
        for column in self.columns.values():
            if crowded:
                column.grow(held // 2)
            else:
                column.shift(self.first, end, -self.first)
        if not crowded:
            self.first = 0


def total(kind: type[Statistic], series: Mapping[str, F64]) -> Statistic:
    """The sum over the buckets."""
    return kind.of_arrays({name: np.add.reduce(cells, axis=0) for name, cells in series.items()})
