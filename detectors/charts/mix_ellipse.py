"""How far shares have moved in no direction known beforehand, where changes are expected to be of a certain size.

Fading sums of count residuals at several memories, as in `ellipse`. Each is judged by the Bayes factor of a change that
multiplies every share by its own 1 + r, r normal with a standard deviation of about a tenth: large shares count for
more, rare ones hardly, and all memories ring at one Bayes factor. The squared length so weighed is a quadratic form
of a normal vector, the error of the finite baseline included; its density is Daniels' saddlepoint (Annals of
Mathematical Statistics 1954), right far out where three cumulants are not (simulated, 5 to 200 shares: one memory
passes its level .7 to 1.1 times as often as told, from once in 500 to once in 30,000 buckets).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.arrays import F64
from detectors.charts.cusum import noise
from detectors.charts.ellipse import (
    ABOVE,
    CLEAR,
    CORRELATED,
    DEPENDENT,
    GROSS,
    REFUTED,
    Ellipse,
    beyond_units,
    memory,
    squares,
)
from detectors.units.spreads import Effects
from detectors.windows.own_windows import raised

FORGETS: F64 = np.array([0.2, 0.1, 0.05, 0.025, 0.0125])  # share of the sum that each bucket loses
# Relative change of a share that a memory of so many events is to find; longer memories find smaller ones. Half-way
# between one size for all and what each memory can just see, which would fall by the square root of its length.
_CHANGE, _EVENTS = 0.12, 800.0
_LOOKS, _LOOKS_CORRELATED = 3.0, 50.0  # independent ones that the baseline must hold
_TOGETHER = 0.5  # sums of rates over the realised one are 1 + this for each further memory (simulated)
_SURE = 3.0  # standard errors from which a baseline's noise is not that of independent draws
_FOLDS = 5


def fit_mix(
    counts: F64, n: F64, ratio: float, span: int, rate: float, lumped: float, units: Effects | None = None
) -> Ellipse | None:
    """From a baseline's counts (t, q) of n (t,) events, its last cell being many actions; None where it is too short.

    ratio: live over baseline bucket width. span: buckets over which autocorrelation is looked for. rate: false alarms
    per bucket. lumped: sum of squared shares of the actions in the last cell. units: how far they make counts stray.
    """
    shares, size = counts.sum(axis=0) / n.sum(), float(n.mean()) * ratio
    root = np.sqrt(np.where(shares > 0, shares, np.inf))
    turned = (counts - n[:, None] * shares) / root
    plain = (turned**2).sum(axis=0) / n.sum()
    between = (
        np.zeros(len(shares)) if units is None else np.where(units.effect > 1, units.variance / root**2, 0.0)
    )
    found = np.array([noise(column, n, span) for column in turned.T])
    spread, known = found[:, 0], np.maximum(plain, between)
    inflation = float(spread.sum()) / max(float(known.sum()), 1e-300)
    if between.any():
        inflation = beyond_units(inflation, found[:, 1])
    dependent = inflation > CORRELATED
    looks = FORGETS * len(n) / inflation
    forgets = FORGETS[looks >= (_LOOKS_CORRELATED if dependent else _LOOKS)]
    if len(forgets) == 0 or not spread.any():
        return None
    variance = _variance(spread, shares, n)
    variance = np.maximum(variance, between)
    scale = 1 / root / np.sqrt(np.where(variance > 0, variance, np.inf))
    alike = np.where(shares > 0, shares, 0.0)
    alike[-1] = lumped / max(float(shares[-1]), 1e-300)  # many changes in one cell cancel
    expected = size * alike * np.divide(1.0, variance, out=np.zeros_like(variance), where=variance > 0)
    white = _left_out(counts, n, scale)
    together, of_mean = _correlation(shares), 1.0
    if units is not None and len(units.rows):
        together = _between(units.rows / np.where(root < np.inf, root, 1.0), together)
        of_mean = float(units.of_mean[shares > 0].mean())
    charts = [_Chart.of(f, white, together, expected * _change(f, size), of_mean) for f in forgets.tolist()]
    if dependent and any(chart.varies > DEPENDENT for chart in charts):
        return None
    levels = _levels(charts, rate * (1 + _TOGETHER * (len(charts) - 1)))
    pairs = zip(charts, levels, strict=True)
    lines = np.array([chart.line(level, rate / len(charts), dependent) for chart, level in pairs])
    known = np.isfinite(lines)
    if not known.any():
        return None
    worth = np.stack([chart.worth for chart in charts])
    return Ellipse(shares, scale / np.sqrt(size), size, forgets[known], lines[known], worth=worth[known])


def _change(forget: float, size: float) -> float:
    """Variance of the relative change of a share."""
    return _CHANGE**2 * float(np.sqrt(_EVENTS * forget / (2 * size)))


def _variance(spread: F64, shares: F64, n: F64) -> F64:
    """(q,) of a residual over the root of its share: of independent draws, unless the baseline's own clearly differs.

    So many variances cannot be estimated from some hundred buckets without making every line too low somewhere.
    """
    drawn = np.where(shares > 0, 1 - shares, 0.0)
    expected_count = np.maximum(float(n.mean()) * shares, 1e-9)
    error = np.sqrt((2 + 1 / expected_count) / len(n))
    clear = np.abs(spread - drawn) > _SURE * error * drawn
    return np.asarray(np.where(clear, spread, drawn))


def _correlation(shares: F64) -> F64:
    """(q, q) of the counts of independent draws."""
    odds = np.sqrt(shares / np.maximum(1 - shares, 1e-12))
    found = -np.outer(odds, odds)
    np.fill_diagonal(found, 1.0)
    return np.asarray(found)


def _between(rows: F64, drawn: F64) -> F64:
    """(q, q) correlation of counts between units, from residual rows (r, q): as far as these tell shares apart."""
    cross = rows.T @ rows
    scale = np.sqrt(np.maximum(np.diagonal(cross), 1e-300))
    known = 1 / (1 + len(drawn) / max(len(rows), 1))
    found = np.where(np.outer(scale, scale) > 1e-12, cross / np.outer(scale, scale), drawn)
    return np.asarray(known * found + (1 - known) * drawn)


def _left_out(counts: F64, n: F64, scale: F64) -> F64:
    """(t, q) white residuals of each fifth of the baseline from the shares of the rest."""
    white = np.empty(counts.shape)
    for fold in np.array_split(np.arange(len(n)), _FOLDS):
        rest = np.ones(len(n), dtype=bool)
        rest[fold] = False
        shares = counts[rest].sum(axis=0) / n[rest].sum()
        white[fold] = (counts[fold] - n[fold, None] * shares) * scale / np.sqrt(float(n.mean()))
    return white


def _levels(charts: Sequence["_Chart"], rate: float) -> list[float]:
    """Squared lengths of one Bayes factor, which are passed so often in all."""
    low, high = 0.0, 200.0
    for _ in range(40):
        middle = (low + high) / 2
        passed = sum(chart.law.rate(chart.level(middle)) for chart in charts)
        low, high = (middle, high) if passed > rate else (low, middle)
    return [chart.level(high) for chart in charts]


@dataclass(frozen=True, slots=True)
class _Chart:
    """One memory. own: (t',) squared lengths of the baseline's own sums, varies: their variance over that of theory.

    worth: (q,) of squared components. penalty: twice what a log Bayes factor loses by not knowing the change.
    """

    law: "_Law"
    own: F64
    length: int
    varies: float
    worth: F64
    penalty: float

    @classmethod
    def of(cls, forget: float, white: F64, correlation: F64, expected: F64, of_mean: float = 1.0) -> "_Chart":
        """expected: (q,) variance of the mean white residual of a bucket after a change.

        of_mean: how many times the variance of the baseline's shares is what white residuals say.
        """
        error = of_mean / (forget**2 * len(white))
        spread = memory(forget) + error
        odds = expected / forget**2 / spread
        worth = odds / (1 + odds) / spread
        root = np.sqrt(worth)
        own = squares(forget, white * root, False)
        roots = np.linalg.eigvalsh(correlation * np.outer(root, root)) * spread
        usual = _stretched(roots, own, len(own) * forget / 2)
        law = _Law(forget, usual, error / spread)
        theory = 2 * float((roots**2).sum()) * (memory(forget) / spread) ** 2
        return cls(law, own, len(white), float(np.var(own)) / theory, worth, float(np.log1p(odds).sum()))

    def level(self, log_factor: float) -> float:
        """The squared length at which the Bayes factor is so large."""
        return 2 * log_factor + self.penalty

    def line(self, level: float, rate: float, dependent: bool) -> float:
        """The level; the tail of the baseline's own sums where they pass what theory allows, inf where they go far."""
        top, allowed = float(self.own.max()), self.law.level(REFUTED / self.length)
        if top > GROSS * allowed:
            return np.inf
        if top <= allowed:
            return max(level, ABOVE * top) if dependent else level
        return max(level, float(raised(np.asarray(0.0), self.own, rate)), CLEAR * top)


def _stretched(roots: F64, own: F64, independent: float) -> F64:
    """(q',) the weights of the squares, all larger where the baseline's own sums are so clearly."""
    roots = roots[roots > 1e-9 * roots.max()]
    mean, variance, fourth = roots.sum(), 2 * (roots**2).sum(), 48 * (roots**4).sum()
    by_mean = float(own.mean()) / mean
    by_sd = float(own.std() / np.sqrt(variance))
    more = 1.0
    if by_mean > 1 + 2 * np.sqrt(variance / independent) / mean:
        more = by_mean
    if by_sd > np.sqrt(1 + 2 * np.sqrt((2 + fourth / variance**2) / independent)):
        more = max(more, by_sd)
    return np.asarray(roots * more)


@dataclass(frozen=True, slots=True)
class _Law:
    """A sum of squares of normals times `roots` (q,). lasting: share of its mean that is the baseline's own error."""

    forget: float
    roots: F64
    lasting: float

    def rate(self, level: float) -> float:
        """How often per bucket the level is passed: density times drift, half a step further for discrete looks."""
        mean = float(self.roots.sum())
        if level <= mean:
            return 1.0
        tilted = self.roots / (1 - 2 * self.roots * self._tilt(level))
        moving = float((self.roots * tilted).sum()) * (1 - self.lasting)
        step = np.sqrt(8 * self.forget * moving)
        return self._density(level + 0.583 * step) * 2 * self.forget * (level - mean) * (1 - self.lasting)

    def level(self, rate: float) -> float:
        """The level that is passed this often per bucket."""
        low = float(self.roots.sum()) + np.sqrt(2 * float((self.roots**2).sum()))
        high = low + 200 * float(self.roots.max())
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self.rate(middle) > rate else (low, middle)
        return float(high)

    def _tilt(self, level: float) -> float:
        """The saddlepoint, where the derivative of the log moment generating function is the level, above the mean.

        Newton's method from where the largest root alone would reach the level: a convex function, met from above.
        """
        tilt = 0.5 / float(self.roots.max()) - 0.5 / level
        for _ in range(60):
            tilted = self.roots / (1 - 2 * self.roots * tilt)
            step = (float(tilted.sum()) - level) / (2 * float((tilted**2).sum()))
            tilt -= step
            if abs(step) < 1e-13 * abs(tilt):
                break
        return tilt

    def _density(self, level: float) -> float:
        tilt = self._tilt(level)
        left = 1 - 2 * self.roots * tilt
        exponent = -0.5 * float(np.log(left).sum()) - tilt * level
        return float(np.exp(exponent) / np.sqrt(4 * np.pi * float(((self.roots / left) ** 2).sum())))
