"""What the baseline's own windows show, where it is more than theory says."""

import numpy as np

from detectors.arrays import F64

MAX_WINDOWS = 400
TAIL = 0.1
EXPECTED = 2.0  # looks above the line that chance alone explains: no refutation


def window_sums(series: F64, window: int) -> F64:
    """(m, ...) sums over m <= 400 evenly spaced windows of `window` buckets of a series (T, ...).

    Empty where a window would hold more than a third of the baseline: it could not be told from its reference.
    """
    buckets = len(series)
    if window * 3 > buckets:
        return np.empty((0, *series.shape[1:]))
    starts = np.unique(
        np.linspace(0, buckets - window, min(MAX_WINDOWS, buckets - window + 1)).astype(np.int64)
    )
    running = np.concatenate([np.zeros((1, *series.shape[1:])), np.cumsum(series, axis=0)])
    return np.asarray(running[starts + window] - running[starts])


def raised(line: F64, own: F64, level: float) -> F64:
    """The line (...), raised where one of the baseline's own windows (m, ...) stands above it.

    Then the theory (normal sums, stationarity) is refuted by accepted data and the windows' own tail takes over:
    exponential excesses over their 90 % point (Pickands 1975), carried to the level asked, at least their maximum.
    """
    if len(own) == 0 or level * len(own) > EXPECTED:
        return line
    high = np.quantile(own, 1 - TAIL, axis=0)
    beyond = own > high
    excess = np.where(beyond, own - high, 0.0).sum(axis=0) / np.maximum(beyond.sum(axis=0), 1)
    top = own.max(axis=0)
    carried = np.maximum(top, high + excess * np.log(max(TAIL / level, 1.0)))
    return np.where(top > line, carried, line)
