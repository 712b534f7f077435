"""The variance of sums over successive buckets, autocorrelation included, from one finite series.

Newey & West (Econometrica 1987) with the AR(1) plug-in bandwidth of Andrews (Econometrica 1991, eq. 6.2, 6.4);
overlapping batch means of Meketon & Schmeiser (Winter Simulation Conference 1984).
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from detectors.arrays import F64

_LARGEST_RHO = 0.97
_FEWEST_BATCHES = 6.0


@dataclass(frozen=True, slots=True)
class LongRun:
    """variance: of a sum of residuals divided by its number of decisions. dof: what the estimate is worth in
    independent values. rho: lag-1 autocorrelation of an AR(1) with the same ratio of long-run to plain variance.
    """

    variance: float
    dof: float
    rho: float


def long_run(residuals: F64, counts: F64, window: int) -> LongRun:
    """Long-run variance per decision of residual sums (buckets,) with their numbers of decisions (buckets,).

    The larger of Newey-West and batch means at `window` buckets, the latter where the series holds six such
    batches. Fewer than two buckets give NaN.
    """
    if len(residuals) < 2 or counts.sum() <= 0:
        return LongRun(np.nan, 0.0, 0.0)
    variance, dof = _newey_west_dof(residuals)
    batches = len(residuals) / max(window, 1)
    if batches >= _FEWEST_BATCHES:
        by_batches = batch_means(residuals, window)
        if by_batches > variance:
            variance, dof = (
                by_batches,
                1.5 * (batches - 1),
            )  # overlapping batches carry 1.5 times the information
    plain = float(np.var(residuals, ddof=1))
    return LongRun(variance / float(counts.mean()), max(dof, 1.0), _matching_rho(residuals, variance, plain))


def newey_west(series: F64, bandwidth: float | None = None) -> F64:
    """(d, d) long-run covariance per step of a series (n, d), Bartlett weights, n / (n - 1) for the mean removed."""
    centred = series - series.mean(axis=0)
    n = len(centred)
    width = andrews_bandwidth(centred) if bandwidth is None else bandwidth
    result: F64 = centred.T @ centred
    for lag in range(1, min(int(width), n - 1) + 1):
        product = centred[lag:].T @ centred[:-lag]
        result = result + (1 - lag / (width + 1)) * (product + product.T)
    return result / (n - 1)


def andrews_bandwidth(centred: F64) -> float:
    """Bandwidth for Bartlett weights from an AR(1) fit to each column of (n, d): 1.1447 (alpha n)^(1/3)."""
    rho, scale = _ar1(centred)
    ratio = (1 - rho) ** -4 * scale**2
    if not ratio.sum() > 0:
        return 0.0
    alpha = np.sum(4 * rho**2 * scale**2 / ((1 - rho) ** 6 * (1 + rho) ** 2)) / np.sum(ratio)
    return float(min(1.1447 * (alpha * len(centred)) ** (1 / 3), len(centred) - 1))


def batch_means(series: F64, length: int) -> float:
    """Variance per step of sums over `length` successive values of (n,), from all overlapping batches."""
    n = len(series)
    sums = np.cumsum(np.concatenate([[0.0], series]))
    deviations = (sums[length:] - sums[:-length]) - length * series.mean()
    return float(np.sum(deviations**2) / length * n / ((n - length + 1) * (n - length)))


def student_depth(z: F64, dof: float) -> F64:
    """(n,) the normal quantile as rare as z is for a Student t: what a depth is worth when its sd was estimated."""
    tail = np.maximum(special.stdtr(dof, -np.abs(z)), 1e-300)
    depth: F64 = np.sign(z) * -special.ndtri(tail)
    return depth


def student_line(sigma: float, dof: float) -> float:
    """The Student t quantile that is as rare as `sigma` is for a normal: the price of an estimated sd."""
    return float(-special.stdtrit(dof, float(special.ndtr(-sigma))))


def _newey_west_dof(residuals: F64) -> tuple[float, float]:
    """Newey-West and its equivalent degrees of freedom, 3 n / (2 (bandwidth + 1)) (Priestley 1981, table 6.2)."""
    column = residuals[:, None]
    width = andrews_bandwidth(column - column.mean())
    return float(newey_west(column, width)[0, 0]), min(
        1.5 * len(residuals) / (width + 1), len(residuals) - 1.0
    )


def _matching_rho(residuals: F64, variance: float, plain: float) -> float:
    """The larger of the lag-1 autocorrelation and the one that explains the variance ratio; in [0, .97]."""
    if not plain > 0:
        return 0.0
    ratio = variance / plain
    lag_one = float(_ar1(residuals[:, None] - residuals.mean())[0][0])
    return float(np.clip(max(lag_one, (ratio - 1) / (ratio + 1)), 0.0, _LARGEST_RHO))


def _ar1(centred: F64) -> tuple[F64, F64]:
    """(d,) autoregression coefficient, clipped, and (d,) innovation variance of each column."""
    power = np.sum(centred**2, axis=0)
    safe = np.where(power > 0, power, 1.0)
    rho = np.clip(np.sum(centred[1:] * centred[:-1], axis=0) / safe, -_LARGEST_RHO, _LARGEST_RHO)
    return rho, power / len(centred) * (1 - rho**2)
