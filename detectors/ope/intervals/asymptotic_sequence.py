"""An asymptotic confidence sequence: what a standard error allows, however often it is looked at."""

import numpy as np

from detectors.ope.functional import standard_error, value_of
from detectors.ope.intervals.interval import Interval, Withheld
from detectors.ope.totals import Totals

SHARPEST_AT = 1000.0  # rows at which the sequence is narrowest beside an interval at one look


def half_width(error: float, n: float, delta: float) -> float:
    """Half of a two-sided interval that misses at any look with probability at most delta; error: standard error.

    The normal mixture boundary error * sqrt(2 (n r + 1) / (n r) * ln(sqrt(n r + 1) / delta)), r = rho^2 (Robbins 1970;
    Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, "Time-uniform central limit theory", theorem 2.2). It needs no
    range of values, and as many rows as the normal law needs: for what passes as reliable.
    """
    scaled = n * _rho_squared(delta)
    return float(error * np.sqrt(2 * (scaled + 1) / scaled * np.log(np.sqrt(scaled + 1) / delta)))


def asymptotic_sequence(totals: Totals, delta: float) -> Interval | Withheld:
    """The same about the estimate of totals, cluster-robust like its standard error."""
    value, error = value_of(totals), standard_error(totals)
    if not np.isfinite(value) or not error > 0:
        return Withheld("the log shows no variation to judge by")
    half = half_width(error, totals.n, delta)
    return Interval(value - half, value + half)


def log_evidence(value: float, error: float, n: float, delta: float) -> float:
    """Log of the mixture's wealth against a mean of 0: it comes to ln(1/d) with probability at most d, ever.

    The same boundary solved for its level: n r / (n r + 1) z^2 / 2 - ln(n r + 1) / 2. delta: for which n r is sharpest.
    """
    if not error > 0:
        return 0.0
    scaled = n * _rho_squared(delta)
    return float(scaled / (scaled + 1) * (value / error) ** 2 / 2 - np.log1p(scaled) / 2)


def _rho_squared(delta: float) -> float:
    """The mixture's precision that is sharpest at SHARPEST_AT rows (the same paper's approximation for tuning rho)."""
    level = -2 * np.log(delta)
    return float((level + np.log(level) + 1) / SHARPEST_AT)
