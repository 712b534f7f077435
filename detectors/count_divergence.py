"""Kullback-Leibler divergence of a window's counts from a baseline's, with a null for this n and autocorrelation."""

from dataclasses import dataclass, field

import numpy as np

from detectors.arrays import F64, Bool
from detectors.long_run_covariance import long_run_scores
from detectors.own_windows import raised, window_sums
from detectors.quadratic_form import Traces, at_least, quantile, traces_of_scores

MIN_BUCKETS = 8


@dataclass(frozen=True, slots=True)
class Null:
    """What no change looks like in windows of about n rows: the smoothing and the law of n KL.

    mix: (..., 1) weight of the common smoothing law. traces: of 2 KL per unit of 1/n_window + 1/n_baseline.
    total: the same for the sum over all tables. lines: (level, whether total) -> quantile of the same.
    """

    mix: F64
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
    """Baseline counts of one or many tables: cells (..., K), rows (T,), scores (B, ..., K), own windows (m, ..., K)."""

    shares: F64
    n: float
    possible: Bool
    scores: F64
    own: F64
    own_n: F64
    window: float
    nulls: dict[int, Null] = field(default_factory=dict)

    @classmethod
    def of_series(cls, counts: F64, n: F64, possible: Bool, window: float) -> "CountReference":
        """From bucket counts (T, ..., K) over n (T,) rows; window: its length in these buckets."""
        span = max(1, round(window))
        return cls(
            shares=counts.sum(axis=0) / n.sum(), n=float(n.sum()), possible=possible,
            scores=long_run_scores(counts, n, window), own=window_sums(counts, span), own_n=window_sums(n, span),
            window=window,
        )  # fmt: skip

    def divergence(self, counts: F64, n: float, level: float) -> Divergence:
        """KL(window || baseline) of counts (..., K) over n rows, both sides smoothed alike.

        Smoothing mixes both laws with the same uniform law over the possible cells, as heavily as one row per
        cell (times the design effect) weighs in the window; so a cell that the baseline never saw costs what
        its count tells, and tables with more cells than rows turn smoothly into a test of squared differences
        (compare the truncated chi-square of Balakrishnan & Wasserman 2019). The bias c1/2 (1/n + 1/n_baseline)
        is the Miller-Madow term with the design effect, for both samples.
        """
        null = self._null(n)
        cells = kl_cells(counts / n, self.shares, self.possible, null.mix)
        return self._divergence(cells.sum(axis=-1), cells, n, null, level, total=False)

    def total(self, counts: F64, n: float, level: float) -> Divergence:
        """The same for the sum over all tables; its cells are the tables' raw KL (...)."""
        null = self._null(n)
        cells = kl_cells(counts / n, self.shares, self.possible, null.mix).sum(axis=-1)
        return self._divergence(cells.sum(), cells, n, null, level, total=True)

    def mixing(self, n: float) -> F64:
        """(..., 1): weight of the smoothing law in windows of n rows."""
        return self._null(n).mix

    def _divergence(
        self, raw: F64, cells: F64, n: float, null: Null, level: float, *, total: bool
    ) -> Divergence:
        traces = null.total if total else null.traces
        scale = (1 / n + 1 / self.n) / 2
        line = (self._line(null, level, total=total) - traces.c1) * scale
        return Divergence(raw - traces.c1 * scale, line, np.sqrt(2 * traces.c2) * scale, cells)

    def _null(self, n: float) -> Null:
        step = int(np.floor(np.log2(max(n, 1.0))))
        if step not in self.nulls:
            self.nulls[step] = self._null_at(2.0**step)
        return self.nulls[step]

    def _null_at(self, n: float) -> Null:
        cells = self.possible.sum(axis=-1, keepdims=True)
        mix = np.maximum(1.0, design_effects(self.scores, self.shares))[..., None] * cells / n
        law = smoothed(self.shares, self.possible, mix)
        weight = np.where(self.possible, 1 / np.sqrt(np.where(law > 0, law, 1.0)), 0.0) / (1 + mix)
        weighted = self.scores * weight
        joint = weighted.reshape(len(weighted), -1)
        independent = (weight**2 * self.shares * (1 - self.shares)).sum(axis=-1)
        each = at_least(traces_of_scores(weighted), independent)
        return Null(mix, each, at_least(traces_of_scores(joint), np.asarray(independent.sum())))

    def _line(self, null: Null, level: float, *, total: bool) -> F64:
        key = (level, total)
        if key not in null.lines:
            inside = self.own_n > 0
            n = self.own_n[inside].reshape(-1, *(1 for _ in self.shares.shape))
            cells = kl_cells(self.own[inside] / n, self.shares, self.possible, null.mix)
            own = 2 * cells.sum(axis=-1) / (1 / n - 1 / self.n)[..., 0]
            if total:
                own = own.reshape(len(own), -1).sum(axis=-1)
            null.lines[key] = raised(quantile(level, null.total if total else null.traces), own, level)
        return null.lines[key]


def smoothed(shares: F64, possible: Bool, mix: F64) -> F64:
    """Shares (..., K) mixed with the uniform law over the possible cells, weight mix (..., 1)."""
    uniform = possible / np.maximum(possible.sum(axis=-1, keepdims=True), 1)
    return np.asarray((shares + mix * uniform) / (1 + mix))


def kl_cells(shares: F64, reference: F64, possible: Bool, mix: F64) -> F64:
    """Cells p ln(p/q) - p + q (..., K) >= 0 of KL(shares || reference), both smoothed alike, in nats."""
    p, q = smoothed(shares, possible, mix), smoothed(reference, possible, mix)
    ratio = np.where(possible, p, 1.0) / np.where(possible, q, 1.0)
    return np.where(possible, p * np.log(ratio) - p + q, 0.0)


def design_effects(scores: F64, shares: F64) -> F64:
    """(...): long-run variance of the cell shares over that of independent rows (1 for independent rows)."""
    independent = (shares * (1 - shares)).sum(axis=-1)
    measured = (scores**2).mean(axis=0).sum(axis=-1)
    return np.where(independent > 0, measured / np.where(independent > 0, independent, 1.0), 1.0)
