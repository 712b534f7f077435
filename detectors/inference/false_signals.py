"""From a false-signal budget to a trip line's price: how deep at once, and how long at the line.

A window of w buckets slides by one bucket, so a stationary mean crosses its 2-sigma line all the time. Half of the
budget buys a depth at which a signal may fire at once, looked at over the window and its recent parts; the other
half a hold that shrinks linearly from the line to that depth. Crossing rates are those of a Gaussian moving sum
(Rice's count for its discrete steps, bounded by Pickands' rate z phi(z) per window; Leadbetter, Lindgren &
Rootzen, "Extremes", 1983, ch. 12); how long an excursion lasts comes from paths simulated from the crossing on.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, sqrt

import numpy as np
from scipy import optimize

from detectors.arrays import F64
from detectors.inference.laws import normal_density, normal_quantile, normal_tail

_STEPS = 32  # of a simulated window
_WINDOWS = 4  # simulated after the crossing
_PATHS = 4000
_TAIL = 40  # paths beyond the last quantile that is read off, not extrapolated
_SEED = 20_070_713
_DEEPEST = 12.0
_RAREST = 1e-12  # per seal


@dataclass(frozen=True, slots=True)
class HoldPrice:
    """line: depth of the trip line in standard deviations. depth: what fires at once. hold_buckets: what must last
    at the line. scales: the recent parts of the window, in buckets, that may show the depth.
    """

    line: float
    depth: float
    hold_buckets: int
    scales: tuple[int, ...]
    false_per_day: float

    def hold_at(self, depth: float) -> int:
        """Successive breaching seals after the first before a breach of this depth is paid for."""
        if depth >= self.depth:
            return 0
        return ceil(self.hold_buckets * min((self.depth - depth) / (self.depth - self.line), 1.0))


@lru_cache(maxsize=512)
def hold_price(
    window_buckets: int,
    bucket_ms: int,
    false_per_day: float,
    line: float = 2.0,
    rho: float = 0.0,
    common: float = 0.0,
) -> HoldPrice:
    """Hold and depth such that stationary buckets fire at most `false_per_day` times a day.

    rho: lag-1 autocorrelation of the buckets' sums. common: share of the variance of a standardised window mean
    that all windows have in common (the error of the baseline's own mean). Deterministic.
    """
    per_seal = max(false_per_day * bucket_ms / 86_400_000, _RAREST)  # a rule that is off pays for nothing
    scales = suffixes(window_buckets)
    depth = _depth(scales, window_buckets, rho, per_seal / 2)
    if line >= depth:
        return HoldPrice(line, line, 0, scales, false_per_day)
    hold = _hold(window_buckets, rho, common, line, depth, per_seal / 2)
    return HoldPrice(line, depth, hold, scales, false_per_day)


def suffixes(window_buckets: int) -> tuple[int, ...]:
    """The newest 1, 2, 4, ... buckets of a window, and all of it."""
    return (*(2**k for k in range(window_buckets.bit_length()) if 2**k < window_buckets), window_buckets)


def crossing_rate(length: int, rho: float, depth: float) -> float:
    """Down-crossings of -depth per seal by the standardised sum over `length` buckets of an AR(1) series."""
    lag_one = float(_correlation(length, rho, 1)[1])
    rice = _crossings(lag_one, depth)
    return min(rice, depth * float(normal_density(depth)) / length) if length > 1 and rho == 0 else rice


def _depth(scales: tuple[int, ...], window: int, rho: float, per_seal: float) -> float:
    """The depth at which crossings on all scales together cost `per_seal`."""

    def excess(depth: float) -> float:
        rate = sum(crossing_rate(scale, rho, depth) for scale in scales)
        return float(np.log(rate)) - float(np.log(per_seal))

    if excess(1.0) <= 0:
        return 1.0
    if excess(_DEEPEST) > 0:
        return _DEEPEST
    return float(optimize.brentq(excess, 1.0, _DEEPEST, xtol=1e-3))


def _hold(window: int, rho: float, common: float, line: float, depth: float, per_seal: float) -> int:
    """The hold at the line, in buckets, whose excursions cost `per_seal`."""
    steps = min(window, _STEPS)
    per_step = window / steps
    step_rho = rho**per_step
    correlation = common + (1 - common) * _correlation(steps, step_rho, _WINDOWS * steps)
    rate = _crossings(float(correlation[1]), line) / per_step
    wanted = per_seal / rate
    if wanted >= 1:
        return 0
    longest = _excursions(correlation, step_rho, common, steps, line, depth)
    return ceil(_upper_quantile(np.sort(longest), wanted) * per_step)


def _excursions(correlation: F64, rho: float, common: float, steps: int, line: float, depth: float) -> F64:
    """(paths,) for each excursion below the line, the largest hold at the line under which it would still fire.

    Stationary paths are made to cross at their step 1 by Gaussian conditioning on their steps 0 and 1.
    """
    generator = np.random.default_rng(_SEED)
    paths = _stationary_paths(generator, rho, common, steps)
    before, after = _crossing_values(generator, float(correlation[1]), line, len(paths))
    gain = np.stack([correlation[: paths.shape[1]], _shifted(correlation, paths.shape[1])])
    weights = np.linalg.solve(
        np.array([[1.0, correlation[1]], [correlation[1], 1.0]]) + 1e-12 * np.eye(2), gain
    )
    paths += np.stack([before - paths[:, 0], after - paths[:, 1]], axis=1) @ weights
    below = np.minimum.accumulate(paths[:, 1:] < -line, axis=1)
    depths = -paths[:, 1:]
    room = np.maximum((depth - depths) / (depth - line), 1e-9)
    scores = np.where(below & (depths < depth), np.arange(below.shape[1]) / room, 0.0)
    result: F64 = scores.max(axis=1)
    return result


def _stationary_paths(generator: np.random.Generator, rho: float, common: float, steps: int) -> F64:
    """(paths, steps * windows) standardised moving sums of AR(1) steps, plus one common part per path."""
    noise = generator.standard_normal((_PATHS, steps * (_WINDOWS + 1) - 1))
    noise[:, 0] /= sqrt(1 - rho**2)
    series = _autoregressive(noise, rho) if rho > 0 else noise
    sums = np.cumsum(np.concatenate([np.zeros((_PATHS, 1)), series], axis=1), axis=1)
    moving = (sums[:, steps:] - sums[:, :-steps]) / _sum_sd(steps, rho)
    result: F64 = sqrt(1 - common) * moving + sqrt(common) * generator.standard_normal((_PATHS, 1))
    return result


def _autoregressive(noise: F64, rho: float) -> F64:
    """(paths, n) x with x[t] = noise[t] + rho x[t - 1]."""
    steps = noise.T.copy()
    for t in range(1, len(steps)):
        steps[t] += rho * steps[t - 1]
    return np.ascontiguousarray(steps.T)


def _crossing_values(generator: np.random.Generator, lag_one: float, line: float, n: int) -> tuple[F64, F64]:
    """(n,) values just before and after a down-crossing of -line, from their joint law by inversion on a grid."""
    after = -line - np.linspace(1e-6, 6.0, 2000)
    spread = sqrt(max(1 - lag_one**2, 1e-12))
    weight = normal_density(after) * normal_tail((-line - lag_one * after) / spread)
    cumulated = np.cumsum(weight) / weight.sum()
    drawn = after[np.minimum(np.searchsorted(cumulated, generator.random(n)), len(after) - 1)]
    floor = normal_tail((-line - lag_one * drawn) / spread)
    before = lag_one * drawn + spread * normal_quantile(np.maximum(generator.random(n) * floor, 1e-300))
    return before, drawn


def _upper_quantile(ordered: F64, survival: float) -> float:
    """The value exceeded with this probability; beyond the last 40 paths by their exponential tail."""
    n = len(ordered)
    if survival * n >= _TAIL:
        return float(ordered[n - 1 - int(survival * n)])
    near, far = ordered[n - 1 - 10 * _TAIL], ordered[n - 1 - _TAIL]
    return float(far + (far - near) / np.log(10) * np.log(_TAIL / n / survival))


def _crossings(lag_one: float, depth: float) -> float:
    """P(z_before >= -depth, z < -depth) for a standard normal pair with this correlation."""
    below = -depth - np.linspace(0.0, 6.0, 401)
    spread = sqrt(max(1 - lag_one**2, 1e-12))
    integrand = normal_density(below) * normal_tail((-depth - lag_one * below) / spread)
    return max(float(np.trapezoid(integrand, dx=6.0 / 400)), 1e-300)


def _correlation(length: int, rho: float, lags: int) -> F64:
    """(lags + 1,) autocorrelation of the moving sum over `length` values of an AR(1)."""
    overlap = length - np.abs(np.arange(-length + 1, length)).astype(np.float64)
    powers = rho ** np.abs(np.arange(-length + 1, length + lags)) if rho > 0 else None
    if powers is None:
        return np.maximum(1 - np.arange(lags + 1) / length, 0.0)
    covariance = np.correlate(powers, overlap, mode="valid")
    result: F64 = covariance / covariance[0]
    return result


def _sum_sd(length: int, rho: float) -> float:
    """Standard deviation of a sum of `length` values of an AR(1) with unit innovations."""
    lags = np.arange(-length + 1, length)
    return sqrt(float(np.sum((length - np.abs(lags)) * rho ** np.abs(lags))) / (1 - rho**2))


def _shifted(correlation: F64, width: int) -> F64:
    """(width,) correlation of each step with step 1."""
    return correlation[np.abs(np.arange(width) - 1)]
