"""Hoeffding's bound on clipped importance-weighted rewards."""

import numpy as np

from detectors.ope.intervals.clipped_sums import CLIPS, ClippedSums


def hoeffding(sums: ClippedSums, delta: float) -> tuple[float, float]:
    """One-sided bounds (lower, upper) of the value in [0, 1], each at delta, for any law of weights.

    mean - c sqrt(ln(1/d) / (2 n)) (Hoeffding 1963, theorem 2) of what is clipped at c (Thomas et al. 2015,
    "High confidence off-policy evaluation"); the best of the clips at delta divided by their number.
    """
    if sums.n < 1:
        return 0.0, 1.0
    radius = CLIPS * np.sqrt(np.log(len(CLIPS) / delta) / (2 * sums.n))
    gain, loss = (sums.first / sums.n - radius).max(axis=1)
    return max(0.0, float(gain)), min(1.0, 1.0 - float(loss))
