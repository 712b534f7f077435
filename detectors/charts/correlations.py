"""Whether a few pairs of many features have become correlated: fading correlation matrices, judged by Bayes factors.

A change in d (d - 1) / 2 products at once is spread thin where only some pairs change; a Bayes factor bets on each pair
by itself: the product over pairs of 1 + p (B - 1), B the factor of a correlation of plus or minus rho against none
(Xie & Siegmund, "Sequential multi-sensor change-point detection", Annals of Statistics 2013, for means). B is of the
sample correlation, whose law knows no scale: one row with large features, which inflates all of its products, moves it
little. Its density is proportional to (1 - rho^2)^(n/2) (1 - rho r)^(1/2 - n) (Hotelling, JRSS B 1953).

A log factor passes t as rarely as exp(-t) says (Ville), and by a constant more rarely (simulated, 3 to 32 features: .6
to 1.3 times as often as told for normal features, up to 1.7 for heavy-tailed or skewed ones). Memories fade as
(1 + f k) (1 - f)^k: nearer to a window than (1 - f)^k, so that a change of unknown age shows sooner.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from detectors.arrays import F64, I64
from detectors.charts.cusum import noise
from detectors.charts.ellipse import ABOVE, CLEAR, CORRELATED, LESS, REFUTED
from detectors.units.spreads import Effects
from detectors.windows.own_windows import raised

FORGETS: F64 = np.array([0.17, 0.08, 0.035])  # share of the sum that each bucket loses
_SEEN = 3.0  # standard errors of a correlation that a memory bets on
_LARGEST = 0.85  # correlation that is bet on
_MOST = 700.0  # log factor of one pair: its exponential is a number
_PAIRS = 0.5  # of its pairs, of each feature, expected to change
_FEWEST_EVENTS = 10.0  # that a memory holds
_LOOKS, _LOOKS_CORRELATED = 3.0, 50.0  # independent ones that the baseline must hold
_RARER = 0.15  # crossings per bucket over the share forgotten and exp(-level) (simulated)
_SURE = 3.0  # standard errors from which products stray more than those of independent features
_LEAST_ENERGY = 0.25  # of a feature's usual squares: what is stuck is not correlated
_GROSS = 2.0  # times what theory allows the baseline's own factors: they have no tail that theory tells


@dataclass(frozen=True)
class Correlations:
    """mean: (p,) products per event of q white features, upper triangle; diagonal: where its q squares are.

    forgets, events, bets, lines: (j,) the share of its sum that each memory loses per bucket of `size` events, the
    events that it is worth, the correlation bet on and the log Bayes factor at which it rings. narrow: (j, m) what
    sample correlations of the m pairs are multiplied by, so that they stray like those of independent draws. skewed:
    (j, m) what a pair's log factor loses because its products are skewed (both rarely far from their mean).
    """

    mean: F64
    size: float
    diagonal: I64
    forgets: F64
    events: F64
    bets: F64
    lines: F64
    narrow: F64
    skewed: F64

    @cached_property
    def zero(self) -> F64:
        """(j, 2, p) the state before any bucket: fading sums of residuals, and sums of those sums."""
        return np.zeros((len(self.forgets), 2, len(self.mean)))

    def step(self, state: F64, sums: F64, n: float) -> F64:
        """(j, 2, p) the state after one more bucket of n > 0 events; one with more than usual counts as a usual one.

        Events that a bucket lacks count as usual squares and no product: little traffic looks less correlated.
        """
        residual = (sums - n * self.mean) * min(1.0, self.size / n)
        keep = (1 - self.forgets)[:, None]
        return np.stack([keep * state[:, 0] + residual, keep * (state[:, 0] + state[:, 1])], axis=1)

    def severity(self, state: F64) -> float:
        """Log Bayes factor over its line, both from that of no correlation at all; 1 is passed."""
        return float(self._severities(state).max())

    def parts(self, state: F64) -> F64:
        """(m,) what each pair has in the log Bayes factor of the worst memory."""
        worst = int(np.argmax(self._severities(state)))
        return np.asarray((self._log_factors(state) - self._least)[worst])

    def moved(self, state: F64) -> F64:
        """(m,) the correlation of each pair in the worst memory."""
        worst = int(np.argmax(self._severities(state)))
        return np.asarray((self._correlations(state) / self.narrow)[worst])

    def factors(self, state: F64) -> F64:
        """(j,) log Bayes factors."""
        return np.asarray(self._log_factors(state).sum(axis=1))

    def _severities(self, state: F64) -> F64:
        least = self._least.sum(axis=1)
        return np.asarray((self.factors(state) - least) / (self.lines - least))

    def _log_factors(self, state: F64) -> F64:
        return self._weighed(self._correlations(state))

    def _correlations(self, state: F64) -> F64:
        """(j, m) narrowed sample correlations of each memory."""
        sums = state[:, 0] + self.forgets[:, None] * state[:, 1]
        energy = np.sqrt(np.maximum(self._usual + sums[:, self.diagonal], _LEAST_ENERGY * self._usual))
        first, second, off = self._pairs
        return np.asarray(sums[:, off] / (energy[:, first] * energy[:, second]) * self.narrow)

    def _weighed(self, found: F64) -> F64:
        """(j, m) log of 1 + p (B - 1), B the mean of both signs."""
        bet, power, least = self._bet
        size = bet * np.minimum(np.abs(found), 1.0)
        its, other = np.log(1 - size) * power, np.log(1 + size) * power
        log_b = its + np.log(1 + np.exp(other - its)) - least
        return np.asarray(np.log(1 + self._prior * (np.exp(np.minimum(log_b, _MOST)) - 1)))

    @cached_property
    def _usual(self) -> F64:
        """(j, q) squares that each memory holds of each feature."""
        return np.asarray(self.mean[self.diagonal] * self.size * weight_of(self.forgets)[:, None])

    @cached_property
    def _bet(self) -> tuple[F64, F64, F64]:
        """(j, 1) correlation and power of a factor, (j, m) what its log loses to its mean and to both signs."""
        least = self._expected[:, None] + self.skewed + np.log(2)
        return self.bets[:, None], (0.5 - self.events)[:, None], least

    @cached_property
    def _prior(self) -> float:
        return _PAIRS / len(self.diagonal)

    @cached_property
    def _least(self) -> F64:
        """(j, m) of pairs without any correlation."""
        return self._weighed(np.zeros(self.narrow.shape))

    @cached_property
    def _expected(self) -> F64:
        """(j,) log of the mean of (1 - rho r)^(1/2 - n) over the law of r without correlation."""
        return np.array([_log_mean(n, bet) for n, bet in zip(self.events, self.bets, strict=True)])

    @cached_property
    def _pairs(self) -> tuple[I64, I64, I64]:
        """(m,) first and second feature of each pair, and where its product is."""
        first, second = np.triu_indices(len(self.diagonal))
        off = np.flatnonzero(first != second)
        return first[off], second[off], off


def fit_correlations(
    products: F64, left_out: F64, n: F64, ratio: float, span: int, rate: float, units: Effects | None = None
) -> Correlations | None:
    """None where there is no pair, or where the baseline is too short or too dependent to tell.

    products: (t, p) of white features, upper triangle with the diagonal, of n (t,) events. left_out: (t, p) the same
    with features made white by the other buckets. ratio: live over baseline bucket width. span: buckets over which
    autocorrelation is looked for. rate: false alarms per bucket. units: how far they make the products stray.
    """
    width = int((np.sqrt(8 * products.shape[1] + 1) - 1) / 2)
    first, second = np.triu_indices(width)
    off, diagonal = np.flatnonzero(first != second), np.flatnonzero(first == second)
    if len(off) == 0:
        return None
    mean = products.sum(axis=0) / n.sum()
    residuals = (products - n[:, None] * mean)[:, off]
    scale = mean[diagonal][first[off]] * mean[diagonal][second[off]]
    effect = np.ones(len(off)) if units is None else units.effect[off]
    spread, inflation = _spread(residuals, n, span, scale, effect)
    of_mean = 1.0 if units is None else float(units.of_mean[off].mean())
    skew, dependent = _skew(residuals), inflation > 1
    events = float(n.mean()) * ratio * weight_of(FORGETS) ** 2 / _square_weight(FORGETS)
    looks = FORGETS * len(n) / inflation
    usable = (events >= _FEWEST_EVENTS) & (looks >= (_LOOKS_CORRELATED if dependent else _LOOKS))
    forgets, each = FORGETS[usable], rate * (LESS if dependent else 1.0) / max(int(usable.sum()), 1)
    if len(forgets) == 0:
        return None
    lines = np.log(_RARER * forgets / each)

    def chart(size: float, forgets: F64, lines: F64) -> Correlations:
        events = size * weight_of(forgets) ** 2 / _square_weight(forgets)
        narrow = 1 / np.sqrt(spread * (1 + of_mean * events[:, None] / n.sum()))
        bets = np.minimum(_SEEN / np.sqrt(events), _LARGEST)
        skewed = skew * (np.sqrt(float(n.mean()) / events) * (bets**2 * events) ** 1.5 / 6)[:, None]
        return Correlations(mean, size, diagonal, forgets, events, bets, lines, narrow, skewed)

    lines = _raised(chart(float(n.mean()), forgets, lines), left_out, n, each, dependent)
    known = np.isfinite(lines)
    return chart(float(n.mean()) * ratio, forgets[known], lines[known]) if known.any() else None


def weight_of(forgets: F64) -> F64:
    """Sum of the weights (1 + f k) (1 - f)^k of a memory."""
    return np.asarray(1 / forgets + (1 - forgets) / forgets)


def _square_weight(forgets: F64) -> F64:
    """Sum of their squares."""
    kept = (1 - forgets) ** 2
    lost = 1 - kept
    return np.asarray(1 / lost + 2 * forgets * kept / lost**2 + forgets**2 * kept * (1 + kept) / lost**3)


def _spread(residuals: F64, n: F64, span: int, scale: F64, effect: F64) -> tuple[F64, float]:
    """(m,) variance of products per event over that of independent features, and long-run over plain variance.

    effect: (m,) times that the plain variance is larger because of units: that dependence is known.

    The latter is 1 where it is not clearly more: `noise` takes the larger of two estimates, and of a few pairs one that
    is much too large makes all of them look dependent.
    """
    found = np.array([noise(column, n, span) for column in residuals.T])
    own, error = found[:, 0] / scale, np.sqrt(2 / found[:, 1])
    plain = np.var(residuals, axis=0) / float(n.mean()) * effect
    inflation = float(found[:, 0].sum()) / max(float(plain.sum()), 1e-300)
    if inflation <= CORRELATED + 2 * float(error.max()) / np.sqrt(len(error)):
        inflation = 1.0
    least = np.where(effect > 1, np.maximum(plain / scale, effect), inflation)
    return np.where(own > 1 + _SURE * error, np.maximum(own, least), least), inflation


def _skew(residuals: F64) -> F64:
    """(m,) of a bucket's products, either way, less its standard error."""
    squares = np.maximum((residuals**2).mean(axis=0), 1e-300)
    found = np.abs((residuals**3).mean(axis=0)) / squares**1.5
    error = np.sqrt((residuals**6).mean(axis=0) / squares**3 / len(residuals))
    return np.asarray(np.maximum(found - error, 0.0))


