"""The value of totals, mean(a) + sum_k mean(b_k) / mean(c_k), its influence per group and standard error."""

import numpy as np

from detectors.ope.columns import Floats
from detectors.ope.totals import Totals


def value_of(totals: Totals) -> float:
    """The estimate; nan where there is no row or a ratio has no weight at all."""
    return float(values(totals.count.sum(keepdims=True), totals.total.sum(axis=0, keepdims=True))[0])


def values(count: Floats, total: Floats) -> Floats:
    """(m,) estimates from counts (m,) and sums (m, 1 + 2k), one per resample."""
    k = (total.shape[1] - 1) // 2
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = total[:, 1 : 1 + k] / total[:, 1 + k :]
        return np.asarray(total[:, 0] / count + ratios.sum(axis=1))


def gradients(count: Floats, total: Floats) -> Floats:
    """(m, 2 + 2k) derivative of the value in the count, in a, in each b and in each c, at m sets of sums."""
    k = (total.shape[1] - 1) // 2
    with np.errstate(divide="ignore", invalid="ignore"):
        per_row, per_c = 1.0 / count[:, None], 1.0 / total[:, 1 + k :]
        return np.concatenate(
            [-total[:, :1] * per_row**2, per_row, per_c, -total[:, 1 : 1 + k] * per_c**2], axis=1
        )


def influences(totals: Totals) -> Floats:
    """(groups,) first-order change of the estimate by each group (delta method; Hampel 1974)."""
    count, total = totals.count.sum(keepdims=True), totals.total.sum(axis=0, keepdims=True)
    return np.asarray(columns_of(totals) @ gradients(count, total)[0])


def columns_of(totals: Totals) -> Floats:
    """(groups, 2 + 2k): count and sums side by side, in the order of `gradients`."""
    return np.concatenate([totals.count[:, None], totals.total], axis=1)


def standard_error(totals: Totals) -> float:
    """Cluster-robust standard error with groups as clusters (Liang & Zeger 1986), G/(G-1) corrected."""
    filled = totals.filled()
    groups = len(filled.count)
    if groups < 2:
        return float("nan")
    return float(np.sqrt(groups / (groups - 1) * np.square(influences(filled)).sum()))


def effective_groups(totals: Totals) -> float:
    """(sum psi^2)^2 / sum psi^4: how many groups the variance really rests on (Satterthwaite 1946's idea).

    A third of the groups for normal terms, few where a handful of large weights or rare rewards decide.
    """
    squares = np.square(influences(totals.filled()))
    fourth = float(np.square(squares).sum())
    return float(squares.sum()) ** 2 / fourth if fourth > 0 else 0.0
