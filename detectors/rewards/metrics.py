"""Business metrics as rolling statistics: their mean against the baseline's, and how the bucket means ran.

The names are fixed by the option `metrics` (a statistic's rows must mean the same in every bucket); values of
other names are counted as unnamed. lowest, highest and last are of bucket means: extremes of single values do not
add up.
"""

from dataclasses import dataclass

import numpy as np

from detectors.arrays import F64, Arrays
from detectors.measurement import Measurement, unknown
from detectors.protocol import Baseline, Plan, Rate, Spec, Window
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic
from detectors.windows.mean_shift import MeanReference, Shift, described, level_of, mean_reference, window_in

NAME = "metrics"
MAX_NAMES = 256
_N, _SUM, _SQUARE = range(3)


@dataclass(frozen=True, slots=True)
class MetricSums(Statistic):
    """sums: (3, names) n, value, value squared. unnamed: (1,) values of names that are not listed."""

    sums: F64
    unnamed: F64


def fit(sample: Decisions, plan: Plan) -> Arrays:
    """The names, so that a baseline is compared name by name."""
    return {"names": np.array(_names(plan), np.str_)}


@dataclass(frozen=True, slots=True)
class MetricsDetector:
    """names: columns of the statistic. references: name -> the baseline's mean."""

    plan: Plan
    names: tuple[str, ...]
    references: dict[str, MeanReference]

    @property
    def name(self) -> str:
        """The registry's name."""
        return NAME

    def observe(self, rows: BucketRows) -> MetricSums:
        """NaN values do not count."""
        sums = np.zeros((3, len(self.names)))
        values = rows.metrics.values
        for column, name in enumerate(self.names):
            x = values.get(name, np.empty(0))
            x = x[~np.isnan(x)]
            sums[:, column] = len(x), x.sum(), (x * x).sum()
        unnamed = sum(len(x) for name, x in values.items() if name not in self.names)
        return MetricSums(sums, np.array([unnamed], np.float64))

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """Four numbers per name that has values in the window."""
        present = [column for column in range(len(self.names)) if window.total.sums[_N, column] > 0]
        found = [m for column in present for m in self._measured(column, window)]
        unnamed = round(float(window.total.unnamed[0]))
        if unnamed:
            found.append(
                described(NAME, "unnamed", float(unnamed), unnamed, "values of names that are not listed")
            )
        return tuple(found)

    def _measured(self, column: int, window: Window) -> tuple[Measurement, ...]:
        name, series = self.names[column], window.series("sums")[:, :, column]
        filled = series[:, _N] > 0
        means = series[filled, _SUM] / series[filled, _N]
        n = round(float(series[:, _N].sum()))
        rolling = {"lowest": means.min(), "highest": means.max(), "last": means[-1]}
        rest = [described(NAME, what, float(value), n, subject=name) for what, value in rolling.items()]
        return (self._mean(name, float(window.total.sums[_SUM, column]) / n, n), *rest)

    def _mean(self, name: str, mean: float, n: int) -> Measurement:
        reference = self.references.get(name)
        if reference is None or n < 1:
            return unknown(NAME, "mean", n, "the baseline does not have it", name, mean)
        shift = Shift(mean, n, reference, two_sided=True)
        return shift.measurement(NAME, "mean", name, f"mean of {name}")


def build(baseline: Baseline | None, plan: Plan) -> MetricsDetector:
    """References for the names that the baseline has."""
    names = _names(plan)
    references: dict[str, MeanReference] = {}
    if baseline is not None and "sums" in baseline.series and "names" in baseline.schema:
        series = np.asarray(baseline.series["sums"], np.float64)
        width, level = window_in(baseline, plan), level_of(plan, 2 * max(1, len(names)))
        for column, name in enumerate(str(name) for name in baseline.schema["names"]):
            found = mean_reference(series[:, _SUM, column], series[:, _N, column], width, level)
            if found is not None and name in names:
                references[name] = found
    return MetricsDetector(plan, names, references)


def _names(plan: Plan) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(name) for name in plan.options.get("metrics", ())))[:MAX_NAMES]


RATES = (Rate("sums", "sums", part=(_SUM,), of=(_N,), by_bucket=True),)
METRICS = Spec(NAME, fit, build, MetricSums, reads=frozenset({"metrics"}), rates=RATES)
