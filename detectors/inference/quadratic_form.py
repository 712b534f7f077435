"""The law of a quadratic form of a normal vector: sum of lambda_i chi2_1, known by its traces.

With c_k = sum lambda_i^k the three-moment match of Liu, Tang & Zhang (2009) is used (for central forms their
fourth moment always selects delta = 0, so that it equals Hall-Buckley-Eagleson). Divided by its mean it is the
second-order correction of Rao & Scott (1981, 1984) for counts that are not independent draws; its two-moment
half is Satterthwaite (1946) and Welch (1938). Traces estimated from B scores make the line longer: the F ratio
below is exact (t_B squared) for one term and prices a reference of finite length.
"""

from dataclasses import dataclass

import numpy as np

from detectors.arrays import F64
from detectors.inference.laws import chi2_quantile, chi2_tail, f_quantile


@dataclass(frozen=True, slots=True)
class Traces:
    """Traces c1, c2, c3 (...) of the covariance, its square and its cube; scores: B behind them (inf: known)."""

    c1: F64
    c2: F64
    c3: F64
    scores: float = np.inf

    @property
    def degrees(self) -> F64:
        """Degrees of freedom of the matched chi-square: c2^3 / c3^2."""
        return np.where(self.c3 > 0, self.c2**3 / np.where(self.c3 > 0, self.c3, 1.0) ** 2, 1.0)


def traces_of_weights(weights: F64) -> Traces:
    """Traces of sum weights_i chi2_1 with known weights (..., p)."""
    return Traces(weights.sum(axis=-1), (weights**2).sum(axis=-1), (weights**3).sum(axis=-1))


def traces_of_scores(scores: F64) -> Traces:
    """Unbiased traces from independent scores (B, ..., p) with a common covariance.

    c2 and c3 are means over pairs and triples of *different* scores (Chen & Qin 2010), so neither normality nor
    p < B is needed; then c1^2 / p <= c2 <= c1^2 and c2^2 / c1 <= c3 <= c2^1.5, which hold for every covariance.
    """
    count, width = scores.shape[0], scores.shape[-1]
    batched = np.moveaxis(scores, 0, -2)  # (..., B, p)
    own = (batched**2).sum(axis=-1)  # (..., B): the diagonal of the Gram matrix
    c1 = own.mean(axis=-1)
    if count < 3:
        return Traces(c1, c1**2, c1**3, count)
    square, through, cube = _powers(batched)
    pairs = square - (own**2).sum(axis=-1)
    triples = cube - 3 * (own * through).sum(axis=-1) + 2 * (own**3).sum(axis=-1)
    c2 = np.clip(pairs / (count * (count - 1)), c1**2 / max(width, 1), c1**2)
    safe = np.where(c1 > 0, c1, 1.0)
    c3 = np.clip(triples / (count * (count - 1) * (count - 2)), c2**2 / safe, c2**1.5)
    return Traces(c1, c2, c3, count)


def at_least(traces: Traces, mean: F64) -> Traces:
    """The same law stretched to a mean of at least `mean`: rows that repel each other earn no shorter line."""
    stretch = np.maximum(mean / np.where(traces.c1 > 0, traces.c1, np.inf), 1.0)
    return Traces(traces.c1 * stretch, traces.c2 * stretch**2, traces.c3 * stretch**3, traces.scores)


def tail(x: F64, traces: Traces) -> F64:
    """P(form > x) for known traces."""
    degrees = traces.degrees
    matched = degrees + (x - traces.c1) * np.sqrt(degrees / np.where(traces.c2 > 0, traces.c2, 1.0))
    return np.asarray(chi2_tail(matched, degrees))


def quantile(probability: float, traces: Traces) -> F64:
    """The x that the form exceeds with `probability`; longer where the traces are estimated."""
    degrees = traces.degrees
    upper = chi2_quantile(probability, degrees)
    line = traces.c1 + (upper - degrees) * np.sqrt(traces.c2 / degrees)
    return np.asarray(line * _price_of_estimation(probability, degrees, upper, traces.scores))


def _price_of_estimation(probability: float, degrees: F64, upper: F64, scores: float) -> F64:
    if not np.isfinite(scores):
        return np.ones_like(degrees)
    ratio = f_quantile(probability, degrees, degrees * scores) * degrees / upper
    return np.maximum(ratio, 1.0)


def _powers(batched: F64) -> tuple[F64, F64, F64]:
    """tr G^2, diag G^2 and tr G^3 of G = S S', through whichever of S S' and S'S is smaller."""
    if batched.shape[-1] < batched.shape[-2]:
        inner = np.swapaxes(batched, -1, -2) @ batched
        through = ((batched @ inner) * batched).sum(axis=-1)
        return (inner**2).sum(axis=(-1, -2)), through, ((inner @ inner) * inner).sum(axis=(-1, -2))
    gram = batched @ np.swapaxes(batched, -1, -2)
    return (gram**2).sum(axis=(-1, -2)), (gram**2).sum(axis=-1), ((gram @ gram) * gram).sum(axis=(-1, -2))
