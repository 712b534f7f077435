"""Empirical likelihood intervals from totals: the values that no reweighting of the groups can refute."""

import numpy as np
from scipy.optimize import brentq
from scipy.special import fdtri

from detectors.ope.columns import Floats
from detectors.ope.functional import effective_groups, influences, value_of
from detectors.ope.intervals.interval import Interval, Withheld
from detectors.ope.totals import Totals


def empirical_likelihood(totals: Totals, delta: float) -> Interval | Withheld:
    """Two-sided interval at 1 - delta (Owen 1988, theorem 1; Karampatziakis, Langford & Mineiro 2020).

    The estimating function of a group is its influence shifted by value - truth for each of its rows; the
    quantile is that of F(1, m - 1), Owen's small-sample calibration (Owen 2001, section 3.1), with m the
    effective number of groups.
    """
    filled = totals.filled()
    groups, rows = len(filled.count), filled.count / filled.n
    value, influence = value_of(filled), influences(filled)
    if groups < 3 or not np.isfinite(value) or not np.any(influence != 0):
        return Withheld("the log shows no variation to judge by")
    limit = float(fdtri(1, max(effective_groups(filled) - 1, 1.0), 1 - delta))
    # The hull: beyond it every group lies on one side and the likelihood is zero.
    below, above = float((influence / rows).min()), float((influence / rows).max())
    return Interval(
        value + _cross(influence, rows, limit, below), value + _cross(influence, rows, limit, above)
    )


def _cross(influence: Floats, rows: Floats, limit: float, edge: float) -> float:
    """The shift from the estimate towards the hull's edge at which the log ratio reaches the limit."""

    def excess(shift: float) -> float:
        return log_ratio(influence - shift * rows) - limit

    last = edge * (1 - 1e-9)
    if not excess(last) > 0 or not excess(0.0) < 0:
        return edge  # influences of rounding error alone need not balance at the estimate
    return float(brentq(excess, 0.0, last, xtol=max(abs(edge) * 1e-10, 1e-300)))


def log_ratio(values: Floats) -> float:
    """-2 log empirical likelihood ratio of mean(values) = 0 (Owen 1988, eq. 2.3), by Newton steps."""
    scale = float(np.abs(values).max())
    z = values / scale
    low, high = -1.0 / z.max() if z.max() > 0 else -np.inf, -1.0 / z.min() if z.min() < 0 else np.inf
    if not np.isfinite(low) or not np.isfinite(high):
        return float("inf")
    multiplier = 0.0
    for _ in range(100):
        ratio = z / (1 + multiplier * z)
        slope = float(ratio.sum())
        low, high = (multiplier, high) if slope > 0 else (low, multiplier)
        step = multiplier + slope / float(np.square(ratio).sum())
        step = step if low < step < high else (low + high) / 2
        if abs(step - multiplier) <= 1e-12 * (1 + abs(step)):
            break
        multiplier = step
    return float(2 * np.log1p(multiplier * z).sum())
