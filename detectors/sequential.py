"""Tests that look at every bucket once and remember: sums of what rewards, critic, states and actions stray by.

Each is a set of charts (banks of cumulative sums, fading vector sums) over what a bucket's statistic says, priced so
that all of its charts together cost one rate of false alarms (Bonferroni). A reading is the events and sums of one
bucket for each chart; the state is one array of floats, folded bucket by bucket.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from detectors.arrays import F64
from detectors.cusum import Bank
from detectors.ellipse import Ellipse
from detectors.measurement import Culprit, Measurement, Verdict

NAME = "sequential"
TOP = 5
_WORTH_NAMING = 0.5  # of the worst severity


@dataclass(frozen=True, slots=True)
class Reading:
    """events: of the bucket. sums: per chart, what it adds up."""

    events: float
    sums: Sequence[F64]


Read = Callable[[Mapping[str, Any], Sequence[str]], Reading]


@dataclass(frozen=True, slots=True)
class Named:
    """A chart, the names of its series (none for a vector chart) and which sums of a reading it adds up."""

    chart: Bank | Ellipse
    words: str
    series: Sequence[str] = ()
    column: int = 0

    def severity(self, state: F64) -> float:
        """Distance to the nearest line; 1 is passed."""
        found = self.chart.severity(state)
        return float(np.max(found))

    def culprits(self, state: F64) -> list[Culprit]:
        """The series nearest to their lines, worst first."""
        if not isinstance(self.chart, Bank):
            return []
        each = self.chart.severity(state).max(axis=1)
        order = np.argsort(-each, kind="stable")[:TOP]
        return [
            Culprit(self.series[i], float(each[i]))
            for i in order.tolist()
            if each[i] > _WORTH_NAMING * each.max()
        ]

    def said(self, state: F64) -> str:
        """What has moved, in words."""
        if not isinstance(self.chart, Bank):
            return self.words
        each = self.chart.severity(state)
        worst, side = divmod(int(np.argmax(each)), 2)
        return f"{self.words} {self.series[worst]} has moved {'up' if side else 'down'}"


@dataclass(frozen=True)
class Test:
    """statistic: its name in measurements. detector: whose buckets it reads. lag_ms: the age at which it reads them."""

    __test__ = False

    statistic: str
    detector: str
    charts: Sequence[Named]
    read: Read
    lag_ms: int = 0

    def begin(self) -> F64:
        """The state before any bucket."""
        return np.zeros(sum(named.chart.zero.size for named in self.charts))

    def fold(self, state: F64, bucket: Mapping[str, Any], labels: Sequence[str]) -> tuple[F64, int]:
        """The state after a bucket (its statistic's arrays), and the events it held."""
        reading = self.read(bucket, labels)
        if not reading.events > 0:
            return state, 0
        parts = [
            named.chart.step(part, reading.sums[named.column], reading.events).ravel()
            for named, part in zip(self.charts, self._parts(state), strict=True)
        ]
        return np.concatenate(parts), round(reading.events)

    def measurement(self, state: F64, events: int) -> Measurement:
        """The worst chart's severity against its line, 1."""
        parts = self._parts(state)
        each = [named.severity(part) for named, part in zip(self.charts, parts, strict=True)]
        severity = max(each)
        if severity < 1:
            return Measurement(
                NAME, self.statistic, "", severity, events, Verdict.OK, threshold=1.0, severity=severity
            )
        worst = each.index(severity)
        found = [
            c
            for named, part, s in zip(self.charts, parts, each, strict=True)
            if s >= 1
            for c in named.culprits(part)
        ]
        reason = f"{self.charts[worst].said(parts[worst])}: sum over buckets at {severity:.2f} of its line"
        return Measurement(
            NAME, self.statistic, "", severity, events, Verdict.BREACH, threshold=1.0, severity=severity,
            reason=reason, culprits=tuple(found[:TOP]),
        )  # fmt: skip

    def _parts(self, state: F64) -> list[F64]:
        return [state[low:high].reshape(shape) for low, high, shape in self._places]

    @cached_property
    def _places(self) -> list[tuple[int, int, tuple[int, ...]]]:
        """Where each chart's state lies in the whole, and its shape."""
        zeros = [named.chart.zero for named in self.charts]
        ends = np.cumsum([zero.size for zero in zeros]).tolist()
        return [(end - zero.size, end, zero.shape) for zero, end in zip(zeros, ends, strict=True)]
