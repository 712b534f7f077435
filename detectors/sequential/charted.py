"""Tests that look at every bucket once and remember: sums of what rewards, critic, states and actions stray by.

Each is a set of charts (banks of cumulative sums, fading vector sums and correlations) over what a bucket's statistic
says, priced so that all of its charts together cost one rate of false alarms (Bonferroni). A reading is the events and
sums of one bucket for each chart; the state is one array of floats, folded bucket by bucket.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from math import nan
from typing import Any, Protocol

import numpy as np

from detectors.arrays import F64
from detectors.charts.correlations import Correlations
from detectors.charts.cusum import Bank
from detectors.charts.ellipse import Ellipse
from detectors.measurement import Culprit, Measurement, Verdict

NAME = "sequential"
TOP = 5
WORTH_NAMING = 0.5  # of the worst severity


@dataclass(frozen=True, slots=True)
class Reading:
    """events: of the bucket. sums: per chart, what it adds up."""

    events: float
    sums: Sequence[F64]


Read = Callable[[Mapping[str, Any], Sequence[str]], Reading]


class Chart(Protocol):
    """Sums over buckets, their lines, and what they say; the state is one array of floats."""

    def begin(self) -> F64: ...

    def step(self, state: F64, reading: Reading, start_ms: float) -> F64: ...

    def severity(self, state: F64) -> float: ...

    def culprits(self, state: F64) -> list[Culprit]: ...

    def said(self, state: F64) -> str: ...

    def smallest(self) -> tuple[float, float, float] | None: ...


@dataclass(frozen=True, slots=True)
class Named:
    """A chart, the names of its series (none where directions have none) and which sums of a reading it adds up.

    units: of its series, "value" (as the user logs it), "share", "correlation" or "sd" (a person is told standard
    deviations only).
    """

    chart: Bank | Ellipse | Correlations
    words: str
    series: Sequence[str] = ()
    column: int = 0
    units: str = "value"

    def begin(self) -> F64:
        """The state before any bucket: the chart's; for a bank also, of every sum, its length and when it left zero."""
        size = self.chart.zero.size
        return np.zeros(3 * size if isinstance(self.chart, Bank) else size)

    def step(self, state: F64, reading: "Reading", start_ms: float) -> F64:
        """The state after one more bucket."""
        zero, sums = self.chart.zero, reading.sums[self.column]
        if not isinstance(self.chart, Bank):
            return self.chart.step(state.reshape(zero.shape), sums, reading.events).ravel()
        before, length, since = state.reshape(3, *zero.shape)
        after = self.chart.step(before, sums, reading.events)
        usual = min(1.0, reading.events / self.chart.size)
        risen = after > 0
        length = np.where(risen, length + usual, 0.0)
        since = np.where(before > 0, since, start_ms) * risen
        return np.concatenate([after.ravel(), length.ravel(), since.ravel()])

    def severity(self, state: F64) -> float:
        """Distance to the nearest line; 1 is passed."""
        return float(np.maximum.reduce(self.chart.severity(self._sums(state)), axis=None))

    def culprits(self, state: F64) -> list[Culprit]:
        """The series nearest to their lines, worst first."""
        if not self.series:
            return []
        sums = self._sums(state)
        each = (
            self.chart.severity(sums).max(axis=1) if isinstance(self.chart, Bank) else self.chart.parts(sums)
        )
        order = np.argsort(-each, kind="stable")[:TOP]
        return [
            Culprit(self.series[i], float(each[i]))
            for i in order.tolist()
            if each[i] > WORTH_NAMING * each.max()
        ]

    def said(self, state: F64) -> str:
        """What has moved, by how much and since when, in words."""
        if not isinstance(self.chart, Bank):
            return f"{self.words}, more than chance allows{self._most(self.chart, self._sums(state))}"
        bank, (sums, length, since) = self.chart, state.reshape(3, *self.chart.zero.shape)
        nearest = sums / bank.lines
        worst, side, size = (int(i) for i in np.unravel_index(int(np.argmax(nearest)), nearest.shape))
        usual = max(float(length[worst, side, size]), 1e-9)
        sd = float(bank.sd[worst])
        # Mean residual since the sum left zero, in long-run standard deviations of one event, and its standard error.
        moved = (float(sums[worst, side, size]) / usual + float(bank.shifts[size]) / 2) / np.sqrt(bank.size)
        error = 1 / np.sqrt(usual * bank.size)
        how_far = self._by(moved, error, sd, side > 0, float(bank.mean[worst]))
        when = f"{clock(float(since[worst, side, size]))} (about {usual * bank.size:.0f} events)"
        return f"{self.words} {self.series[worst]} has been {how_far} since {when}"

    def smallest(self) -> tuple[float, float, float] | None:
        """Mean per event, the smallest shift of it that is looked for, and the buckets until its sum passes its line.

        A sum that is tuned to a shift climbs by half of it per bucket (Page 1954). Of many series: the slowest. None
        where there is no line, or no series.
        """
        if not isinstance(self.chart, Bank) or not np.isfinite(self.chart.lines).any():
            return None
        bank, armed = self.chart, np.isfinite(self.chart.lines)
        shift = int(np.argmax(armed.any(axis=(0, 1))))
        lines = np.where(armed[:, :, shift], bank.lines[:, :, shift], -np.inf).max(axis=1)
        slowest = int(np.argmax(lines))
        size = float(bank.shifts[shift])
        change = size * float(bank.sd[slowest]) / np.sqrt(bank.size)
        return float(bank.mean[slowest]), float(change), float(lines[slowest]) / (size / 2)

    def _most(self, chart: Ellipse | Correlations, sums: F64) -> str:
        """Which series of a vector chart moved most, and how far."""
        if not self.series:
            return ""
        most = int(np.argmax(chart.parts(sums)))
        before, moved = float(chart.mean[most]), float(chart.moved(sums)[most])
        if self.units == "share":
            return f"; {self.series[most]} from {before:.2%} to about {max(before + moved, 0.0):.2%}"
        return f"; {self.series[most]} by about {moved:+.2f}"

    def _by(self, moved: float, error: float, sd: float, up: bool, mean: float) -> str:
        way = "above" if up else "below"
        in_sd = f"{moved:.2g} ± {error:.1g} sd"
        if self.units == "sd":
            return f"{in_sd} {way} its baseline"
        if self.units == "share":
            return f"{moved * sd:.2%} ± {error * sd:.1%} {way} its baseline of {mean:.2%}"
        return f"{moved * sd:.3g} ± {error * sd:.1g} {way} its baseline {mean:.4g} ({in_sd})"

    def _sums(self, state: F64) -> F64:
        zero = self.chart.zero
        return state[: zero.size].reshape(zero.shape)


