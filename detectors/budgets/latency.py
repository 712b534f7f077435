"""How long decisions take: mean and quantiles of a fixed log-spaced histogram; a line only where a budget is set."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, nan

import numpy as np

from detectors.arrays import F64, Arrays
from detectors.inference.evidence import inflation_of, log_bar, log_evidence, log_wealth_of_share
from detectors.measurement import Measurement, Verdict, unknown
from detectors.protocol import Baseline, Plan, Spec, Window
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic
from detectors.windows.mean_shift import described

NAME = "latency"
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
EDGES_MS: F64 = np.geomspace(0.01, 1e7, 9 * 32 + 1)  # 32 bins a decade: a quantile is off by at most 4 %
_BUDGETED = 0.01  # of the decisions may take longer than the budget


@dataclass(frozen=True, slots=True)
class LatencyCounts(Statistic):
    """bins: (290,) decisions below, between and above the edges. sums: (3,) n, milliseconds, n above the budget."""

    bins: F64
    sums: F64


def fit(sample: Decisions, plan: Plan) -> Arrays:
    """Nothing: the edges are fixed."""
    return {}


@dataclass(frozen=True, slots=True)
class LatencyDetector:
    """budget_ms: what 99 % of decisions must keep, NaN where there is none (option `budget`)."""

    plan: Plan
    budget_ms: float

    @property
    def name(self) -> str:
        """The registry's name."""
        return NAME

    def observe(self, rows: BucketRows) -> LatencyCounts:
        """Decisions without a latency do not count."""
        ms = rows.decisions.latency_ms
        ms = ms[~np.isnan(ms)]
        bins = np.bincount(np.searchsorted(EDGES_MS, ms, side="right"), minlength=len(EDGES_MS) + 1)
        return LatencyCounts(
            bins.astype(np.float64), np.array([len(ms), ms.sum(), np.sum(ms > self.budget_ms)])
        )

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """Mean and quantiles; the 99 % one against the budget."""
        n, total, _ = window.total.sums
        if n == 0:
            return (unknown(NAME, "p99", 0, "no decision carries a latency"),)
        size = round(float(n))
        found = dict(zip(QUANTILES, quantiles(window.total.bins, QUANTILES.values()), strict=True))
        rest = [described(NAME, name, value, size) for name, value in found.items() if name != "p99"]
        return (described(NAME, "mean", float(total / n), size), *rest, self._p99(found["p99"], size, window))

    def _p99(self, value: float, n: int, window: Window) -> Measurement:
        if not self.budget_ms > 0:
            return described(NAME, "p99", value, n)
        series = window.series("sums")
        wealth = log_wealth_of_share(series[:, 2], series[:, 0], _BUDGETED)
        inflation = inflation_of(series[:, 2], series[:, 2], series[:, 0], len(series))
        evidence, bar = (
            log_evidence(wealth, inflation),
            log_bar(self.plan.false_per_day, self.plan.bucket_ms, 1),
        )
        over = float(window.total.sums[2])
        reason = (
            f"{over / n:.2%} of {n} decisions took longer than {self.budget_ms:g} ms, {_BUDGETED:.0%} may"
            f" (evidence 1 in {exp(min(evidence, 690.0)):.3g}, the bar is 1 in {exp(bar):.3g})"
        )
        if evidence < bar and n < self.plan.min_samples:
            return unknown(NAME, "p99", n, f"{n} latencies, {self.plan.min_samples} are needed", value=value)
        verdict = Verdict.BREACH if evidence >= bar else Verdict.OK
        severity = max(evidence, 0.0) / bar
        return Measurement(NAME, "p99", "", value, n, verdict, self.budget_ms, nan, severity, reason=reason)


def quantiles(bins: F64, probabilities: Iterable[float]) -> list[float]:
    """Quantiles of a histogram, on a log scale inside their bins; the edge itself beyond the edges."""
    below = np.cumsum(bins)
    return [_quantile(bins, below, q * float(below[-1])) for q in probabilities]


def _quantile(bins: F64, below: F64, wanted: float) -> float:
    bin_ = int(below.searchsorted(wanted))
    if bin_ == 0:
        return float(EDGES_MS[0])
    if bin_ >= len(EDGES_MS):
        return float(EDGES_MS[-1])
    inside = (wanted - below[bin_ - 1]) / bins[bin_]
    return float(EDGES_MS[bin_ - 1] * (EDGES_MS[bin_] / EDGES_MS[bin_ - 1]) ** inside)


def build(baseline: Baseline | None, plan: Plan) -> LatencyDetector:
    """The baseline says nothing that a budget needs."""
    return LatencyDetector(plan, float(plan.options.get("budget", nan)))


LATENCY = Spec(NAME, fit, build, LatencyCounts, reads=frozenset({"decisions"}))
