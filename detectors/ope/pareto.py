"""The shape of a tail: how fast the largest values thin out."""

import numpy as np

from detectors.ope.columns import Floats


def tail_shape(excess: Floats) -> float:
    """Shape k of the generalised Pareto law of exceedances (m,) above their threshold.

    The empirical Bayes estimate of Zhang & Stephens (2009, section 3) with the weak prior of Vehtari,
    Simpson, Gelman, Yao & Gabry (2024, appendix G). k >= 1: no mean; k >= 1/2: no variance. nan where every
    exceedance is zero.
    """
    x = np.sort(excess[excess > 0])
    m = len(x)
    if m < 5:
        return float("nan")
    grid = 30 + int(np.sqrt(m))
    quarter = x[int(m / 4 + 0.5) - 1]
    theta = 1 / x[-1] + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3 * quarter)
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = np.log1p(-theta[:, None] * x).mean(axis=1)
        likelihood = m * (np.log(-theta / shape) - shape - 1)
    likelihood = np.where(np.isfinite(likelihood), likelihood, -np.inf)
    posterior = np.exp(likelihood - likelihood.max())
    best = float((theta * posterior).sum() / posterior.sum())
    k = float(np.log1p(-best * x).mean())
    return (k * m + 0.5 * 10) / (m + 10)
