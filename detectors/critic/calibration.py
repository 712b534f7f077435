"""Does the critic's scale agree with what came? Explained variance and slope of target on value, of pooled sums."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from detectors.arrays import F64
from detectors.measurement import Measurement, Verdict, unknown
from detectors.windows.mean_shift import MeanReference, described, mean_reference

N, V, T, VV, TT, VT, E, EE = range(
    8
)  # n, value, target, their squares and product, value - target, its square
SLOPE = "calibration_slope"


@dataclass(frozen=True, slots=True)
class SlopeReference:
    """The baseline's slope, its variance of the values, and how far the mean score of a window strays from 0.

    The score of a pair is (value - mean)(target - mean - slope (value - mean)): the influence function of the least
    squares slope times the variance (Hampel 1974), so the slope has moved by the mean score over that variance.
    """

    slope: float
    spread: float
    scores: MeanReference

    @classmethod
    def of_series(cls, moments: F64, window_buckets: int, level: float) -> "SlopeReference | None":
        """From a baseline's moments (buckets, 8); None where the value is constant or the buckets are few."""
        total = moments.sum(axis=0)
        if not total[N] > 0 or not _spread(total) > 0:
            return None
        mean_v, mean_t, slope = float(total[V] / total[N]), float(total[T] / total[N]), _slope(total)
        n, v, t, vv, vt = (moments[:, i] for i in (N, V, T, VV, VT))
        product = vt - mean_v * t - mean_t * v + n * mean_v * mean_t
        square = vv - 2 * mean_v * v + n * mean_v**2
        scores = mean_reference(product - slope * square, n, window_buckets, level)
        return None if scores is None else cls(slope, _spread(total), scores)

    def measurement(self, detector: str, moments: F64) -> Measurement:
        """The slope of a window's moments (8,) against the baseline's, both ways.

        Where the window's values spread wider than the baseline's, so do the scores.
        """
        n, spread, slope = round(float(moments[N])), _spread(moments), _slope(moments)
        error = self.scores.error_of(n) * max(1.0, sqrt(spread / self.spread)) / spread
        sign, depth = (1, self.scores.up) if slope >= self.slope else (-1, self.scores.down)
        line = self.slope + sign * depth * error
        severity = (slope - self.slope) / (line - self.slope) if line != self.slope else 0.0
        words = "exaggerates differences more" if sign < 0 else "tells differences less strongly"
        said = f"the critic {words} than in the baseline: " if severity > 1 else ""
        return Measurement(
            detector, SLOPE, "", slope, n, Verdict.BREACH if severity > 1 else Verdict.OK, line, error, severity,
            reason=f"{said}slope of target on value {slope:.4g} against {self.slope:.4g} in the baseline"
            f" (line {line:.4g}, standard error {error:.2g}, n {n}; 1 is calibrated)",
        )  # fmt: skip


def calibration_slope(detector: str, moments: F64, reference: SlopeReference | None) -> Measurement:
    """Judged where there is a reference; unknown without one and where the value is constant."""
    n = round(float(moments[N]))
    if not _spread(moments) > 0:
        return described(detector, SLOPE, float("nan"), n, "the value is constant")
    if reference is None:
        why = "there is no baseline's slope to compare with"
        return unknown(detector, SLOPE, n, why, value=_slope(moments))
    return reference.measurement(detector, moments)


def explained_variance(detector: str, moments: F64) -> Measurement:
    """1 - Var(target - value) / Var(target)."""
    n = float(moments[N])
    noise = moments[EE] / n - (moments[E] / n) ** 2
    spread = moments[TT] / n - (moments[T] / n) ** 2
    if not spread > 0:
        return described(detector, "explained_variance", float("nan"), round(n), "the target is constant")
    words = "share of the target's variance that the critic explains"
    return described(detector, "explained_variance", float(1 - noise / spread), round(n), words)


def _spread(moments: F64) -> float:
    """Variance of the values; 0 where it drowns in rounding."""
    n, square = float(moments[N]), float(moments[VV])
    spread = square / n - float(moments[V] / n) ** 2
    return spread if spread > 1e-12 * square / n else 0.0


def _slope(moments: F64) -> float:
    """Least squares: below 1 where the critic exaggerates."""
    n = float(moments[N])
    return float(np.float64(moments[VT] / n - moments[V] * moments[T] / n**2) / _spread(moments))
