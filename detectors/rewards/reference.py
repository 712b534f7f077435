"""What the baseline says of rewards: their mean at each age, how far window means stray, and what a signal costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from detectors.arrays import F64, I64
from detectors.inference.false_signals import HoldPrice, hold_price
from detectors.inference.long_run import LongRun, long_run, student_depth
from detectors.protocol import Baseline, Plan
from detectors.rewards.delay import DelayCurve, bins_seen, delay_curve, within
from detectors.rewards.seasonal import Profile, learn
from detectors.units.clusters import OPTION, Clustered, robust

CLIP = 4.0  # standard deviations below which one bucket counts no further: one outlier is not a fallen mean
_FEWEST_BUCKETS = 8
_SUMS_PER_SHAPE = 30
_FEWEST_JOINED = 5.0  # rewards before a recent part of the window may speak
_RHO_GRID, _COMMON_GRID = 0.02, 0.02


@dataclass(frozen=True, slots=True)
class RewardReference:
    """Frozen numbers of the baseline.

    single: variance of one reward. noise: the same in sums over successive buckets. mean_variance: of the
    baseline's own mean. joined_per_window: rewards that a live window of the baseline's traffic would hold.
    shape: (scales, 3) rewards in a sum over 1, 2, 4, ... baseline buckets, its lower skewness, its excess kurtosis.
    count_dispersion: variance of the number of arrivals over its binomial value. arrivals: (slots, bins) what the
    season adds to the share of decisions rewarded by each age, where one was declared and seen.
    """

    curve: DelayCurve
    mean: float
    single: float
    noise: LongRun
    mean_variance: float
    joined: float
    joined_per_window: float
    shape: F64
    count_dispersion: float
    price: HoldPrice
    arrivals: Profile | None = None

    def sum_variance(self, joined: F64 | float, share_of_window: F64 | float = 1.0) -> F64:
        """Variance of the sum of `joined` residuals that lie within this share of a window.

        Noise beyond that of single rewards is common to its stretch of time: more traffic does not average it out.
        """
        common = max(self.noise.variance - self.single, 0.0)
        own = min(self.noise.variance, self.single)
        crowd = np.maximum(1.0, joined / (self.joined_per_window * np.asarray(share_of_window)))
        return np.asarray(joined * (own + common * crowd) + np.square(joined) * self.mean_variance)

    def tail_excess(self, z: F64, joined: F64) -> F64:
        """(n,) how much less a depth z is worth because the sum of this few rewards is not normal.

        Cornish & Fisher (Revue de l'Institut International de Statistique 1938), first skewness and kurtosis terms,
        each only where it makes the lower tail heavier. Beyond the largest sum that the baseline holds often
        enough, skewness falls with the root of the number of rewards and kurtosis with the number.
        """
        row = np.clip(np.searchsorted(self.shape[:, 0], joined, side="right") - 1, 0, None)
        known, skew, kurtosis = np.moveaxis(self.shape[row], -1, 0)
        ratio = known / np.maximum(joined, 1.0)
        skew_term = skew * np.sqrt(ratio) * np.maximum(z**2 - 1, 0.0) / 6
        result: F64 = skew_term + kurtosis * ratio * np.maximum(z**3 - 3 * z, 0.0) / 24
        return result

    def clipped(self, shortfall: F64, joined: F64) -> F64:
        """(b,) shortfalls, none lower than chance makes a bucket of its size: an outlier is not a fallen mean."""
        variance = max(self.single, self.noise.variance)
        floor = -CLIP * np.sqrt(variance * np.maximum(joined, 1.0)) if variance > 0 else -np.inf
        return np.maximum(shortfall, floor)

    def depth(self, short: F64, joined: F64) -> F64:
        """(...) the deepest of sums (..., scales) over the price's scales, as a normal of the same tail would have it.

        Infinite where a baseline without any noise is left; 0 where nothing is below it.
        """
        scales = np.array(self.price.scales)
        spread = np.sqrt(self.sum_variance(joined, scales / scales[-1]))
        heard = (short < 0) & ((joined >= _FEWEST_JOINED) | (scales == scales[-1]))
        z = student_depth(-short / np.where(spread > 0, spread, 1.0), self.noise.dof)
        z = z - self.tail_excess(np.minimum(z, self.price.depth), joined)
        z = np.where(heard, np.where(spread > 0, z, np.inf), 0.0)
        result: F64 = np.maximum(z.max(axis=-1), 0.0)
        return result

    def at_age(self, seen: I64) -> tuple[F64, F64]:
        """(b,) share of decisions rewarded and mean of those rewards, after this many delay bins."""
        return _at_age(self.curve, seen, self.joined)

    def arriving(self, share: F64, seen: I64, starts_ms: Sequence[int], bucket_ms: int) -> F64:
        """(b,) the share of decisions rewarded by this age in buckets of these hours."""
        if self.arrivals is None:
            return share
        usual = self.arrivals.effects_at(starts_ms, bucket_ms)
        effect = np.take_along_axis(usual, np.maximum(seen - 1, 0)[:, None], axis=1)[:, 0]
        return np.where(seen > 0, np.clip(share + effect, 0.0, 1.0), share)


def reward_reference(baseline: Baseline, plan: Plan) -> RewardReference | str:
    """The reference, or one clause why the baseline gives none."""
    series = baseline.series
    edges_ms = baseline.schema["delay_edges_ms"].astype(np.float64)
    delay, decisions = series["delay"].astype(np.float64), series["decisions"][:, 0].astype(np.float64)
    arrivals, sums = delay[:, 0], delay[:, 1]
    starts = np.asarray(baseline.starts_ms, dtype=np.float64)
    youngest = starts[-1] - starts
    seen = bins_seen(edges_ms, youngest, baseline.bucket_ms)
    joined = within(arrivals, seen)
    if len(joined) < 2 or joined.sum() < 2:
        return f"the baseline holds {joined.sum():.0f} rewards in {len(joined)} buckets, too few to know their noise"
    curve = delay_curve(edges_ms, decisions, arrivals, sums, youngest)
    if not curve.share[-1] > 0:
        return "the baseline is shorter than the reward horizon"
    single = _single_variance(series["moments"][:, :, 0].astype(np.float64).sum(axis=0))
    share, mean = _at_age(curve, seen, float(joined.sum()))
    season = str(plan.options.get("season", "none"))
    learnt = learn(
        np.cumsum(arrivals, axis=1), decisions[:, None], baseline.starts_ms, baseline.bucket_ms, season
    )
    arriving = share
    if learnt is not None:
        arriving = share + np.take_along_axis(learnt.own, np.maximum(seen - 1, 0)[:, None], axis=1)[:, 0]
    residuals = within(sums, seen) - joined * mean
    window_ms = plan.window_buckets * plan.bucket_ms
    noise = _noise(residuals, joined, max(round(window_ms / baseline.bucket_ms), 1), single)
    units: Clustered | None = plan.options.get(OPTION, {}).get("reward")
    noise = robust(noise, units)
    per_window = float(joined.mean()) / baseline.bucket_ms * window_ms
    mean_variance = max(noise.variance, units.whole if units else 0.0) / float(joined.sum())
    return RewardReference(
        curve=curve, mean=curve.mean(), single=single, noise=noise, mean_variance=mean_variance,
        joined=float(joined.sum()), joined_per_window=per_window, shape=_lower_tails(residuals, joined),
        count_dispersion=_count_dispersion(joined, decisions * arriving, arriving),
        price=_price(plan, noise, single, per_window, float(joined.sum())),
        arrivals=None if learnt is None else learnt.profile,
    )  # fmt: skip


def _at_age(curve: DelayCurve, seen: I64, joined: float) -> tuple[F64, F64]:
    share, reward = curve.after(seen)
    known = share * joined > 5 * curve.share[-1]  # fewer than five early rewards say nothing of their mean
    return share, np.where(known, reward / np.where(known, share, 1.0), curve.mean())


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


def _lower_tails(residuals: F64, joined: F64) -> F64:
    """(scales, 3) rewards, -skewness and excess kurtosis (each at least 0) of sums over 1, 2, 4, ... buckets.

    Buckets are standardised and clipped at CLIP as the test clips them; a scale needs thirty sums' worth of series.
    """
    scores = residuals / np.sqrt(np.maximum(joined, 1.0))
    sd = float(np.std(scores))
    clipped = np.clip(scores / sd, -CLIP, CLIP) if sd > 0 else scores
    sums = np.cumsum(np.concatenate([[0.0], clipped]))
    rows, scale = [], 1
    while scale == 1 or scale * _SUMS_PER_SHAPE <= len(residuals):
        apart = len(residuals) / scale
        rows.append([scale * float(joined.mean()), *_heaviness(sums[scale:] - sums[:-scale], apart)])
        scale *= 2
    return np.array(rows)


def _heaviness(sums: F64, apart: float) -> tuple[float, float]:
    """-skewness and excess kurtosis as far as they exceed chance: two standard errors in `apart` separate sums.

    Their plain estimates are above 0 in half of all normal series, and at a depth of 6 each error costs many standard
    deviations: 300 buckets of normal noise lost 2.6 on average and 14 in one of twenty (measured), enough to hide any
    fall. The standard error of the mirrored kurtosis is sqrt(60 / n), that of a plain one sqrt(24 / n).
    """
    spread = float(np.std(sums))
    if not spread > 0:
        return 0.0, 0.0
    centred = (sums - sums.mean()) / spread
    lower = 2 * float(np.mean(np.minimum(centred, 0.0) ** 4))  # as if the upper half were its mirror image
    skew = -float(np.mean(centred**3)) - 2 * sqrt(6 / apart)
    return max(skew, 0.0), max(lower - 3.0 - 2 * sqrt(60 / apart), 0.0)


def _count_dispersion(joined: F64, expected: F64, share: F64) -> float:
    """Long-run variance of the number of arrivals over its binomial value, at least 1."""
    binomial = float(np.mean(expected * (1 - share)))
    if len(joined) < _FEWEST_BUCKETS or binomial < 0.01 * float(np.mean(expected)):
        return 1.0
    return max(long_run(joined - expected, expected, 1).variance * float(expected.mean()) / binomial, 1.0)
