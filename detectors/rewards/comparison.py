"""A canary against the concurrent full traffic: the difference of mean rewards, bucket by bucket.

Both arms live through the same minutes, so a season or a campaign moves both; what is left is tested. The variance of
the ratio estimator is that of its linearised bucket terms (Deng et al., KDD 2018, delta method) with the
autocorrelation between them (Newey & West 1987); the line is a Student t quantile at the level of one look.

A small canary that happens to see no rare event has no spread of its own, so the error is never less than that of as
many rows of the rest; and where bad rewards are rare and large, the line allows for the skewness of a mean of so few
(Cornish & Fisher 1938; Hall, "On the removal of skewness by transformation", JRSS B 1992).
"""

from math import sqrt
from typing import Any

import numpy as np

from detectors.arrays import F64
from detectors.inference.laws import student_quantile
from detectors.inference.long_run import andrews_bandwidth, newey_west
from detectors.inference.look_level import level_per_look
from detectors.measurement import Measurement, Verdict, unknown
from detectors.protocol import Plan, Window
from detectors.rewards.quantile_sketch import bin_values

NAME = "comparison"
STATISTIC = "reward_difference"
FEWEST_BUCKETS = 5


def compare(canary: Window, full: Window, plan: Plan) -> Measurement:
    """Canary minus full over the buckets in which both have rewards; a breach is a canary that is worse.

    Both windows hold the reward detector's statistics. n is the canary's number of rewards.
    """
    ours, theirs = _paired(canary, full)
    n = int(ours[:, 0].sum())
    if len(ours) < FEWEST_BUCKETS or n < plan.min_samples or theirs[:, 0].sum() < plan.min_samples:
        text = f"{n} rewards of the canary in {len(ours)} buckets that both arms share: too few to compare"
        return unknown(NAME, STATISTIC, n, text)
    difference = _mean(ours) - _mean(theirs)
    error, dof = _error(_influence(ours) - _influence(theirs))
    spread, skewness = _alike(float(ours[:, 0].sum()), full.total)
    error = max(error, spread)
    if not error > 0:
        return unknown(NAME, STATISTIC, n, "rewards do not vary: nothing to compare", value=difference)
    level = level_per_look(plan.false_per_day, plan.bucket_ms * plan.window_buckets, plan.window_buckets)
    t = float(student_quantile(level, dof))
    line = -(t + max(-skewness, 0.0) * (t * t - 1) / 6) * error
    worse = difference < line
    reason = (
        f"the canary's mean reward is {_mean(ours):.4g} where the rest has {_mean(theirs):.4g} at the same time: "
        f"{difference:+.4g} ± {error:.2g}, line {line:+.4g}, {n} rewards"
    )
    return Measurement(
        NAME, STATISTIC, "", difference, n, Verdict.BREACH if worse else Verdict.OK, line, error,
        severity=difference / line, reason=reason,
    )  # fmt: skip


def _paired(canary: Window, full: Window) -> tuple[F64, F64]:
    """(buckets, 2) count and sum of rewards per arm, in the buckets in which both have any."""
    mine = {
        start: bucket.moments[:2, 0] for start, bucket in zip(canary.starts_ms, canary.buckets, strict=True)
    }
    rest = {start: bucket.moments[:2, 0] for start, bucket in zip(full.starts_ms, full.buckets, strict=True)}
    shared = [start for start in mine if start in rest and mine[start][0] > 0 and rest[start][0] > 0]
    if not shared:
        return np.empty((0, 2)), np.empty((0, 2))
    return np.array([mine[start] for start in shared]), np.array([rest[start] for start in shared])


def _alike(n: float, rest: Any) -> tuple[float, float]:
    """Standard error and skewness of the difference of means, were the canary's n rewards drawn from the rest's.

    The rest's skewness is that of its quantile sketch, or none where the sketch is too coarse to show the variance.
    """
    m, total, squares = rest.moments[:, 0]
    variance = max(squares / m - (total / m) ** 2, 0.0)
    counts = np.maximum(rest.sketch[0], 0.0)
    if not variance > 0 or not counts.sum() > 0:
        return sqrt(variance * (1 / n + 1 / m)), 0.0
    values, weights = bin_values(len(counts)), counts / counts.sum()
    from_mean = values - weights @ values
    seen = float(weights @ from_mean**2)
    third = float(weights @ from_mean**3) / seen**1.5 if 0.8 < seen / variance < 1.25 else 0.0
    return sqrt(variance * (1 / n + 1 / m)), third * (1 / n**2 - 1 / m**2) / (1 / n + 1 / m) ** 1.5


def _mean(arm: F64) -> float:
    return float(arm[:, 1].sum() / arm[:, 0].sum())


def _influence(arm: F64) -> F64:
    """(buckets,) what each bucket adds to the error of the arm's mean."""
    return np.asarray((arm[:, 1] - _mean(arm) * arm[:, 0]) / arm[:, 0].sum())


def _error(terms: F64) -> tuple[float, float]:
    """Standard error of the sum of the terms and its degrees of freedom; never less than that of independent terms."""
    column, n = terms[:, None], len(terms)
    width = andrews_bandwidth(column - column.mean())
    dependent, independent = float(newey_west(column, width)[0, 0]), float(newey_west(column, 0.0)[0, 0])
    if dependent <= independent:
        return sqrt(n * independent), n - 1.0
    return sqrt(n * dependent), max(1.0, min(1.5 * n / (width + 1), n - 1.0))
