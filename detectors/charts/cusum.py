"""Cumulative sums of bucket residuals against a baseline: a grid of shift sizes per series, valid at every look.

Page (Biometrika 1954). A sum over standardised residuals z with drift -k restarts at zero; it passes h as rarely as
Siegmund says ("Sequential Analysis", 1985, eq. 2.57) once 2k is replaced by the positive root u of the residuals'
own log moment generating function, K(u) = k u (Cramér; Wald), so that skewed and heavy-tailed residuals are priced.
The price is averaged over what a finite baseline leaves open: its mean (normal) and its noise (chi-square).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from detectors.arrays import F64, Bool
from detectors.inference.long_run import LongRun, long_run
from detectors.units.clusters import Clustered, robust

CLIP = 4.0  # standard deviations that one bucket counts at most
FEWEST_BUCKETS = 30
_SHIFTS: F64 = 0.05 * 1.6 ** np.arange(10, dtype=np.float64)  # long-run sd of one bucket's mean: .05 to 3.4
_LEAST_OF_ERROR = (
    6.0  # a shift smaller than this many standard errors of the baseline's mean is not looked for
)
_OVERSHOOT = 1.166  # 2 * .583 of a normal step
_TOGETHER = 0.6  # realised over summed rates of neighbouring shift sizes (simulated)
_TYPICAL = 8.0
# Shifts of about this many long-run sd of a bucket cost most of the rate: smaller ones are found late at any price, and
# larger ones in a few buckets. _ASIDE: of a rate's weight that all others keep.
_EXPECTED, _NEAR, _ASIDE = 0.9, 0.45, 0.25
_ROOTS: F64 = np.geomspace(0.02, 8.0, 64)
_MOST_VALUES = 2_000
_REFUTED = 0.05  # chance of the baseline's own maximum below which the theory gives way to it
_DEPENDENT = 0.9  # variance of a residual in long-run units
_ABOVE = 1.02
_CLEAR = 1.2  # of the highest sum of a baseline that refutes the theory
_MEAN_NODES, _NOISE_NODES = 15, 7
_SIDES: F64 = np.array([[-1.0], [1.0]])  # down, up


@dataclass(frozen=True)
class Bank:
    """Series (s), directions (2: down, up) and shift sizes (j).

    mean, sd: (s,) per event, sd long-run. size: events of a usual bucket, at which standardised residuals have
    variance 1. shifts: (j,) in such standard deviations. lines: (s, 2, j), inf where nothing is looked for.
    """

    mean: F64
    sd: F64
    size: float
    shifts: F64
    lines: F64

    @cached_property
    def zero(self) -> F64:
        """(s, 2, j) the state before any bucket."""
        return np.zeros(self.lines.shape)

    @cached_property
    def _spread(self) -> F64:
        """(s,) of the sums of a usual bucket, inf where nothing varies."""
        return np.asarray(np.where(self.sd > 0, self.sd, np.inf) * np.sqrt(self.size))

    @cached_property
    def _most(self) -> F64:
        """(s, 2, j) where sums are held."""
        return np.where(np.isfinite(self.lines), self.lines, 0.0)

    def residuals(self, sums: F64, n: float) -> F64:
        """(s,) standardised and clipped; a bucket with more events than usual counts as a usual one."""
        strayed = (sums - n * self.mean) * min(1.0, self.size / n) / self._spread
        return np.asarray(np.minimum(np.maximum(strayed, -CLIP), CLIP))

    def step(self, state: F64, sums: F64, n: float) -> F64:
        """(s, 2, j) the state after one more bucket of n > 0 events with these sums (s,); held at the lines.

        While a large shift is past its line, the sums for smaller ones wait at zero: they would take many times as
        long to fall again as the shift took to be found.
        """
        z = self.residuals(sums, n)[:, None, None] * _SIDES
        moved = np.maximum(state + z - self.shifts / 2 * min(1.0, n / self.size), 0.0)
        held = np.minimum(moved, self._most)
        past = moved >= self.lines
        if not past.any():
            return held
        larger = np.cumsum(past[:, :, ::-1], axis=2)[:, :, ::-1] - past > 0
        return np.where(larger, 0.0, held)

    def severity(self, state: F64) -> F64:
        """(s, 2) of the nearest line; 1 is passed."""
        return np.asarray((state / self.lines).max(axis=2))


def fit_bank(
    sums: F64, counts: F64, ratio: float, rates: F64, window: int, units: Sequence[Clustered | None] = ()
) -> Bank | None:
    """From a baseline's bucket sums (t, s) over counts (t,); None where fewer than 30 buckets hold anything.

    ratio: live over baseline bucket width. rates: (s, 2) false alarms per live bucket that each side may cost, 0 for
    a side that is not watched. window: length in baseline buckets over which autocorrelation is looked for. units:
    per series, how far units that come back make its sums and its mean stray, where that is known.
    """
    filled = counts > 0
    sums, counts = sums[filled], counts[filled]
    if len(sums) < FEWEST_BUCKETS:
        return None
    mean, size = sums.sum(axis=0) / counts.sum(), float(counts.mean()) * ratio
    residuals = sums - counts[:, None] * mean
    known = [*units, *[None] * (len(mean) - len(units))]
    found = [between_units(*noise(r, counts, window), u) for r, u in zip(residuals.T, known, strict=True)]
    variance, dof, of_mean = np.array(found).T
    sd = np.sqrt(variance)
    error = np.sqrt(of_mean.max() / (counts.sum() / size))
    shifts = _SHIFTS[(_LEAST_OF_ERROR * error <= _SHIFTS) | (_SHIFTS[-1] == _SHIFTS)]
    spread = np.where(sd > 0, sd, np.inf) * np.sqrt(counts.mean())
    own = np.clip(residuals / spread, -CLIP, CLIP)
    possible = np.stack([-own.min(axis=0), own.max(axis=0)], axis=1)[:, :, None] > shifts / 2
    lines = _lines(own, dof, error, shifts, rates[:, :, None] * _share(possible, shifts))
    bank = Bank(mean, sd, size, shifts, lines)
    return Bank(mean, sd, size, shifts, _raised(bank, own, dof, error))


def noise(residuals: F64, counts: F64, window: int) -> tuple[float, float]:
    """Long-run variance per event of residual sums (t,) over counts (t,), and its degrees of freedom.

    The plain variance where the long-run one is larger by no more than its own standard error: taking the larger of
    two estimates would make every independent series look correlated.
    """
    plain = float(np.var(residuals, ddof=1)) / float(counts.mean())
    if not plain > 0:
        return 0.0, 1.0
    found = long_run(residuals, counts, window)
    if found.variance > plain * (1 + np.sqrt(2 / found.dof)):
        return found.variance, found.dof
    fourth = float(np.mean((residuals - residuals.mean()) ** 4)) / (plain * float(counts.mean())) ** 2
    return plain, len(residuals) * 2 / max(fourth - 1, 0.5)


def between_units(variance: float, dof: float, units: Clustered | None) -> tuple[float, float, float]:
    """Variance per event and its degrees of freedom with what units add, and the mean's variance in units of it."""
    found = robust(LongRun(variance, dof, 0.0), units)
    whole = units.whole if units is not None and variance > 0 else 0.0
    dof = found.dof if units is None else 1 / (1 / found.dof + 1 / units.steady)
    return found.variance, dof, max(whole / found.variance, 1.0) if found.variance > 0 else 1.0


