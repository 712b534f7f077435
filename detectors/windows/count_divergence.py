"""Kullback-Leibler divergence of a window's counts from a baseline's, with a null for this n and autocorrelation."""

from dataclasses import dataclass, field

import numpy as np

from detectors.arrays import F64, Bool
from detectors.inference.long_run_covariance import long_run_scores
from detectors.inference.quadratic_form import Traces, at_least, quantile, traces_of_scores
from detectors.inference.rare_counts import most_expected
from detectors.windows.own_windows import raised, window_sums

MIN_BUCKETS = 8
NONE = np.empty(0)
SMOOTHING = 3.0  # rows per cell: fewer, and the KL of sparse cells falls below its quadratic form


@dataclass(frozen=True, slots=True)
class Null:
    """What no change looks like in windows of about n rows: the smoothing and the law of n KL.

    mix: (..., 1) weight of the common smoothing law. added: (..., K) that law so weighed. law: (..., K) the baseline's
    shares with it. traces: of 2 KL per unit of 1/n_window + 1/n_baseline. total: the same for the sum over all tables.
    lines: (level, whether total) -> quantile of the same.
    """

    n: float
    mix: F64
    added: F64
    law: F64
    traces: Traces
    total: Traces
    lines: dict[tuple[float, bool], F64] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Divergence:
    """Per table (...): bias-corrected nats, line and standard error; cells (..., K) sum to the raw KL."""

    value: F64
    line: F64
    error: F64
    cells: F64


