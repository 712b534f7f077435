"""DDSketch: quantiles of a stream from integer counts on a fixed logarithmic grid of values.

Masson, Rim & Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees",
PVLDB 12(12), 2019. With one fixed grid the sketch is a vector of counts: order does not matter, merging is `+`,
and a value that was counted can be taken out again.
"""

import numpy as np

from detectors.arrays import F64, I64

ACCURACY = 0.01
SMALLEST, LARGEST = 1e-9, 1e9
QUANTILES = {"p1": 0.01, "p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99}

_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA = float(np.log(_GAMMA))
_LOWEST, _HIGHEST = int(np.ceil(np.log(SMALLEST) / _LOG_GAMMA)), int(np.ceil(np.log(LARGEST) / _LOG_GAMMA))
_SPAN = max(_HIGHEST, -_LOWEST)
MAX_BINS = 4 * _SPAN + 4


def bins(values: F64) -> I64:
    """(n,) bin of each finite value. |value| under 1e-9 is zero, over 1e9 is 1e9.

    Bin 0 is zero. The others are ordered by the distance of |value| from 1, so that a sketch of ordinary rewards
    ends early and only its head is stored.
    """
    size = np.abs(values)
    exponent = np.ceil(np.log(np.minimum(np.maximum(size, SMALLEST), LARGEST)) / _LOG_GAMMA).astype(np.int64)
    from_one = np.where(exponent > 0, 2 * exponent - 1, -2 * exponent)
    return np.where(size < SMALLEST, 0, 2 * from_one + np.where(values < 0, 2, 1))


def counts(values: F64, weights: F64 | None = None) -> F64:
    """(bins,) the sketch of finite values; a weight of -1 takes a value out. At least one bin, at most MAX_BINS."""
    return np.bincount(bins(values), weights=weights, minlength=1).astype(np.float64)


def quantiles(sketch: F64, probabilities: F64) -> F64:
    """The value at each probability, within 1 % of an actual one of that rank; NaN for an empty sketch.

    The rank is floor(1 + q (n - 1)) as in the paper. Counts below zero (removals without their value) are ignored.
    """
    order = _ORDER[len(sketch) > _ORDER]
    cumulated = np.cumsum(np.maximum(sketch[order], 0.0))
    if cumulated[-1] < 1:
        return np.full(len(probabilities), np.nan)
    rank = 1 + np.floor(probabilities * (cumulated[-1] - 1))
    result: F64 = _VALUES[order[np.searchsorted(cumulated, rank, side="left")]]
    return result


def seen_range(sketch: F64) -> tuple[float, float] | None:
    """The ends between which everything counted lies, a bin's width apart from it; None where nothing differs."""
    values = bin_values(len(sketch))[sketch > 0]
    if not len(values) or not values.max() > values.min():
        return None
    low, high = float(values.min()), float(values.max())
    return low - ACCURACY * abs(low), high + ACCURACY * abs(high)


def bin_values(width: int) -> F64:
    """(width,) the point of each bin that is within ACCURACY of all its values; not to be written to."""
    return _VALUES[:width]


def _points(width: int) -> F64:
    """2 gamma^i / (gamma + 1)."""
    code = np.arange(width) - 1
    from_one, negative = code // 2, code % 2 == 1
    exponent = np.where(from_one % 2 == 1, (from_one + 1) // 2, -(from_one // 2))
    size = 2 * np.exp(exponent * _LOG_GAMMA) / (_GAMMA + 1)
    return np.where(code < 0, 0.0, np.where(negative, -size, size))


_VALUES = _points(MAX_BINS)
_ORDER: I64 = np.argsort(_VALUES, kind="stable")
