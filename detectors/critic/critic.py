"""Does the critic's value agree with what came? Bias, RMSE, explained variance and calibration of its targets.

All of it from pooled sums, so that any split of the rows gives the same. bias = mean(value - target): positive
where the critic over-estimates, which is the dangerous side: its line has twice the price of the other's. The RMSE
that is judged counts errors beyond the baseline's 99.5 % point as that point: squares of heavy-tailed errors have
no variance, and 3 times the false breaches paid for were measured on Student t3 errors without it.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import TypeVar

import numpy as np

from detectors.arrays import F64, Arrays
from detectors.critic.calibration import (
    EE,
    SLOPE,
    E,
    N,
    SlopeReference,
    calibration_slope,
    explained_variance,
)
from detectors.measurement import Culprit, Measurement, Verdict, unknown
from detectors.protocol import Baseline, Plan, Rate, Spec, Window
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic, widened
from detectors.units.clusters import OPTION
from detectors.windows.mean_shift import (
    MeanReference,
    Shift,
    level_of,
    mean_reference,
    unreferenced,
    window_in,
)

NAME = "critic"
MAX_ACTIONS = 1024  # action codes above are pooled into the total only
# the false rate is shared: over-estimation and RMSE a third each, under-estimation a sixth, the slope a sixth
_OVER, _UNDER, _RMSE_UP, _SLOPE = 3, 6, 3, 12  # one-sided tests as this one that the rate would pay for
_SCALES = 4  # the window, its newest third, ninth, 27th
_CULPRITS = 5
_EDGES: F64 = np.geomspace(1e-9, 1e12, 21 * 16 + 1)  # of |value - target|: 16 bins a decade
_SIZES: F64 = np.r_[0.0, np.sqrt(_EDGES[1:] * _EDGES[:-1]), _EDGES[-1]]  # what an error in each bin counts as
BINS = len(_SIZES)
_CAPPED = 0.995


@dataclass(frozen=True, slots=True)
class CriticSums(Statistic):
    """Pooled sums of (value, target) pairs, both about the schema's centre.

    moments: (8,) n, value, target, their squares and product, value - target and its square. by_action:
    (2, actions) n and value - target. sizes: (BINS,) how many errors are how large.
    """

    moments: F64
    by_action: F64
    sizes: F64


def fit(sample: Decisions, plan: Plan) -> Arrays:
    """The centre of the values, subtracted before squaring so that sums of squares keep their digits."""
    known = sample.value[~np.isnan(sample.value)]
    return {"centre": np.array([np.median(known) if len(known) else 0.0])}


@dataclass(frozen=True, slots=True)
class Scale:
    """The newest `buckets` of a window and the references of their mean error and mean capped squared error."""

    buckets: int
    bias: MeanReference | None
    squared: MeanReference | None


@dataclass(frozen=True, slots=True)
class _Rmse:
    """Root mean capped squared error of n decisions, the baseline's, the line between."""

    value: float
    n: int
    usual: float
    line: float
    error: float

    @property
    def severity(self) -> float:
        """Distance from the baseline in units of the line's."""
        room = self.line - self.usual
        return (self.value - self.usual) / room if room else 0.0


@dataclass(frozen=True, slots=True)
class _Part:
    """The buckets of a window from `first` on: n errors, their sum, their squares' sum and the capped squares'."""

    scale: Scale
    first: int
    n: float
    error: float
    square: float
    capped: float

    @property
    def plain(self) -> float:
        """Root mean squared error, nothing capped."""
        return sqrt(max(self.square / round(self.n), 0.0))

    @property
    def bias(self) -> Shift:
        """The mean error against the baseline's."""
        assert self.scale.bias is not None
        return Shift(self.error / round(self.n), round(self.n), self.scale.bias, two_sided=True)

    @property
    def rmse(self) -> _Rmse:
        """The capped error against the baseline's; its standard error by the delta method."""
        assert self.scale.squared is not None
        n, reference = round(self.n), self.scale.squared
        value = sqrt(max(self.capped, 0.0) / n)
        error = reference.error_of(n) / (2 * max(value, 1e-300))
        return _Rmse(value, n, sqrt(reference.mean), sqrt(reference.line(n)), error)


Found = TypeVar("Found", Shift, _Rmse)


