"""Vectors of many rows: their numbers end to end, and where each begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap
from struct import Struct

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from detectors.arrays import F64, I64
from monitor.decoding.columns import lengths


@dataclass(frozen=True, slots=True)
class Vectors:
    """sizes (n,): the length of each row's vector, -1 where there is none. starts (n,): where it begins in `flat`."""

    sizes: I64
    starts: I64
    flat: F64

    @classmethod
    def of_lists(cls, lists: Sequence[Sequence[float] | None]) -> "Vectors":
        """Packed row by row: half of the time that np.fromiter takes number by number."""
        sizes = lengths(lists)
        there = np.maximum(sizes, 0)
        starts = np.cumsum(there) - there
        pack = {width: Struct(f"{width}d").pack for width in np.unique(there).tolist()}
        present = [vector for vector in lists if vector]
        if len(pack) == 1 and present:
            return cls(sizes, starts, np.frombuffer(bytearray().join(starmap(pack.popitem()[1], present))))
        packed = bytearray().join([pack[len(vector)](*vector) for vector in present])
        return cls(sizes, starts, np.frombuffer(packed))

    def __len__(self) -> int:
        return len(self.sizes)

    def take(self, index: I64) -> "Vectors":
        """The rows chosen."""
        return Vectors(self.sizes[index], self.starts[index], self.flat)

    def matrix(self, width: int) -> F64:
        """(n, width), NaN where there is no vector. The caller has checked the widths."""
        there = self.sizes > 0
        if not there.any():
            return np.full((len(self), width), np.nan)
        from_each = sliding_window_view(self.flat, width)
        if there.all():
            return from_each[self.starts]
        filled = np.full((len(self), width), np.nan)
        filled[there] = from_each[self.starts[there]]
        return filled


NO_VECTORS = Vectors(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
