"""Bootstrap-t intervals from totals: the studentised bootstrap over groups of units."""

import numpy as np
from scipy.special import stdtrit

from detectors.ope.columns import Floats
from detectors.ope.functional import (
    columns_of,
    effective_groups,
    gradients,
    standard_error,
    value_of,
    values,
)
from detectors.ope.intervals.interval import Interval, Withheld
from detectors.ope.totals import Totals

RESAMPLES = 999
NARROW = 8  # columns up to which all products of two are summed once, not per resample


def resample_counts(groups: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> Floats:
    """(resamples, groups) how often each group is drawn; one set serves all estimators of a log."""
    drawn = rng.integers(0, groups, (resamples, groups)) + groups * np.arange(resamples)[:, None]
    return (
        np.bincount(drawn.ravel(), minlength=resamples * groups).reshape(resamples, groups).astype(np.float64)
    )


def bootstrap_t(totals: Totals, delta: float, counts: Floats) -> Interval | Withheld:
    """Two-sided interval at 1 - delta (Efron 1982; Hall 1988, section 2), second-order correct.

    counts: from resample_counts, for the groups of `totals` that hold rows. The interval is never inside
    that of Student's t with the effective number of groups less one: where a few weights decide, their
    resampled quantiles are noise themselves (measured in tests/coverage).
    """
    filled = totals.filled()
    value, error = value_of(filled), standard_error(filled)
    if not np.isfinite(value) or not error > 0:
        return Withheld("the log shows no variation to judge by")
    t = np.sort(_studentised(filled, value, counts))
    low, high = (float(np.quantile(t, share, method="nearest")) for share in (delta / 2, 1 - delta / 2))
    if not np.isfinite(low) or not np.isfinite(high):
        return Withheld("resampled logs lose every reward that differs from the rest: too few of them")
    least = float(stdtrit(max(effective_groups(filled) - 1, 1.0), 1 - delta / 2))
    return Interval(value - max(high, least) * error, value - min(low, -least) * error)


def _studentised(filled: Totals, value: float, counts: Floats) -> Floats:
    """(resamples,) (resampled value - value) / its own standard error; infinite where that is zero."""
    columns = columns_of(filled)
    sums = counts @ columns
    gradient = gradients(sums[:, 0], sums[:, 1:])
    width = columns.shape[1]
    if width <= NARROW:
        products = (columns[:, :, None] * columns[:, None, :]).reshape(len(columns), -1)
        second = (counts @ products).reshape(-1, width, width)
        variance = np.einsum("bi,bij,bj->b", gradient, second, gradient)
    else:
        variance = (np.square(gradient @ columns.T) * counts).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (values(sums[:, 0], sums[:, 1:]) - value) / np.sqrt(np.maximum(variance, 0.0))
    return np.where(np.isnan(t), np.inf, t)
