"""Reward against truth."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from detectors.measurement import Verdict
from detectors.rewards.proxy import PROXY, ProxySums
from detectors.rows import BucketRows
from detectors.statistic import Statistic
from tests.unit.detectors.streams import PLAN, baseline_of, by_name, looks, outcomes, rows, window_of

PRICED = replace(PLAN, false_per_day=86_400 / 10 / 1000)


def stream(rng: np.random.Generator, buckets: int, up: float = 0.0, down: float = 0.0) -> list[BucketRows]:
    truth = rng.normal(size=buckets * 10)
    reward = 0.8 * truth + 0.6 * rng.normal(size=buckets * 10) + up
    return [
        rows(outcomes=outcomes(reward[i : i + 10], truth[i : i + 10] - down))
        for i in range(0, buckets * 10, 10)
    ]


def sums_of(statistic: Statistic) -> ProxySums:
    assert isinstance(statistic, ProxySums)
    return statistic


def test_gap_and_correlation_agree_with_scipy() -> None:
    rng = np.random.default_rng(1)
    reward, truth = rng.normal(size=80), rng.normal(size=80)
    truth[::4] = np.nan
    known = ~np.isnan(truth)
    detector = PROXY.build(None, PLAN)
    found = by_name(detector.measure(window_of([detector.observe(rows(outcomes=outcomes(reward, truth)))])))
    assert found["correlation"].value == pytest.approx(stats.pearsonr(reward[known], truth[known]).statistic)
    assert found["gap"].value == pytest.approx((reward - truth)[known].mean())
    assert (found["gap"].n, found["gap"].verdict) == (60, Verdict.UNKNOWN)


def test_a_truth_that_comes_later_or_changes_counts_once() -> None:
    detector = PROXY.build(None, PLAN)
    nan, one, two, five = (np.array([x]) for x in (np.nan, 1.0, 2.0, 5.0))
    parts = [
        outcomes(one, nan),
        outcomes(one, two, reward_before=one),
        outcomes(five, two, reward_before=one, truth_before=two),
    ]
    total = ProxySums.merged([sums_of(detector.observe(rows(outcomes=part))) for part in parts])
    np.testing.assert_allclose(total.moments, np.array([1, 5, 2, 25, 4, 10]))
    assert total.rewarded[0] == 1


def test_without_truth_it_is_unknown_and_says_how_much_there_is() -> None:
    detector = PROXY.build(None, PLAN)
    found = detector.measure(
        window_of([detector.observe(rows(outcomes=outcomes(np.ones(50), np.full(50, np.nan))))])
    )
    assert [m.verdict for m in found] == [Verdict.UNKNOWN]
    assert "0 of 50" in found[0].reason


def test_proxy_up_and_truth_down_is_a_breach_and_the_same_distribution_is_not() -> None:
    """Price 1 in 1,000 buckets; over 1,000 stationary buckets more than 4 breaches have probability .004."""
    rng = np.random.default_rng(2)
    detector = PROXY.build(baseline_of(PROXY, stream(rng, 200), PRICED), PRICED)
    red = [by_name(ms)["gap"].verdict == Verdict.BREACH for ms in looks(detector, stream(rng, 1000))]
    assert sum(now and not before for before, now in zip([False, *red], red, strict=False)) <= 4
    found = by_name(looks(detector, stream(rng, 20, up=0.3, down=0.3))[0])["gap"]
    assert found.verdict == Verdict.BREACH
    assert "truth" in found.reason
    assert by_name(looks(detector, stream(rng, 20, up=-1.0))[0])["gap"].verdict == Verdict.OK