@dataclass(frozen=True, slots=True)
class CriticDetector:
    """scales: the whole window first, then its recent parts, which show a sudden change sooner. cap: of an error.
    worth: (BINS,) what an error of each size adds to the capped squares. usual: (2, actions) the baseline's n and
    value - target per decision. slope: of the whole window.
    """

    plan: Plan
    baseline: Baseline | None
    centre: float
    scales: tuple[Scale, ...]
    cap: float
    worth: F64
    usual: F64
    slope: SlopeReference | None = None

    @property
    def name(self) -> str:
        """The registry's name."""
        return NAME

    def observe(self, rows: BucketRows) -> CriticSums:
        """A target that replaces another takes the other's part away."""
        r = rows.returns
        usable = ~np.isnan(r.value) & ~np.isnan(r.target)
        again = usable & ~np.isnan(r.target_before)
        value, action = r.value, r.action
        new = _sums(value[usable] - self.centre, r.target[usable] - self.centre, action[usable])
        old = _sums(value[again] - self.centre, r.target_before[again] - self.centre, action[again])
        by_action = _widened_difference(new.by_action, old.by_action)
        return CriticSums(new.moments - old.moments, by_action, new.sizes - old.sizes)

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """Bias, RMSE and calibration slope against the baseline; explained variance described."""
        m = window.total.moments
        n = round(float(m[N]))
        if n < self.plan.min_samples:
            why = f"the critic's target is known for {n} decisions, {self.plan.min_samples} are needed"
            return tuple(unknown(NAME, statistic, n, why) for statistic in ("bias", "rmse", SLOPE))
        parts = [part for part in self._parts(window) if part.n >= self.plan.min_samples]
        return (
            self._bias(parts, window),
            self._rmse(parts),
            explained_variance(NAME, m),
            calibration_slope(NAME, m, self.slope),
        )

    def _parts(self, window: Window) -> Iterator["_Part"]:
        """The window, then its newest parts."""
        sums = window.total.moments, window.total.sizes
        series = window.series("moments"), window.series("sizes")
        for scale in self.scales:
            first = 0
            if scale.buckets < self.plan.window_buckets:
                since = window.now_ms - scale.buckets * self.plan.bucket_ms
                first = min(bisect_left(window.starts_ms, since), len(window.starts_ms) - 1)
                sums = np.add.reduce(series[0][first:], axis=0), np.add.reduce(series[1][first:], axis=0)
            n, error, square = (float(sums[0][i]) for i in (N, E, EE))
            yield _Part(scale, first, n, error, square, float(sums[1] @ self.worth))

    def _bias(self, parts: Sequence["_Part"], window: Window) -> Measurement:
        """Of the worst part."""
        if parts[0].scale.bias is None:
            first, why = parts[0], unreferenced(self.baseline, "moments")
            return unknown(NAME, "bias", round(first.n), why, value=first.error / round(first.n))
        part, shift = _worst([(part, part.bias) for part in parts])
        words = f"{_side(shift)}: mean of value - target"
        m = shift.measurement(NAME, "bias", "", words)
        return replace(m, culprits=self._culprits(part, shift.value - shift.reference.mean, window))

    def _rmse(self, parts: Sequence["_Part"]) -> Measurement:
        """Of the worst part."""
        if parts[0].scale.squared is None:
            first, why = parts[0], unreferenced(self.baseline, "moments")
            return unknown(NAME, "rmse", round(first.n), why, value=first.plain)
        part, shift = _worst([(part, part.rmse) for part in parts])
        return Measurement(
            NAME, "rmse", "", shift.value, shift.n, Verdict.BREACH if shift.severity > 1 else Verdict.OK,
            shift.line, shift.error, shift.severity,
            reason=f"root mean squared error of the critic {shift.value:.4g} against {shift.usual:.4g} in the baseline"
            f" (line {shift.line:.4g}, n {shift.n}; errors beyond {self.cap:.3g} count as that,"
            f" plain {part.plain:.4g})",
        )  # fmt: skip

    def _culprits(self, part: "_Part", shift: float, window: Window) -> tuple[Culprit, ...]:
        """The actions whose errors moved the mean most, in the direction of the shift; shares add up to it."""
        labels = window.labels
        by_action = np.add.reduce(window.series("by_action")[part.first :], axis=0)
        moved = _widened_difference(by_action / part.n, self.usual)[1]
        order = np.argsort(-moved * np.sign(shift), kind="stable")[:_CULPRITS]
        return tuple(
            Culprit(labels[code] if code < len(labels) else str(code), float(moved[code]))
            for code in order.tolist()
            if moved[code] * shift > 0
        )


