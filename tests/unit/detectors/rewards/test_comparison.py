"""A canary against the concurrent full traffic."""

import numpy as np
import pytest

from detectors.measurement import Verdict
from detectors.protocol import Plan, Window
from detectors.rewards.comparison import compare
from detectors.rewards.quantile_sketch import counts
from detectors.rewards.reward import RewardStatistic

PLAN = Plan(bucket_ms=10_000, window_buckets=60, horizon_ms=60_000, false_per_day=1 / 300)

LENIENT = Plan(bucket_ms=10_000, window_buckets=60, horizon_ms=60_000, false_per_day=7.2)  # 5 % per window


def window(each: np.ndarray, sums: np.ndarray) -> Window:
    buckets = [
        RewardStatistic(
            np.array([float(n)]), np.array([[n], [s], [s]], np.float64), np.zeros((2, 4)), np.zeros((1, 4))
        )
        for n, s in zip(each, sums, strict=True)
    ]
    starts = [10_000 * i for i in range(len(buckets))]
    return Window(RewardStatistic.merged(buckets), buckets, starts, 10_000 * len(buckets))


def clicks(rng: np.random.Generator, rate: float, per_bucket: int) -> Window:
    """Sixty buckets of rewards 0 or 1."""
    rewards = (rng.random((60, per_bucket)) < rate).astype(float)
    buckets = [
        RewardStatistic(
            np.array([float(len(row))]), np.array([[len(row)], [row.sum()], [row.sum()]], np.float64),
            np.zeros((2, 4)), counts(row)[None, :],
        )
        for row in rewards
    ]  # fmt: skip
    return Window(RewardStatistic.merged(buckets), buckets, [10_000 * i for i in range(60)], 600_000)


def arm(rng: np.random.Generator, mean: float, per_bucket: int, tide: np.ndarray) -> Window:
    each = np.full(len(tide), per_bucket)
    sums = np.array([rng.normal(mean + t, 1.0, per_bucket).sum() for t in tide])
    return window(each, sums)


def test_difference_and_error_of_a_case_worked_by_hand() -> None:
    ours = window(np.full(6, 10), np.array([10.0, 12.0, 10.0, 12.0, 10.0, 12.0]))
    theirs = window(np.full(6, 10), np.full(6, 20.0))
    m = compare(ours, theirs, LENIENT)
    assert m.value == pytest.approx(1.1 - 2.0)
    assert m.n == 60
    # six terms of +-1/60: their variance 6/5/3600 (one lost to the mean), summed over six
    assert m.error == pytest.approx(np.sqrt(6 * (6 / 5) / 3600))
    assert m.verdict is Verdict.BREACH


def test_worse_canary_breaches_and_a_tide_that_lifts_both_does_not_hide_it() -> None:
    rng = np.random.default_rng(1)
    tide = 3 * np.sin(np.arange(60) / 10)
    assert compare(arm(rng, 0.0, 50, tide), arm(rng, 0.5, 500, tide), PLAN).verdict is Verdict.BREACH
    assert compare(arm(rng, 0.5, 50, tide), arm(rng, 0.5, 500, tide), PLAN).verdict is Verdict.OK


def test_rare_events_that_a_small_canary_misses_by_chance_are_no_breach() -> None:
    # 150 windows of 60 rewards at 5e-5 or less each: one by chance 1 in 130. By its own spread alone: 4 in 100.
    rng = np.random.default_rng(3)
    strict = Plan(bucket_ms=10_000, window_buckets=60, horizon_ms=60_000, false_per_day=0.007)
    arms = ((clicks(rng, 0.05, 1), clicks(rng, 0.05, 20)) for _ in range(150))
    assert not any(compare(*pair, strict).verdict is Verdict.BREACH for pair in arms)


def test_line_is_wider_where_failures_are_rare_and_large() -> None:
    rng = np.random.default_rng(5)
    rare_failures, rare_hits = (compare(clicks(rng, p, 2), clicks(rng, p, 50), PLAN) for p in (0.99, 0.01))
    assert rare_failures.threshold / rare_failures.error < 1.5 * rare_hits.threshold / rare_hits.error < 0


def test_a_small_canary_whose_success_collapses_is_found() -> None:
    rng = np.random.default_rng(4)
    assert compare(clicks(rng, 0.3, 2), clicks(rng, 0.99, 50), PLAN).verdict is Verdict.BREACH


def test_too_few_shared_buckets_are_unknown() -> None:
    few = window(np.array([100, 100]), np.array([1.0, 1.0]))
    assert compare(few, few, PLAN).verdict is Verdict.UNKNOWN


def test_equal_arms_breach_no_more_often_than_the_level_of_a_look() -> None:
    rng = np.random.default_rng(7)
    breaches = sum(
        compare(arm(rng, 0.0, 20, np.zeros(60)), arm(rng, 0.0, 100, np.zeros(60)), LENIENT).verdict
        is Verdict.BREACH
        for _ in range(400)
    )
    assert breaches <= 0.05 * 400  # a single look costs at most what a whole window may