def _share(possible: Bool, shifts: F64) -> F64:
    """(s, 2, j) of a side's rate that each of its possible shift sizes may cost: lines rise with log shift.

    A line in log likelihood ratios, shift times sum: with equal steps for equal ratios of shifts every shift size would
    be found at nearly the same multiple of its own best test. Those near the expected size cost some three times as
    much again, and are found 3 to 5 % sooner; one of a quarter of it, or of three times it, 3 to 5 % later (simulated).
    """
    expected = _ASIDE + np.exp(-((np.log(shifts / _EXPECTED) / _NEAR) ** 2) / 2)
    weight = possible * expected * _rates_of_shape(shifts)
    total = np.maximum(weight.sum(axis=2, keepdims=True), 1e-300)
    return np.asarray(weight / total / np.where(possible.sum(axis=2, keepdims=True) > 1, _TOGETHER, 1.0))


def _rates_of_shape(shifts: F64) -> F64:
    """(j,) alarm rates of lines c + log shift for normal residuals of a known baseline."""
    reach = _TYPICAL + np.log(shifts / shifts[-1]) + _OVERSHOOT * shifts
    return np.asarray(shifts**2 / 2 / (np.expm1(reach) - reach))


def _lines(own: F64, dof: F64, error: float, shifts: F64, rates: F64) -> F64:
    """(s, 2, j) lines whose averaged alarm rates are `rates` (s, 2, j), by bisection."""
    law = _Law.of(own, dof, error, shifts)
    low, high = np.zeros(rates.shape), np.full(rates.shape, 400.0)
    wanted = np.maximum(rates, 1e-300)
    for _ in range(40):
        middle = (low + high) / 2
        above = law.rate(middle) > wanted
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where((rates > 0) & (high < 399.0), high, np.inf)


