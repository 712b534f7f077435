"""The columns of a sample one by one, without what is missing: how a schema is fitted."""

from collections.abc import Iterator

import numpy as np

from detectors.arrays import F64

TOGETHER, ROWS = 8, 1_024  # copied at a time: columns that share a cache line, rows whose lines stay in cache


def finite_columns(rows: F64) -> Iterator[F64]:
    """The finite values of each column of rows (n, d), in the order of rows."""
    for start in range(0, rows.shape[1], TOGETHER):
        for column in _turned(rows[:, start : start + TOGETHER]):
            finite = np.isfinite(column)
            yield column if finite.all() else column[finite]


def _turned(rows: F64) -> F64:
    """(d, n) of rows (n, d), block by block: less than half of the time that one copy takes."""
    columns = np.empty(rows.shape[::-1])
    for start in range(0, len(rows), ROWS):
        columns[:, start : start + ROWS] = rows[start : start + ROWS].T
    return columns


def quartiles(values: F64) -> tuple[float, float, float]:
    """Quartiles of values without NaN, type 7 of Hyndman & Fan (1996): np.quantile's to the bit but the sign of zero.

    A whole sort is several times as fast as the three partial ones of np.quantile (numpy 2 sorts with SIMD).
    """
    ordered = np.sort(values)
    low, middle, high = (_at(ordered, share) for share in (0.25, 0.5, 0.75))
    return low, middle, high


def _at(ordered: F64, share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    first, second = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    part, step = place - below, second - first
    return (first + step * part if part < 0.5 else second - step * (1.0 - part)) + 0.0  # never -0.0
