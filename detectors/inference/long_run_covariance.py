"""The long-run covariance of a series of bucket sums, held as a few nearly independent scores.

The lowest B cosine coefficients of a stationary series are asymptotically independent with the long-run
covariance as their common covariance (Müller 2007; Lazarus, Lewis, Stock & Watson 2018, "HAR inference"). An
orthonormal rotation of them is again B such scores, now spread over time, so that energy that sits in one
frequency (a daily cycle) is shared by all scores and no moment of a quadratic form misses it. Scores are (B, p):
wide covariances (p = 10,000 actions) never need to be formed.
"""

import numpy as np
from scipy.fft import dct, idct

from detectors.arrays import F64

MAX_SCORES = 1_024


def score_count(buckets: int, window: float) -> int:
    """How many scores a series of `buckets` supports for windows of `window` buckets.

    One per disjoint window, since the mean of a window passes the frequencies below 1 / (2 window); at least
    .4 T^(2/3), the bandwidth that Lazarus et al. (2018) recommend, where the series is short against the window.
    """
    wanted = max(buckets / max(window, 1.0), 0.4 * buckets ** (2 / 3))
    return int(max(0, min(round(wanted), buckets - 1, MAX_SCORES)))


def long_run_scores(sums: F64, n: F64, window: float) -> F64:
    """(B, ...) scores S of bucket sums (T, ...) over n (T,) rows: the mean of N rows has covariance S'S / (B N).

    The residuals are those of a ratio estimator (Cochran 1977, ch. 6): sums - n * mean, so buckets of unequal
    size, and traffic that comes in clusters, are priced.
    """
    mean = sums.sum(axis=0) / n.sum()
    residuals = sums - np.multiply.outer(n, mean)
    count = score_count(len(n), window)
    spectrum = dct(residuals, type=2, norm="ortho", axis=0)[1 : count + 1]
    scores: F64 = idct(spectrum, type=2, norm="ortho", axis=0) / np.sqrt(n.mean())
    return scores
