"""A canary against the concurrent full traffic."""

import numpy as np
import pytest

from detectors.comparison import compare
from detectors.measurement import Verdict
from detectors.protocol import Plan, Window
from detectors.reward import RewardStatistic

PLAN = Plan(bucket_ms=10_000, window_buckets=60, horizon_ms=60_000, false_per_day=1 / 300)

LENIENT = Plan(bucket_ms=10_000, window_buckets=60, horizon_ms=60_000, false_per_day=7.2)  # 5 % per window


def window(counts: np.ndarray, sums: np.ndarray) -> Window:
    buckets = [
        RewardStatistic(
            np.array([float(n)]), np.array([[n], [s], [s]], np.float64), np.zeros((2, 4)), np.zeros((1, 4))
        )
        for n, s in zip(counts, sums, strict=True)
    ]
    starts = [10_000 * i for i in range(len(buckets))]
    return Window(RewardStatistic.merged(buckets), buckets, starts, 10_000 * len(buckets))


def arm(rng: np.random.Generator, mean: float, per_bucket: int, tide: np.ndarray) -> Window:
    counts = np.full(len(tide), per_bucket)
    sums = np.array([rng.normal(mean + t, 1.0, per_bucket).sum() for t in tide])
    return window(counts, sums)


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
