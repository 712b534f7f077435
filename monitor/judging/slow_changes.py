"""Slow changes: river's detectors on the series of matured buckets of reward and critic error, one pair per key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan, sqrt

import numpy as np

from detectors.arrays import F64
from detectors.charts.change_points import Change, ChangePoints, Finding, Scale, library
from detectors.inference.long_run import long_run
from detectors.measurement import Measurement, Verdict, unknown
from detectors.protocol import Baseline
from monitor.config import DeploymentConfig
from monitor.judging.plans import shares_of
from monitor.judging.seasons import OffSeason
from monitor.judging.windows import Windows

NAME = "change_points"
SERIES = {"reward": "reward", "critic_error": "critic"}  # series -> the detector whose buckets it reads
FEWEST_BUCKETS = 30


@dataclass(slots=True)
class SlowChanges:
    """scales: series -> how it is standardised; absent where the baseline cannot say. runs: (key, series) -> state."""

    scales: Mapping[str, Scale]
    false_per_value: float
    bucket_ms: int
    horizon_ms: int
    season: OffSeason = field(default_factory=OffSeason)
    runs: dict[tuple[int, str], ChangePoints] = field(default_factory=dict)

    def at_seal(self, key: int, windows: Windows, end_ms: int) -> list[Measurement]:
        """Feed the bucket that has just matured and say what each detector found in it."""
        start = (end_ms - self.horizon_ms) // self.bucket_ms * self.bucket_ms - self.bucket_ms
        measured: list[Measurement] = []
        for series, detector in SERIES.items():
            bucket = windows.buckets.get(key, {}).get(detector, {}).get(start)
            if bucket is None:
                continue
            if series not in self.scales:
                measured.append(unknown(NAME, "adwin", 0, "no baseline of buckets of this width", series))
                continue
            total, n = _sum_and_count(series, self.season.bucket(detector, start, bucket))
            if n > 0:
                finding = self._run(key, series).update(self.scales[series].weighed(total / n, n))
                measured += _said(series, total / n, int(n), finding, self.scales[series])
        return measured

    def _run(self, key: int, series: str) -> ChangePoints:
        if (key, series) not in self.runs:
            self.runs[key, series] = ChangePoints(self.scales[series], self.false_per_value)
        return self.runs[key, series]

    def forget(self, key: int) -> None:
        """A key that is gone."""
        for run in [run for run in self.runs if run[0] == key]:
            del self.runs[run]

    def state(self) -> dict[tuple[int, str], F64]:
        """The values since each epoch began."""
        return {name: run.state() for name, run in self.runs.items()}

    def restore(self, state: Mapping[tuple[int, str], F64]) -> None:
        """Replay the values; the future is the same."""
        for (key, series), history in state.items():
            if series in self.scales:
                self.runs[key, series] = ChangePoints(self.scales[series], self.false_per_value, history)


def slow_changes(deployment: DeploymentConfig, season: OffSeason) -> SlowChanges:
    """Scales from the baseline's own series, the price from the rule's share of the budget."""
    share = shares_of(deployment).get("change", 0.0)
    per_value = share * deployment.bucket_ms / 86_400_000 / len(SERIES)
    scales = {
        series: scale
        for series in SERIES
        if (scale := _scale(series, deployment, season.parts.get(SERIES[series]))) is not None
    }
    if scales:
        library()  # now, not in the middle of the first seal
    return SlowChanges(scales, per_value, deployment.bucket_ms, deployment.reward_horizon_ms, season)


def _scale(series: str, deployment: DeploymentConfig, part: Baseline | None) -> Scale | None:
    if part is None or part.bucket_ms != deployment.bucket_ms:
        return None
    means, counts = bucket_means(series, part)
    if len(means) < FEWEST_BUCKETS:
        return None
    centre = float(means.mean())
    noise = long_run(means - centre, np.ones(len(means)), deployment.window_buckets)
    return Scale(centre, sqrt(noise.variance), noise.rho, rows=float(1 / np.mean(1 / counts)))


def bucket_means(series: str, part: Baseline) -> tuple[F64, F64]:
    """(t,) means and counts of the baseline's buckets that hold any."""
    columns: F64 = np.asarray(part.series["moments"], np.float64)
    sums, counts = (
        (columns[:, 1, 0], columns[:, 0, 0]) if series == "reward" else (columns[:, 6], columns[:, 0])
    )
    sums, counts = sums[counts > 0], counts[counts > 0]
    return np.asarray(sums / counts), np.asarray(counts)


def _sum_and_count(series: str, bucket: Mapping[str, F64]) -> tuple[float, float]:
    moments = bucket["moments"].astype(np.float64)
    total, n = (moments[1, 0], moments[0, 0]) if series == "reward" else (moments[6], moments[0])
    return float(total), float(n)


def _said(series: str, value: float, n: int, finding: Finding, scale: Scale) -> Sequence[Measurement]:
    return [
        Measurement(
            NAME, name, series, value, n,
            Verdict.OK if change is Change.NONE else Verdict.BREACH,
            threshold=scale.mean,
            severity=nan if change is Change.NONE else 1.0,
            reason="" if change is Change.NONE else (
                f"{name} finds that the mean {series} has moved {change.value} from {scale.mean:.4g}, "
                f"over the last {finding.since} buckets"
            ),
        )
        for name, change in (("adwin", finding.adwin), ("page_hinkley", finding.page_hinkley))
    ]  # fmt: skip
