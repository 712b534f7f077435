"""A window's mean against the baseline's: how far is too far, autocorrelation and a short reference included."""

from dataclasses import dataclass
from math import isnan, sqrt

import numpy as np

from detectors.arrays import F64, Bool
from detectors.inference.laws import student_quantile
from detectors.inference.long_run import LongRun, long_run
from detectors.inference.look_level import level_per_look
from detectors.measurement import Culprit, Measurement, Verdict, unknown
from detectors.protocol import Baseline, Plan
from detectors.units.clusters import Clustered, robust
from detectors.windows.own_windows import raised, window_sums

FEWEST_BUCKETS = 8


@dataclass(frozen=True, slots=True)
class MeanReference:
    """The baseline's mean over n values. up, down: how many standard errors from it the lines lie."""

    mean: float
    n: float
    error: LongRun
    up: float
    down: float

    def error_of(self, n: float) -> float:
        """Standard error of the difference between the mean of n new values and the baseline's."""
        return sqrt(self.error.variance * (1 / n + 1 / self.n))

    def line(self, n: float, up: bool = True) -> float:
        """The mean of n values that is passed, on one side, at the price that the reference was made for."""
        error = self.error_of(n)
        return self.mean + self.up * error if up else self.mean - self.down * error


def mean_reference(
    sums: F64, counts: F64, window_buckets: int, level: float, units: Clustered | None = None,
    level_down: float | None = None,
) -> MeanReference | None:  # fmt: skip
    """From a baseline's sums and counts per bucket (buckets,); None where fewer than 8 buckets hold any value.

    level: what one look may cost on one side (level_down: on the lower one, where that is another). The lines are
    Student's t for the estimated long-run variance, raised where the baseline's own windows go beyond it. units: how
    far they make such sums stray, where that is known.
    """
    filled: Bool = counts > 0
    sums, counts = sums[filled], counts[filled]
    if len(sums) < FEWEST_BUCKETS:
        return None
    mean = float(sums.sum() / counts.sum())
    residuals = sums - mean * counts
    error = robust(long_run(residuals, counts, window_buckets), units)
    own = _own_depths(residuals, counts, error.variance, window_buckets)
    sides = (own, level), (-own, level if level_down is None else level_down)
    up, down = (float(raised(student_quantile(at, error.dof), side, at)) for side, at in sides)
    n = float(counts.sum())  # worth fewer events where units come back through the whole baseline
    if units is not None and units.whole > error.variance:
        n *= error.variance / units.whole
    return MeanReference(mean, n, error, up, down)


def window_in(baseline: Baseline, plan: Plan, buckets: int = 0) -> int:
    """The length of the newest `buckets` of the window (0: all) in buckets of the baseline."""
    return max(1, round((buckets or plan.window_buckets) * plan.bucket_ms / baseline.bucket_ms))


def level_of(plan: Plan, tests: int, buckets: int = 0) -> float:
    """What one look of one of `tests` one-sided tests may cost, at the newest `buckets` of the window (0: all)."""
    width = buckets or plan.window_buckets
    return level_per_look(plan.false_per_day, width * plan.bucket_ms, width, tests)


def unreferenced(baseline: Baseline | None, field: str) -> str:
    """Why there is nothing to compare with."""
    if baseline is None or field not in baseline.series:
        return "no baseline"
    return f"the baseline holds fewer than {FEWEST_BUCKETS} buckets with it"


@dataclass(frozen=True, slots=True)
class Shift:
    """A mean of n values, its line at the price, and on which side of the reference it lies."""

    value: float
    n: int
    reference: MeanReference
    two_sided: bool

    @property
    def line(self) -> float:
        """The line on the side of the value (above, where only that side is armed)."""
        up = self.value >= self.reference.mean or not self.two_sided
        return self.reference.line(self.n, up)

    @property
    def severity(self) -> float:
        """Distance from the reference in units of the line's; negative on the side that is not armed."""
        room = self.line - self.reference.mean
        return (self.value - self.reference.mean) / room if room else 0.0

    def measurement(
        self, detector: str, statistic: str, subject: str, words: str, unit: str = ""
    ) -> Measurement:
        """The verdict in words: `words` names what the mean is of."""
        severity = self.severity
        error = self.reference.error_of(self.n)
        reason = (
            f"{words} {self.value:.4g}{unit} against {self.reference.mean:.4g}{unit} in the baseline"
            f" (line {self.line:.4g}, standard error {error:.2g}, n {self.n})"
        )
        return Measurement(
            detector, statistic, subject, self.value, self.n,
            Verdict.BREACH if severity > 1 else Verdict.OK,
            threshold=self.line, error=error, severity=severity, reason=reason,
        )  # fmt: skip


def described(
    detector: str, statistic: str, value: float, n: int, reason: str = "", subject: str = "",
    culprits: tuple[Culprit, ...] = (),
) -> Measurement:  # fmt: skip
    """A number without a line; unknown where there is none."""
    if isnan(value):
        return unknown(detector, statistic, n, reason or "there is nothing to take it of", subject)
    return Measurement(detector, statistic, subject, value, n, Verdict.OK, reason=reason, culprits=culprits)


def _own_depths(residuals: F64, counts: F64, variance: float, window: int) -> F64:
    """(m,) standardised means of the baseline's own windows."""
    if not variance > 0:
        return np.empty(0)
    sums = window_sums(np.stack([residuals, counts], axis=1), window)
    return np.asarray(sums[:, 0] / np.sqrt(sums[:, 1] * variance))
