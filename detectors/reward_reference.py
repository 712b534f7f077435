"""What the baseline says of rewards: their mean at each age, how far window means stray, and what a signal costs."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from detectors.arrays import F64
from detectors.delay import DelayCurve, delay_curve
from detectors.false_signals import HoldPrice, hold_price
from detectors.long_run import LongRun, long_run
from detectors.protocol import Baseline, Plan

CLIP = 4.0  # standard deviations below which one bucket counts no further: one outlier is not a fallen mean
_FEWEST_BUCKETS = 8
_RHO_GRID, _COMMON_GRID = 0.02, 0.02


@dataclass(frozen=True, slots=True)
class RewardReference:
    """Frozen numbers of the baseline.

    single: variance of one reward. noise: the same in sums over successive buckets. mean_variance: of the
    baseline's own mean. joined_per_window: rewards that a live window of the baseline's traffic would hold.
    bucket_joined, skew, kurtosis: rewards per baseline bucket and the shape of its clipped sums (lower tail).
    count_dispersion: variance of the number of arrivals over its binomial value.
    """

    curve: DelayCurve
    mean: float
    single: float
    noise: LongRun
    mean_variance: float
    joined: float
    joined_per_window: float
    bucket_joined: float
    skew: float
    kurtosis: float
    count_dispersion: float
    price: HoldPrice

    def sum_variance(self, joined: F64 | float, share_of_window: F64 | float = 1.0) -> F64:
        """Variance of the sum of `joined` residuals that lie within this share of a window.

        Noise beyond that of single rewards is common to its stretch of time: more traffic does not average it out.
        """
        common = max(self.noise.variance - self.single, 0.0)
        own = min(self.noise.variance, self.single)
        crowd = np.maximum(1.0, joined / (self.joined_per_window * np.asarray(share_of_window)))
        return np.asarray(joined * (own + common * crowd) + np.square(joined) * self.mean_variance)

    def at_age(self, youngest_ms: F64, bucket_ms: int) -> tuple[F64, F64]:
        """(b,) share of decisions rewarded and mean of those rewards, for buckets of these ages."""
        share, reward = self.curve.over_bucket(youngest_ms, bucket_ms)
        known = share * self.joined > 5 * self.curve.share[-1]  # fewer than five early rewards say nothing
        return share, np.where(known, reward / np.where(known, share, 1.0), self.mean)


def reward_reference(baseline: Baseline, plan: Plan) -> RewardReference | str:
    """The reference, or one clause why the baseline gives none."""
    series = baseline.series
    arrivals, sums = series["delay"][:, 0], series["delay"][:, 1]
    joined, decisions = arrivals.sum(axis=1), series["decisions"][:, 0]
    if len(joined) < 2 or joined.sum() < 2:
        return f"the baseline holds {joined.sum():.0f} rewards in {len(joined)} buckets, too few to know their noise"
    starts = np.asarray(baseline.starts_ms, dtype=np.float64)
    youngest = starts[-1] - starts
    curve = delay_curve(
        baseline.schema["delay_edges_ms"].astype(np.float64), decisions, arrivals, sums, youngest
    )
    if not curve.share[-1] > 0:
        return "the baseline is shorter than the reward horizon"
    single = _single_variance(series["moments"][:, :, 0].sum(axis=0))
    share, reward = curve.over_bucket(youngest, baseline.bucket_ms)
    residuals = sums.sum(axis=1) - joined * np.where(
        share > 0, reward / np.where(share > 0, share, 1.0), curve.mean()
    )
    window_ms = plan.window_buckets * plan.bucket_ms
    noise = _noise(residuals, joined, max(round(window_ms / baseline.bucket_ms), 1), single)
    per_window = float(joined.mean()) / baseline.bucket_ms * window_ms
    mean_variance = noise.variance / float(joined.sum())
    skew, kurtosis = _lower_tail(residuals, joined)
    return RewardReference(
        curve=curve, mean=curve.mean(), single=single, noise=noise, mean_variance=mean_variance,
        joined=float(joined.sum()), joined_per_window=per_window, bucket_joined=float(joined.mean()),
        skew=skew, kurtosis=kurtosis, count_dispersion=_count_dispersion(joined, decisions * share, share),
        price=_price(plan, noise, single, per_window, float(joined.sum())),
    )  # fmt: skip


def _single_variance(moments: F64) -> float:
    """Variance of one reward from (count, sum, sum of squares)."""
    count, total, squares = moments
    return max(float((squares - total**2 / count) / max(count - 1, 1)), 0.0)


def _noise(residuals: F64, joined: F64, window: int, single: float) -> LongRun:
    """Long-run variance per reward; a series of fewer than eight buckets only knows that of single rewards."""
    if len(residuals) < _FEWEST_BUCKETS:
        return LongRun(single, max(len(residuals) - 1.0, 1.0), 0.0)
    return long_run(residuals, joined, window)


def _price(plan: Plan, noise: LongRun, single: float, per_window: float, joined: float) -> HoldPrice:
    """Hold and depth; the line in standard deviations of window means, on grids that make the price reusable."""
    line = plan.sigma
    if plan.sigma_of == "decision" and noise.variance > 0:
        line = plan.sigma * sqrt(single * per_window / noise.variance)
    rho = noise.rho if single <= 0 else _bucket_rho(noise, single)
    common = per_window / (per_window + joined)
    return hold_price(
        plan.window_buckets, plan.bucket_ms, plan.false_per_day, round(line, 2),
        round(np.ceil(rho / _RHO_GRID) * _RHO_GRID, 4), round(np.floor(common / _COMMON_GRID) * _COMMON_GRID, 4),
    )  # fmt: skip


def _bucket_rho(noise: LongRun, single: float) -> float:
    """AR(1) coefficient of live buckets that explains the long-run variance, at least the one seen in the series."""
    ratio = noise.variance / single
    return float(np.clip(max(noise.rho, (ratio - 1) / (ratio + 1)), 0.0, 0.97))


def _lower_tail(residuals: F64, joined: F64) -> tuple[float, float]:
    """How much heavier than normal the lower tail of a bucket's sum is: (-skewness, excess kurtosis), at least 0.

    Of the standardised sums clipped at CLIP on both sides, as the test clips them.
    """
    scores = residuals / np.sqrt(np.maximum(joined, 1.0))
    sd = float(np.std(scores))
    if not sd > 0:
        return 0.0, 0.0
    clipped = np.clip(scores / sd, -CLIP, CLIP)
    centred = (clipped - clipped.mean()) / np.std(clipped)
    return max(-float(np.mean(centred**3)), 0.0), max(float(np.mean(centred**4)) - 3.0, 0.0)


def _count_dispersion(joined: F64, expected: F64, share: F64) -> float:
    """Long-run variance of the number of arrivals over its binomial value, at least 1."""
    binomial = float(np.mean(expected * (1 - share)))
    if len(joined) < _FEWEST_BUCKETS or not binomial > 0:
        return 1.0
    return max(long_run(joined - expected, expected, 1).variance * float(expected.mean()) / binomial, 1.0)