def _raised(found: Correlations, left_out: F64, n: F64, rate: float, dependent: bool) -> F64:
    """(j,) the lines; where the baseline's own factors go beyond what theory allows them, their own tail's.

    None (inf) where they go far beyond, or at all beyond in buckets that depend on each other.
    """
    state, own = found.zero, np.empty((len(n), len(found.forgets)))
    for i, (sums, events) in enumerate(zip(left_out, n, strict=True)):
        state = found.step(state, sums, float(events))
        own[i] = found.factors(state)
    lines = []
    for line, forget, column in zip(found.lines, found.forgets, own.T, strict=True):
        top, allowed = float(column.max()), float(np.log(_RARER * forget * len(n) / REFUTED))
        if top <= allowed:
            lines.append(max(line, ABOVE * top) if dependent else line)
        elif dependent or top > _GROSS * allowed:
            lines.append(np.inf)
        else:
            lines.append(max(line, float(raised(np.asarray(0.0), column, rate)), CLEAR * top))
    return np.array(lines)


def _log_mean(events: float, bet: float) -> float:
    """Over the density of a sample correlation of so many events with known means, (1 - r^2)^((n - 3) / 2)."""
    most = min(1 - 1e-9, 12 / np.sqrt(events))
    r = np.linspace(-most, most, 4_001)
    law = np.log1p(-(r**2)) * (events - 3) / 2
    return float(special.logsumexp(law + np.log1p(-bet * r) * (0.5 - events)) - special.logsumexp(law))