def _raised(bank: Bank, own: F64, dof: F64, error: float) -> F64:
    """(s, 2, j) the lines, raised in proportion where the baseline's own sums go beyond what the theory allows them.

    Then, and where residuals are correlated, they stand clear of all that the baseline itself shows: seasons that
    nobody declared, clusters, trends.
    """
    state, top = np.zeros(bank.lines.shape), np.zeros(bank.lines.shape)
    for z in own:
        state = np.maximum(state + np.stack([-z, z], axis=1)[:, :, None] - bank.shifts / 2, 0.0)
        top = np.maximum(top, state)
    rate = _REFUTED / bank.lines[:, :, 0].size / len(own)
    allowed = _lines(own, dof, error, bank.shifts, np.full(bank.lines.shape, rate))
    allowed = np.where(
        np.isfinite(allowed), allowed, bank.lines
    )  # so little is known that theory allows anything
    known = np.isfinite(bank.lines)
    carried = np.maximum(np.where(known, bank.lines / np.where(known, allowed, 1.0), 1.0), _CLEAR) * top
    dependent = np.var(own, axis=0)[:, None, None] < _DEPENDENT
    least = np.where(top > allowed, carried, np.where(dependent, _ABOVE * top, 0.0))
    return np.where(known, np.maximum(bank.lines, least), np.inf)


@dataclass(frozen=True, slots=True)
class _Law:
    """Roots u and drifts m of each sum at each node of (mean error, noise): (s, 2, j, nodes); weights (nodes,)."""

    roots: F64
    drifts: F64
    steps: F64
    weights: F64

    @classmethod
    def of(cls, own: F64, dof: F64, error: float, shifts: F64) -> "_Law":
        mean, mean_weight = np.polynomial.hermite_e.hermegauss(_MEAN_NODES)
        spread, spread_weight = np.polynomial.hermite_e.hermegauss(_NOISE_NODES)
        noise = np.exp(
            np.clip(spread[None, :] / np.sqrt(2 * dof[:, None]), -0.7, 0.7)
        )  # (s, b): true over estimated sd
        drift = shifts[:, None] / 2 - error * mean  # (j, a)
        target = drift[None, :, :, None] / noise[:, None, None, :]  # (s, j, a, b)
        roots = np.stack([_roots(side, target) for side in (-own, own)], axis=1)
        flat = (*roots.shape[:3], -1)
        scaled = noise[:, None, None, None, :]
        weights = (mean_weight[:, None] * spread_weight[None, :]).ravel()
        return cls(
            (roots / scaled).reshape(flat),
            np.broadcast_to(drift[None, None, :, :, None], roots.shape).reshape(flat),
            np.broadcast_to(scaled, roots.shape).reshape(flat),
            weights / weights.sum(),
        )

    def rate(self, lines: F64) -> F64:
        """(s, 2, j) alarms per bucket at these lines."""
        reach = np.clip(self.roots * (lines[..., None] + _OVERSHOOT * self.steps), -500.0, 500.0)
        length = (np.expm1(reach) - reach) / (self.drifts * self.roots)
        return np.asarray((self.weights / np.maximum(length, 1.0)).sum(axis=-1))


def _roots(z: F64, target: F64) -> F64:
    """(s, j, a, b) the root of K(u) = target u for each series; normal where the target is not positive.

    K mixes the residuals' own law with as much normal noise as autocorrelation adds to their sums.
    """
    some = z[:: -(-len(z) // _MOST_VALUES)]
    result = np.empty(target.shape)
    for i, column in enumerate(some.T):
        plain = min(float(np.var(column)), 1.0)
        grown = special.logsumexp(np.multiply.outer(_ROOTS, column - column.mean()), axis=1) - np.log(
            len(column)
        )
        slope = _seen((grown + (1 - plain) * _ROOTS**2 / 2) / _ROOTS, len(column))
        ours = np.interp(target[i], slope, _ROOTS)
        small = target[i] < slope[0]
        result[i] = np.where(small, 2 * target[i], ours)
    return np.where(np.abs(result) < 1e-6, 1e-6, result)


def _seen(slope: F64, length: int) -> F64:
    """K(u) / u as far as so many values show it; from there on it grows as a normal's does, or faster."""
    known = np.searchsorted(_ROOTS, 0.6 * np.sqrt(2 * np.log(length))) - 1
    onward = slope[known] + (_ROOTS - _ROOTS[known]) / 2
    return np.maximum.accumulate(np.where(_ROOTS[known] < _ROOTS, np.maximum(slope, onward), slope))