def build(baseline: Baseline | None, plan: Plan) -> CriticDetector:
    """With the baseline's schema and, where it has a series, its references."""
    centre = (
        float(baseline.schema["centre"][0]) if baseline is not None and "centre" in baseline.schema else 0.0
    )
    if baseline is None or "moments" not in baseline.series:
        return CriticDetector(
            plan, None, centre, (Scale(plan.window_buckets, None, None),), np.inf, squares(np.inf), np.zeros((2, 0))
        )  # fmt: skip
    cap = cap_of(np.asarray(baseline.series["sizes"], np.float64).sum(axis=0))
    widths = sorted({max(1, plan.window_buckets // 3**k) for k in range(_SCALES)}, reverse=True)
    scales = tuple(_scale(baseline, plan, width, cap, len(widths)) for width in widths)
    n = max(float(baseline.series["moments"][:, N].sum()), 1.0)
    usual = np.asarray(baseline.series["by_action"], np.float64).sum(axis=0) / n
    slope = SlopeReference.of_series(
        np.asarray(baseline.series["moments"], np.float64), window_in(baseline, plan), level_of(plan, _SLOPE)
    )
    return CriticDetector(plan, baseline, centre, scales, cap, squares(cap), usual, slope)


def _scale(baseline: Baseline, plan: Plan, buckets: int, cap: float, scales: int) -> Scale:
    moments = np.asarray(baseline.series["moments"], np.float64)
    capped = np.asarray(baseline.series["sizes"], np.float64) @ squares(cap)
    width = window_in(baseline, plan, buckets)
    over, under, rmse = (level_of(plan, tests * scales, buckets) for tests in (_OVER, _UNDER, _RMSE_UP))
    units = plan.options.get(OPTION, {}).get(NAME)
    bias = mean_reference(moments[:, E], moments[:, N], width, over, units, under)
    squared = mean_reference(capped, moments[:, N], width, rmse)
    return Scale(buckets, bias, squared)


def _worst(found: Sequence[tuple[_Part, Found]]) -> tuple[_Part, Found]:
    """The whole window's, unless a recent part is worse and in breach."""
    breaches = [one for one in found if one[1].severity > 1]
    return max(breaches, key=lambda one: one[1].severity) if breaches else found[0]


def _side(shift: Shift) -> str:
    """Which way the critic errs, and whether that is new."""
    over, grown = shift.value > 0, shift.value > shift.reference.mean
    words = f"the critic {'over' if over else 'under'}-estimates"
    if shift.severity <= 1:
        return words
    if over and grown:
        return f"{words}: it promises more than comes, and by more than in the baseline"
    return f"{words} {'less' if over != grown else 'more'} than in the baseline"


def _sums(value: F64, target: F64, action: np.ndarray[tuple[int], np.dtype[np.int32]]) -> CriticSums:
    if not len(value):
        return CriticSums(np.zeros(8), np.zeros((2, 0)), np.zeros(BINS))
    error = value - target
    sums = [column.sum() for column in (value, target, value**2, target**2, value * target, error, error**2)]
    named = (action >= 0) & (action < MAX_ACTIONS)
    counts = np.bincount(action[named]).astype(np.float64)
    errors = np.bincount(action[named], weights=error[named]).astype(np.float64)
    sizes = np.bincount(np.searchsorted(_EDGES, np.abs(error)), minlength=BINS).astype(np.float64)
    return CriticSums(np.array([len(value), *sums], np.float64), np.array([counts, errors]), sizes)


def squares(cap: float) -> F64:
    """(BINS,) what an error of each size adds to the capped sum of squares."""
    return np.minimum(_SIZES, cap) ** 2


def cap_of(sizes: F64) -> float:
    """The size that 99.5 % of the errors keep."""
    if not sizes.sum() > 0:
        return np.inf
    return float(_SIZES[np.searchsorted(np.cumsum(sizes), _CAPPED * sizes.sum())])


def _widened_difference(a: F64, b: F64) -> F64:
    width = max(a.shape[-1], b.shape[-1])
    return np.asarray(widened(a, width) - widened(b, width))


RATES = (
    Rate("moments", "moments", part=(E,), by_bucket=True),
    Rate("sizes", "moments", cells=True, by_bucket=True),
)
CRITIC = Spec(
    NAME,
    fit,
    build,
    CriticSums,
    reads=frozenset({"returns"}),
    rates=RATES,
    by_action=frozenset({"by_action"}),
)
