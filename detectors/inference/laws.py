"""Tails and quantiles of the usual laws, straight from scipy.special.

scipy.stats does the same behind a few hundred microseconds of checks per call, and takes seconds to import.
"""

from math import pi, sqrt

import numpy as np
from scipy import special

from detectors.arrays import F64


def normal_density(z: F64 | float) -> F64:
    """The density of the standard normal."""
    return np.asarray(np.exp(-np.square(z) / 2) / sqrt(2 * pi))


def normal_tail(z: F64) -> F64:
    """P(Z > z)."""
    return np.asarray(special.ndtr(-np.asarray(z, np.float64)))


def normal_quantile(level: F64 | float) -> F64:
    """The z with P(Z > z) = level."""
    return np.asarray(-special.ndtri(np.asarray(level, np.float64)))


def student_quantile(level: float, dof: F64 | float) -> F64:
    """The t with P(T > t) = level."""
    return np.asarray(-special.stdtrit(np.asarray(dof, np.float64), np.float64(level)))


def chi2_density(x: F64 | float, dof: float) -> F64:
    """The density; 0 below 0."""
    above = np.maximum(x, 0.0)
    log = special.xlogy(dof / 2 - 1, above) - above / 2 - special.gammaln(dof / 2) - np.log(2) * dof / 2
    return np.where(np.asarray(x) < 0, 0.0, np.exp(log))


def chi2_tail(x: F64, dof: F64) -> F64:
    """P(X > x); 1 below 0."""
    return np.asarray(special.chdtrc(dof, np.maximum(x, 0.0)))


def chi2_quantile(level: float, dof: F64) -> F64:
    """The x with P(X > x) = level."""
    return np.asarray(special.chdtri(dof, np.float64(level)))


def f_quantile(level: float, above: F64, below: F64) -> F64:
    """The x with P(F > x) = level, for `above` and `below` degrees of freedom (as a beta: exact in the far tail)."""
    share = special.betaincinv(below / 2, above / 2, np.float64(level))
    return np.asarray(below * (1 - share) / (above * share))


def negative_binomial_quantile(level: float, successes: F64, chance: float) -> F64:
    """The least k with P(K > k) <= level, K failures before `successes` (real, > 0) successes of this chance."""
    r, fail = np.broadcast_arrays(np.asarray(successes, np.float64), np.float64(1 - chance))
    k = np.maximum(np.ceil(special.btdtria(np.float64(level), r, fail) - 1), 0.0)
    for _ in range(2):  # btdtria is good to 1e-8 or so: the step may lie one beside
        k = np.where(special.betainc(k + 1, r, fail) > level, k + 1, k)
        k = np.where((k > 0) & (special.betainc(np.maximum(k, 1.0), r, fail) <= level), k - 1, k)
    return np.asarray(k)
