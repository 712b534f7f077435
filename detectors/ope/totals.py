"""What is remembered of a log: sums of an estimator's terms per group of units, which add up.

Every estimator here is a sum of means and ratios of means of per-row terms,

    value = mean(a) + sum_k mean(b_k) / mean(c_k),

so sums of (a, b_1..b_k, c_1..c_k) are all it needs. They are kept per group: units are hashed into a fixed
number of groups, so memory is bounded, the statistic of a split log is the sum of its parts', a unit's
decisions stay together (which makes the variance cluster-robust), and the groups can be resampled.
"""

from dataclasses import dataclass

import numpy as np

from detectors.ope.columns import Floats, Ints

GROUPS = 1024


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of `width` terms in each of GROUPS groups: count (groups,) rows, total (groups, width)."""

    count: Floats
    total: Floats

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(self.count + other.count, self.total + other.total)

    @property
    def n(self) -> float:
        return float(self.count.sum())

    def filled(self) -> "Totals":
        """The groups that hold any row."""
        some = self.count > 0
        return Totals(self.count[some], self.total[some])

    def minus_mean(self, other: "Totals") -> "Totals":
        """The statistic of the value minus the mean whose totals (width 1) are given, of the same rows."""
        total = self.total.copy()
        total[:, 0] -= other.total[:, 0]
        return Totals(self.count, total)


def empty(width: int) -> Totals:
    """The neutral element of `+`."""
    return Totals(np.zeros(GROUPS), np.zeros((GROUPS, width)))


def groups_of(unit: Ints | None, n: int, start: int) -> Ints:
    """(n,) group of each row: by hashed unit, or in turn from row number `start` without units."""
    if unit is None:
        return (start + np.arange(n, dtype=np.int64)) % GROUPS
    return (_scramble(unit) % np.uint64(GROUPS)).astype(np.int64)


def totals_of(terms: Floats, group: Ints) -> Totals:
    """Sums of terms (width, n) by group (n,)."""
    count = np.bincount(group, minlength=GROUPS).astype(np.float64)
    total = np.stack([np.bincount(group, weights=row, minlength=GROUPS) for row in terms], axis=1)
    return Totals(count, total.astype(np.float64))


def _scramble(unit: Ints) -> np.typing.NDArray[np.uint64]:
    """splitmix64 (Steele, Lea & Flood 2014): neighbouring ids fall into unrelated groups."""
    x = np.asarray(unit).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
