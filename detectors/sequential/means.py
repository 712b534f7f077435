"""The sequential tests of one number per decision: rewards that fall, a critic that strays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detectors.arrays import F64
from detectors.charts.cusum import fit_bank
from detectors.critic import critic
from detectors.protocol import Baseline, Plan
from detectors.rewards import quantile_sketch, reward
from detectors.rewards.delay import bins_seen
from detectors.sequential.charted import Named, Reading, Test
from detectors.units.clusters import OPTION, Clustered

_ARRIVED = 0.995  # of the rewards that will come, when a bucket is read
_TRIMMED = 0.05  # beyond these quantiles rewards count as the quantile, where tails are heavy
# of the critic's price: a value that is too low, too high (what a policy learns to exploit), one that scatters
_UNDER, _OVER, _SCATTER = 0.06, 0.86, 0.08
_HEAVY = 1.0  # excess kurtosis from which they are
_QUANTILES = 0.06  # of the reward's price
# What charts and window lines of one rule cost apart over what they ring together (simulated, 2,000 and 5,000 rows).
_SPENT, _SPENT_CRITIC = 1.27, 1.5
_LOW: F64 = np.array([0.05, 0.25])  # probabilities of the quantiles that must not fall
_TIED = 0.5  # of its probability must lie strictly below a quantile, or it is a value that rewards often take


def reward_test(baseline: Baseline, plan: Plan, per_bucket: float) -> Test | None:
    """Mean reward, downwards; where tails are heavy also the mean between 5 % and 95 % points, at half the price.

    Beside it, at a small part of the price, how many rewards lie below the baseline's 5 % and 25 % points: quantiles
    that fall (a Bernoulli's cumulative sum). Not where rewards take few values, nor where a season would move them.
    """
    lag_ms, seen = _reading_age(baseline, plan)
    per_bucket *= _SPENT
    series = {name: np.asarray(values, np.float64) for name, values in baseline.series.items()}
    counts, plain = _rewards(series, seen)
    whole = series["sketch"][:, 0].sum(axis=0)
    trim, points = _trim(whole, float(counts.sum())), _points(whole, float(counts.sum()), plan)
    ratio, window = plan.bucket_ms / baseline.bucket_ms, _window(baseline, plan)
    columns = [plain] if trim is None else [plain, _trimmed(series["sketch"], trim, counts)]
    rate = per_bucket * (1 - _QUANTILES) if len(points) else per_bucket
    price = np.array([[rate / len(columns), 0.0]] * len(columns))
    units = _units(plan, reward.NAME, columns, counts)
    bank = fit_bank(np.stack(columns, axis=1), counts, ratio, price, window, units)
    if bank is None:
        return None
    charts = [Named(bank, "the", ["mean reward", "mean reward without its tails"][: len(columns)])]
    if len(points):
        low = _below(series["sketch"], points, counts)
        strays = _units(plan, reward.NAME, [plain, *low.T], counts)[1:]
        prices = np.array([[0.0, per_bucket * _QUANTILES / len(points)]] * len(points))
        tails = fit_bank(low, counts, ratio, prices, window, strays)
        assert tails is not None
        shares = [f"rewards below {point:.3g}" for point in points]
        charts.append(Named(tails, "the share of", shares, 1, "share"))

    def read(bucket: Mapping[str, Any], labels: Sequence[str]) -> Reading:
        one = {name: np.asarray(values, np.float64)[None] for name, values in bucket.items()}
        n, total = _rewards(one, seen)
        found = [total] if trim is None else [total, _trimmed(one["sketch"], trim, n)]
        low = _below(one["sketch"], points, n)[0] if len(points) else np.empty(0)
        return Reading(float(n[0]), [np.concatenate(found), low])

    return Test("reward_fall", reward.NAME, charts, read, lag_ms)


def critic_test(baseline: Baseline, plan: Plan, per_bucket: float, lag_ms: int) -> Test | None:
    """Mean error both ways, mean capped square upwards."""
    moments = np.asarray(baseline.series["moments"], np.float64)
    sizes = np.asarray(baseline.series["sizes"], np.float64)
    worth = critic.squares(critic.cap_of(sizes.sum(axis=0)))
    sums = np.stack([moments[:, 6], sizes @ worth], axis=1)
    price = _SPENT_CRITIC * per_bucket * np.array([[_UNDER, _OVER], [0.0, _SCATTER]])
    ratio = plan.bucket_ms / baseline.bucket_ms
    units = _units(plan, critic.NAME, list(sums.T), moments[:, 0])
    bank = fit_bank(sums, moments[:, 0], ratio, price, _window(baseline, plan), units)
    if bank is None:
        return None

    def read(bucket: Mapping[str, Any], labels: Sequence[str]) -> Reading:
        held = np.asarray(bucket["moments"], np.float64)
        return Reading(
            float(held[0]), [np.array([held[6], float(np.asarray(bucket["sizes"], np.float64) @ worth)])]
        )

    return Test(
        "critic_shift",
        critic.NAME,
        [Named(bank, "the critic's", ["mean error", "squared error"])],
        read,
        lag_ms,
    )


def _units(plan: Plan, detector: str, columns: Sequence[F64], counts: F64) -> list[Clustered]:
    """How far units make each column stray: known for the first, and others of the same rows are taken to stray alike.

    Squares of normal errors stray less: where units explain a share r of errors, it is r squared of their squares.
    """
    known: Clustered | None = plan.options.get(OPTION, {}).get(detector)
    if known is None or not counts.sum() > 0:
        return []
    spreads = [float(np.var(column - counts * (column.sum() / counts.sum()))) for column in columns]
    return [known.times(spread / spreads[0] if spreads[0] > 0 else 0.0) for spread in spreads]


def _window(baseline: Baseline, plan: Plan) -> int:
    return max(1, round(plan.window_buckets * plan.bucket_ms / baseline.bucket_ms))


def _reading_age(baseline: Baseline, plan: Plan) -> tuple[int, int]:
    """The age in whole buckets at which nearly all rewards are in, and how many delay bins each has passed."""
    edges_ms = np.asarray(baseline.schema["delay_edges_ms"], np.float64)
    arrivals = np.asarray(baseline.series["delay"], np.float64)[:, 0].sum(axis=0)
    share = np.cumsum(arrivals) / max(float(arrivals.sum()), 1.0)
    due_ms = float(edges_ms[min(int(np.searchsorted(share, _ARRIVED)), len(edges_ms) - 1)])
    buckets = 0 if due_ms <= plan.bucket_ms / 50 else int(np.ceil(due_ms / plan.bucket_ms))
    age_ms = buckets * plan.bucket_ms
    return age_ms, int(bins_seen(edges_ms, np.array([float(age_ms)]), plan.bucket_ms)[0])


def _rewards(series: Mapping[str, F64], seen: int) -> tuple[F64, F64]:
    """(t,) rewards that came within the age, and their sums."""
    return series["delay"][:, 0, :seen].sum(axis=1), series["delay"][:, 1, :seen].sum(axis=1)


def _trim(sketch: F64, joined: float) -> tuple[float, float] | None:
    """The 5 % and 95 % points where tails are heavy and lie beyond both; None where plain means do."""
    weight, values = np.maximum(sketch, 0.0), quantile_sketch.bin_values(len(sketch))
    total = float(weight.sum())
    if not joined > 0 or not 0.98 * joined <= total <= 1.02 * joined:
        return None
    mean = float(weight @ values) / total
    spread = float(weight @ (values - mean) ** 2) / total
    if not spread > 0 or float(weight @ (values - mean) ** 4) / total / spread**2 < 3 + _HEAVY:
        return None
    low, middle, high = quantile_sketch.quantiles(weight, np.array([_TRIMMED, 0.5, 1 - _TRIMMED]))
    return (float(low), float(high)) if low < middle < high else None


def _points(sketch: F64, joined: float, plan: Plan) -> F64:
    """The 5 % and 25 % points of rewards, as far as about so many lie strictly below them."""
    weight, values = np.maximum(sketch, 0.0), quantile_sketch.bin_values(len(sketch))
    total = float(weight.sum())
    if (
        plan.options.get("season", "none") != "none"
        or not joined > 0
        or not 0.98 * joined <= total <= 1.02 * joined
    ):
        return np.empty(0)
    points = quantile_sketch.quantiles(weight, _LOW)
    shares = np.array([weight[values < point].sum() for point in points]) / max(total, 1.0)
    return np.unique(points[shares >= _TIED * _LOW])


def _below(sketch: F64, points: F64, counts: F64) -> F64:
    """(t, points) how many of the counted rewards lie below each point."""
    held = sketch[:, 0]
    low = quantile_sketch.bin_values(held.shape[1])[:, None] < points
    total = np.maximum(held.sum(axis=1), 1.0)
    return np.asarray(held @ low / total[:, None] * counts[:, None])


def _trimmed(sketch: F64, trim: tuple[float, float], counts: F64) -> F64:
    """(t,) sums with every reward moved between the points; scaled to the rewards that are counted."""
    held = sketch[:, 0]
    values = np.clip(quantile_sketch.bin_values(held.shape[1]), *trim)
    total = np.maximum(held.sum(axis=1), 1.0)
    return np.asarray(held @ values / total * counts)
