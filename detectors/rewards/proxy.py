"""Does the reward still stand for the truth? Pairs of (reward, truth) of decisions where both are known."""

from dataclasses import dataclass, replace
from math import nan, sqrt

import numpy as np

from detectors.arrays import F64, Arrays
from detectors.measurement import Measurement, unknown
from detectors.protocol import Baseline, Plan, Rate, Spec, Window
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic
from detectors.windows.mean_shift import (
    MeanReference,
    Shift,
    described,
    level_of,
    mean_reference,
    unreferenced,
    window_in,
)

NAME = "proxy"
_N, _R, _T, _RR, _TT, _RT = range(6)


@dataclass(frozen=True, slots=True)
class ProxySums(Statistic):
    """moments: (6,) pairs, reward, truth, their squares and product. rewarded: (1,) decisions with a reward."""

    moments: F64
    rewarded: F64


def fit(sample: Decisions, plan: Plan) -> Arrays:
    """Nothing is fixed."""
    return {}


@dataclass(frozen=True, slots=True)
class ProxyDetector:
    """gap: the baseline's mean of reward - truth, None where it has too few pairs. means: its reward and truth."""

    plan: Plan
    baseline: Baseline | None
    gap: MeanReference | None
    means: tuple[float, float]

    @property
    def name(self) -> str:
        """The registry's name."""
        return NAME

    def observe(self, rows: BucketRows) -> ProxySums:
        """A pair that changed is taken away and added anew."""
        o = rows.outcomes
        first = np.isnan(o.reward_before) & ~np.isnan(o.reward)
        moments = _pairs(o.reward, o.truth) - _pairs(o.reward_before, o.truth_before)
        return ProxySums(moments, np.array([first.sum()], np.float64))

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """The gap reward - truth against the baseline's, one-sided: a proxy that flatters. Correlation described."""
        m = window.total.moments
        n, rewarded = round(float(m[_N])), round(float(window.total.rewarded[0]))
        if n < self.plan.min_samples:
            why = f"the truth is known for {n} of {rewarded} rewarded decisions, {self.plan.min_samples} are needed"
            return (unknown(NAME, "gap", n, why),)
        reward, truth = float(m[_R]) / n, float(m[_T]) / n
        return self._gap(reward, truth, n), described(NAME, "correlation", correlation(m), n)

    def _gap(self, reward: float, truth: float, n: int) -> Measurement:
        if self.gap is None:
            return unknown(NAME, "gap", n, unreferenced(self.baseline, "moments"), value=reward - truth)
        found = Shift(reward - truth, n, self.gap, two_sided=False)
        m = found.measurement(NAME, "gap", "", "mean of reward - truth")
        before, after = self.means, (reward, truth)
        moved = f"; reward {before[0]:.4g} -> {after[0]:.4g}, truth {before[1]:.4g} -> {after[1]:.4g}"
        return replace(m, reason=m.reason + moved)


def correlation(m: F64) -> float:
    """Pearson's r from pooled moments; NaN where one of the two is constant."""
    n = float(m[_N])
    spread = (m[_RR] / n - (m[_R] / n) ** 2) * (m[_TT] / n - (m[_T] / n) ** 2)
    if not spread > 0:
        return nan
    return float((m[_RT] / n - m[_R] * m[_T] / n**2) / sqrt(spread))


def build(baseline: Baseline | None, plan: Plan) -> ProxyDetector:
    """With the baseline's gap, where it holds enough pairs."""
    if baseline is None or "moments" not in baseline.series:
        return ProxyDetector(plan, baseline, None, (nan, nan))
    moments = np.asarray(baseline.series["moments"], np.float64)
    gap = mean_reference(
        moments[:, _R] - moments[:, _T], moments[:, _N], window_in(baseline, plan), level_of(plan, 1)
    )
    total = moments.sum(axis=0)
    n = float(total[_N]) or nan
    return ProxyDetector(plan, baseline, gap, (float(total[_R]) / n, float(total[_T]) / n))


def _pairs(reward: F64, truth: F64) -> F64:
    known = ~(np.isnan(reward) | np.isnan(truth))
    if not known.any():
        return np.zeros(6)
    r, t = reward[known], truth[known]
    return np.array([len(r), r.sum(), t.sum(), (r * r).sum(), (t * t).sum(), (r * t).sum()], np.float64)


RATES = tuple(Rate("moments", "moments", part=(column,)) for column in (_R, _T))
PROXY = Spec(NAME, fit, build, ProxySums, reads=frozenset({"outcomes"}), rates=RATES)
