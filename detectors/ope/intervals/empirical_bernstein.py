"""The empirical Bernstein bound on clipped importance-weighted rewards."""

import numpy as np

from detectors.ope.columns import Floats
from detectors.ope.intervals.clipped_sums import CLIPS, ClippedSums


def empirical_bernstein(sums: ClippedSums, delta: float) -> tuple[float, float]:
    """One-sided bounds (lower, upper) of the value in [0, 1], each at delta, for any law of weights.

    mean - sqrt(2 V ln(2/d) / n) - 7 c ln(2/d) / (3 (n - 1)) (Maurer & Pontil 2009, theorem 4) of what is
    clipped at c (Thomas, Theocharous & Ghavamzadeh 2015, theorem 1, with one c for all); the best of the
    clips is taken at delta divided by their number, so no data are spent on choosing it.
    """
    if sums.n < 2:
        return 0.0, 1.0
    gain, loss = _lower(sums, delta)
    return max(0.0, gain), min(1.0, 1.0 - loss)


def _lower(sums: ClippedSums, delta: float) -> Floats:
    log = np.log(2 * len(CLIPS) / delta)
    mean = sums.first / sums.n
    variance = np.maximum(sums.second - sums.n * mean**2, 0.0) / (sums.n - 1)
    radius = np.sqrt(2 * variance * log / sums.n) + 7 * CLIPS * log / (3 * (sums.n - 1))
    return np.asarray((mean - radius).max(axis=1))