@dataclass(slots=True)
class CountReference:
    """Baseline counts of one or many tables: cells (..., K), rows (T,), scores (B, ..., K), own windows (m, ..., K).

    effects: (...) the tables' design effects.
    """

    shares: F64
    n: float
    possible: Bool
    scores: F64
    own: F64
    own_n: F64
    window: float
    effects: F64
    nulls: dict[int, Null] = field(default_factory=dict)

    @classmethod
    def of_series(
        cls, counts: F64, n: F64, possible: Bool, window: float, effect: F64 | float = 1.0
    ) -> "CountReference":
        """From bucket counts (T, ..., K) over n (T,) rows; window: its length in these buckets.

        effect: design effect (...) that units are known to have, where that is more than buckets show.
        """
        span = max(1, round(window))
        shares, scores = counts.sum(axis=0) / n.sum(), long_run_scores(counts, n, window)
        if np.any(np.asarray(effect) > 1):
            shown = np.maximum(design_effects(scores, shares), 1e-300)
            scores = scores * np.sqrt(np.maximum(effect / shown, 1.0))[..., None]
        return cls(
            shares=shares, n=float(n.sum()), possible=possible, scores=scores, own=window_sums(counts, span),
            own_n=window_sums(n, span), window=window, effects=design_effects(scores, shares),
        )  # fmt: skip

    def divergence(self, counts: F64, n: float, level: float, unseen: F64 = NONE) -> Divergence:
        """KL(window || baseline) of counts (..., K) over n rows, both sides smoothed alike.

        Smoothing mixes both laws with the same uniform law over the possible cells, as heavily as three rows per
        cell (times the design effect) weigh in the window; so a cell that the baseline never saw costs what
        its count tells, and tables with more cells than rows turn smoothly into a test of squared differences
        (compare the truncated chi-square of Balakrishnan & Wasserman 2019). The bias c1/2 (1/n + 1/n_baseline)
        is the Miller-Madow term with the design effect, for both samples. unseen: (m,) counts of cells that the
        baseline never had; each counts for itself, in the last of the cells returned.
        """
        null = self.null(n)
        cells = _cells(self.smoothed(counts / n, null), null.law, self.possible)
        if len(unseen):
            cells[-1] += self._unseen(unseen / n, float(null.mix[0]))
        return self._divergence(cells.sum(axis=-1), cells, n, null, level, total=False)

    def _unseen(self, shares: F64, mix: float) -> float:
        floor = mix / float(self.possible.sum())
        return float(((shares + floor) * np.log1p(shares / floor) - shares).sum() / (1 + mix))

    def total(self, each: Divergence, n: float, level: float) -> Divergence:
        """The sum over all tables of divergences without unseen cells; its cells are the tables' raw KL (...)."""
        cells = each.cells.sum(axis=-1)
        return self._divergence(cells.sum(), cells, n, self.null(n), level, total=True)

    def discovered(self, found: Divergence, n: float, rate: float) -> Bool:
        """(...) the tables that have moved, at most a share `rate` of them falsely named on average.

        Benjamini & Hochberg (JRSS B 1995) with p-values rounded up to rate / 2^i, which costs a factor of two at most.
        """
        null, tables = self.null(n), found.value.size
        for halvings in range(int(np.ceil(np.log2(max(tables, 1)))) + 1):
            level = rate / 2**halvings
            line = (self._line(null, level, total=False) - null.traces.c1) * ((1 / n + 1 / self.n) / 2)
            over = np.asarray(found.value > line)
            if over.any() and over.sum() >= tables / 2**halvings:
                return over
        return np.zeros(found.value.shape, np.bool_)

    def chance(self, n: float, level: float) -> F64:
        """(...) the raw KL that n rows without a change pass as often as `level`."""
        return self._line(self.null(n), level, total=False) * ((1 / n + 1 / self.n) / 2)

    def smoothed(self, shares: F64, null: Null) -> F64:
        """Shares (..., K) of a window, smoothed as the baseline's are."""
        return np.asarray((shares + null.added) / (1 + null.mix))

    def _divergence(
        self, raw: F64, cells: F64, n: float, null: Null, level: float, *, total: bool
    ) -> Divergence:
        traces = null.total if total else null.traces
        scale = (1 / n + 1 / self.n) / 2
        line = (self._line(null, level, total=total) - traces.c1) * scale
        return Divergence(raw - traces.c1 * scale, line, np.sqrt(2 * traces.c2) * scale, cells)

    def null(self, n: float) -> Null:
        """The law of windows of about n rows: n is rounded down to a power of two."""
        step = int(np.floor(np.log2(max(n, 1.0))))
        if step not in self.nulls:
            self.nulls[step] = self._null_at(2.0**step)
        return self.nulls[step]

    def _null_at(self, n: float) -> Null:
        cells = self.possible.sum(axis=-1, keepdims=True)
        mix = SMOOTHING * np.maximum(1.0, self.effects)[..., None] * cells / n
        # Each row is weighed by what the others say of its cell: Good's (1953) leave-one-out, so that actions that
        # the baseline saw once, or by chance not at all, are priced.
        law = smoothed(np.maximum(self.shares - 1 / self.n, 0.0), self.possible, mix)
        weight = np.where(self.possible, 1 / np.sqrt(np.where(law > 0, law, 1.0)), 0.0) / (1 + mix)
        weighted = self.scores * weight
        joint = weighted.reshape(len(weighted), -1)
        independent = (weight**2 * self.shares * (1 - self.shares)).sum(axis=-1)
        each = at_least(traces_of_scores(weighted), independent)
        total = at_least(traces_of_scores(joint), np.asarray(independent.sum()))
        return Null(
            n, mix, mix * uniform(self.possible), smoothed(self.shares, self.possible, mix), each, total
        )

    def _line(self, null: Null, level: float, *, total: bool) -> F64:
        key = (level, total)
        if key not in null.lines:
            line = np.maximum(quantile(level, null.total if total else null.traces), self._rare(null, level))
            null.lines[key] = raised(line, self._own_divergences(null, total=total), level)
        return null.lines[key]

    def _rare(self, null: Null, level: float) -> float:
        """What as many events as may happen by chance cost, all in one cell that the baseline never had."""
        events = float(most_expected(level, np.zeros(1), null.n, self.n, np.ones(1))[0])
        floor = float((null.mix / self.possible.sum(axis=-1, keepdims=True)).min())
        share = events / null.n
        cell = ((share + floor) * float(np.log1p(share / floor)) - share) / (1 + float(null.mix.min()))
        return 2 * cell / (1 / null.n + 1 / self.n)

    def _own_divergences(self, null: Null, *, total: bool) -> F64:
        inside = self.own_n > 0
        n = self.own_n[inside].reshape(-1, *(1 for _ in self.shares.shape))
        cells = _cells(self.smoothed(self.own[inside] / n, null), null.law, self.possible)
        own = np.asarray(2 * cells.sum(axis=-1) / (1 / n - 1 / self.n)[..., 0])
        return own.sum(axis=tuple(range(1, own.ndim))) if total else own


def smoothed(shares: F64, possible: Bool, mix: F64) -> F64:
    """Shares (..., K) mixed with the uniform law over the possible cells, weight mix (..., 1)."""
    return np.asarray((shares + mix * uniform(possible)) / (1 + mix))


def uniform(possible: Bool) -> F64:
    """(..., K) the same share for every possible cell."""
    return np.asarray(possible / np.maximum(possible.sum(axis=-1, keepdims=True), 1))


def kl_cells(shares: F64, reference: F64, possible: Bool, mix: F64) -> F64:
    """Cells p ln(p/q) - p + q (..., K) >= 0 of KL(shares || reference), both smoothed alike, in nats."""
    return _cells(smoothed(shares, possible, mix), smoothed(reference, possible, mix), possible)


def _cells(p: F64, q: F64, possible: Bool) -> F64:
    if possible.all():
        return np.asarray(p * np.log(p / q) - p + q)
    ratio = np.where(possible, p, 1.0) / np.where(possible, q, 1.0)
    return np.where(possible, p * np.log(ratio) - p + q, 0.0)


def design_effects(scores: F64, shares: F64) -> F64:
    """(...): long-run variance of the cell shares over that of independent rows (1 for independent rows)."""
    independent = (shares * (1 - shares)).sum(axis=-1)
    measured = (scores**2).mean(axis=0).sum(axis=-1)
    return np.where(independent > 0, measured / np.where(independent > 0, independent, 1.0), 1.0)
