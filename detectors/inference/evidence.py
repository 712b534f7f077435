"""Evidence that a mean of non-negative numbers exceeds its budget, valid at every look and for any law.

Betting: with x >= 0 and E[x] <= budget, the wealth prod(1 + share * (x / budget - 1)) has mean at most 1 for any
share in [0, 1] (Waudby-Smith & Ramdas, JRSS-B 2024, section 4; no upper bound on x is needed for this side). Its
logarithm adds up, so that a bucket remembers one sum per share. Restarted at every bucket and summed, the wealth
is an e-detector: passing c takes at least c buckets on average when nothing is wrong (Shin, Ramdas & Rinaldo,
"E-detectors", NEJSDS 2023, theorem 2.4).
"""

from math import isfinite, log

import numpy as np

from detectors.arrays import F64
from detectors.inference.long_run import long_run

SHARES: F64 = np.geomspace(
    1e-4, 0.95, 18
)  # of the wealth at stake: small for rare large costs, large for steady ones


def log_wealth(x: F64, budget: float) -> F64:
    """(shares,) sum over x (n,) of log(1 + share * (x / budget - 1)); negative x count as 0."""
    gain = np.maximum(x, 0.0) / budget - 1.0
    return np.asarray(np.log1p(SHARES[:, None] * gain[None, :]).sum(axis=1))


def log_wealth_of_share(hits: F64 | float, n: F64 | float, budget: float) -> F64:
    """(..., shares) the same for n (...) zeros and ones of which `hits` (...) are ones."""
    won, lost = np.log1p(SHARES * (1 / budget - 1)), np.log1p(-SHARES)
    return np.asarray(np.multiply.outer(hits, won) + np.multiply.outer(np.subtract(n, hits), lost))


def log_evidence(wealth: F64, inflation: float) -> float:
    """Log of the e-detector at the newest bucket, from log wealth per bucket (buckets, shares), oldest first.

    inflation: long-run over plain variance; correlated values are worth 1 / inflation independent ones each.
    """
    since = np.cumsum(wealth[::-1], axis=0) / max(inflation, 1.0)
    most = float(since.max())
    if not isfinite(most):
        return most
    return most + log(float(np.exp(since - most).sum()) / len(SHARES))


def log_bar(false_per_day: float, bucket_ms: int, tests: int) -> float:
    """Log of the evidence that costs `false_per_day / tests`: one over false breaches per bucket."""
    per_bucket = max(false_per_day, 1e-12) * bucket_ms / 86_400_000 / max(tests, 1)
    return float(max(-np.log(per_bucket), np.log(20.0)))


def inflation_of(sums: F64, squares: F64, counts: F64, window_buckets: int) -> float:
    """Long-run over plain variance of a value from its sums per bucket (buckets,), at least 1."""
    filled = counts > 0
    sums, squares, counts = sums[filled], squares[filled], counts[filled]
    if len(sums) < 2:
        return 1.0
    mean = sums.sum() / counts.sum()
    plain = squares.sum() / counts.sum() - mean**2
    if not plain > 0:
        return 1.0
    variance = long_run(sums - mean * counts, counts, window_buckets).variance
    return max(1.0, float(variance / plain)) if np.isfinite(variance) else 1.0
