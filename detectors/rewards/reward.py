"""Rewards of a window: their mean against the baseline's, their moving average, quantiles and components."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from detectors.arrays import F64, Arrays, Bool
from detectors.measurement import Measurement, Verdict, unknown
from detectors.protocol import Baseline, Plan, Rate, Spec, Window
from detectors.rewards import quantile_sketch
from detectors.rewards.delay import delay_bins, delay_edges_ms
from detectors.rewards.line import armed
from detectors.rewards.reference import RewardReference, reward_reference
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic, widened

NAME = "reward"
MAX_COMPONENTS = 16
_LARGEST = 1e100  # what is larger has no square and counts as missing
_QUANTILES = np.array(list(quantile_sketch.QUANTILES.values()))


@dataclass(frozen=True, slots=True)
class RewardStatistic(Statistic):
    """Series 0 is the scalar reward, the others are the components.

    decisions: (1,). moments: (3, series) count, sum, sum of squares. delay: (2, bins) arrivals and reward by delay.
    sketch: (series, bins) quantile sketches.
    """

    decisions: F64
    moments: F64
    delay: F64
    sketch: F64


class Reward:
    """The detector: counts rewards at the bucket of their decision, compares like ages with like.

    Options: `components` (names), `missing_reward` ("ignore", or "zero": a decision whose horizon passed without a
    reward got 0 at the horizon), `half_life_buckets` of the moving average (a quarter of the window).
    """

    name = NAME

    def __init__(self, baseline: Baseline | None, plan: Plan) -> None:
        self._plan = plan
        self._components: tuple[str, ...] = tuple(plan.options.get("components", ()))[:MAX_COMPONENTS]
        self._missing_is_zero = plan.options.get("missing_reward", "ignore") == "zero"
        self._half_life = float(plan.options.get("half_life_buckets", max(plan.window_buckets / 4, 1.0)))
        schema = baseline.schema if baseline is not None else {}
        self._edges_ms = np.asarray(
            schema.get("delay_edges_ms", delay_edges_ms(plan.horizon_ms)), dtype=np.float64
        )
        self._reference: RewardReference | str = "there is no baseline"
        if baseline is not None and len(baseline.starts_ms) > 0:
            self._reference = reward_reference(baseline, plan)

    @property
    def longest_hold(self) -> int:
        """Buckets that a breach at the line must last; 0 without a reference."""
        return 0 if isinstance(self._reference, str) else self._reference.price.hold_buckets

    def observe(self, rows: BucketRows) -> RewardStatistic:
        """The sufficient statistic of new decisions and changed rewards."""
        outcomes, edges = rows.outcomes, self._edges_ms
        nothing = np.full(len(outcomes), np.nan)
        series = [_Change.of(outcomes.reward_before, outcomes.reward)]
        series += [
            _Change.of(*outcomes.components.get(name, (nothing, nothing))) for name in self._components
        ]
        where = delay_bins(edges, outcomes.delay_ms)
        weights = (series[0].counts, series[0].sums)
        delay = np.array([np.bincount(where, weight, len(edges)) for weight in weights], np.float64)
        moments = np.array([change.moments for change in series]).T.copy()
        sketch = _stacked([change.sketch for change in series])
        if self._missing_is_zero:
            delay[0, -1] += rows.expired
            moments[0, 0] += rows.expired
            sketch[0, 0] += rows.expired
        return RewardStatistic(np.array([float(len(rows.decisions))]), moments, delay, sketch)

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """The armed mean first, then what is only described."""
        if window.total.decisions[0] <= 0:
            return (unknown(NAME, "mean", 0, "no decisions in the window"),)
        described = [
            self._moving_average(window),
            *self._quantiles(window.total),
            *self._component_means(window.total),
        ]
        return (*armed(NAME, self._reference, window, self._plan), *described)

    def _moving_average(self, window: Window) -> Measurement:
        """Mean of the rewards with weights that halve every half-life."""
        age = (window.now_ms - np.asarray(window.starts_ms)) / self._plan.bucket_ms - 1
        weight = 0.5 ** (age / self._half_life)
        count, total, _ = weight @ window.series("moments")[:, :, 0]
        n = int(window.total.moments[0, 0])
        return _described("ewma", total / count if count > 0 else np.nan, n)

    def _quantiles(self, total: Any) -> list[Measurement]:
        values = quantile_sketch.quantiles(total.sketch[0], _QUANTILES)
        n = int(total.moments[0, 0])
        return [
            _described(name, value, n) for name, value in zip(quantile_sketch.QUANTILES, values, strict=True)
        ]

    def _component_means(self, total: Any) -> list[Measurement]:
        result = []
        for name, (count, value, _) in zip(self._components, total.moments[:, 1:].T, strict=False):
            result.append(
                _described("component_mean", value / count if count > 0 else np.nan, int(count), name)
            )
        return result


def _described(statistic: str, value: float, n: int, subject: str = "") -> Measurement:
    """A number without a line; unknown where there is none."""
    if not isfinite(value):
        return unknown(NAME, statistic, n, "no usable rewards in the window", subject)
    return Measurement(NAME, statistic, subject, float(value), n, Verdict.OK)


@dataclass(frozen=True, slots=True)
class _Change:
    """What came and what it replaced, (n,) each: which are numbers, and the numbers, 0 where there is none."""

    known: Bool
    new: F64
    was_known: Bool
    old: F64

    @classmethod
    def of(cls, before: F64, after: F64) -> "_Change":
        """A value that is missing, or has no finite square, is none."""
        known, was_known = np.abs(after) <= _LARGEST, np.abs(before) <= _LARGEST
        return cls(known, np.where(known, after, 0.0), was_known, np.where(was_known, before, 0.0))

    @property
    def counts(self) -> F64:
        """(n,) change of how many there are."""
        return np.asarray(self.known * 1.0 - self.was_known)

    @property
    def sums(self) -> F64:
        """(n,) change of the value."""
        return np.asarray(self.new - self.old)

    @property
    def moments(self) -> F64:
        """(3,) change of count, sum and sum of squares."""
        squares = self.new**2 - self.old**2
        return np.array([self.counts.sum(), self.sums.sum(), squares.sum()])

    @property
    def sketch(self) -> F64:
        """(bins,) what came minus what it replaced."""
        came, went = self.new[self.known], self.old[self.was_known]
        if not len(went):
            return quantile_sketch.counts(came)
        weights = np.repeat([1.0, -1.0], [len(came), len(went)])
        return quantile_sketch.counts(np.concatenate([came, went]), weights)


def _stacked(sketches: Sequence[F64]) -> F64:
    if len(sketches) == 1:
        return sketches[0][None]
    width = max(len(sketch) for sketch in sketches)
    return np.stack([widened(sketch, width) for sketch in sketches])


def _fit(sample: Decisions, plan: Plan) -> Arrays:
    return {"delay_edges_ms": delay_edges_ms(plan.horizon_ms)}


RATES = (
    Rate("delay", "delay", part=(1,), of=(0,), cumulated=True, by_bucket=True),
    Rate("moments", "moments", part=(1, 0), of=(0, 0), by_bucket=True),
)
REWARD = Spec(NAME, _fit, Reward, RewardStatistic, reads=frozenset({"decisions", "outcomes"}), rates=RATES)