def clock(ms: float) -> str:
    """An event time as a person reads it."""
    return str(np.datetime64(int(ms) // 1_000, "s")).replace("T", " ") + " UTC"


@dataclass(frozen=True)
class Test:
    """statistic: its name in measurements. detector: whose buckets it reads. lag_ms: the age at which it reads them.

    by: what the names are of that it is given, "actions" or "segments". share: of its rule's price for such tests.
    """

    __test__ = False

    statistic: str
    detector: str
    charts: Sequence[Chart]
    read: Read
    lag_ms: int = 0
    by: str = "actions"
    share: float = 1.0

    def names(self, actions: Sequence[str], segments: Sequence[str]) -> Sequence[str]:
        """Those that the codes of its buckets stand for."""
        return actions if self.by == "actions" else segments

    def smallest(self) -> tuple[float, float, float]:
        """Mean per event, smallest shift of it that is looked for, buckets until its sum passes; NaN where none is."""
        return next((found for chart in self.charts if (found := chart.smallest())), (nan, nan, nan))

    def begin(self) -> F64:
        """The state before any bucket."""
        return np.concatenate([named.begin() for named in self.charts])

    def fold(
        self, state: F64, bucket: Mapping[str, Any], labels: Sequence[str], start_ms: float = 0.0
    ) -> tuple[F64, int]:
        """The state after the bucket that begins at start_ms (its statistic's arrays), and the events it held."""
        reading = self.read(bucket, labels)
        if not reading.events > 0:
            return state, 0
        parts = [
            named.step(part, reading, start_ms)
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
        found: dict[str, Culprit] = {}
        for named, part, s in zip(self.charts, parts, each, strict=True):
            for culprit in named.culprits(part) if s >= 1 else ():
                found.setdefault(culprit.name, culprit)
        return Measurement(
            NAME, self.statistic, "", severity, events, Verdict.BREACH, threshold=1.0, severity=severity,
            reason=self.charts[worst].said(parts[worst]), culprits=tuple(found.values())[:TOP],
        )  # fmt: skip

    def _parts(self, state: F64) -> list[F64]:
        return [state[part] for part in self._spans]

    @cached_property
    def _spans(self) -> list[slice]:
        """Where each chart's state lies in the whole."""
        ends = [0, *accumulate(len(named.begin()) for named in self.charts)]
        return [slice(first, end) for first, end in pairwise(ends)]
