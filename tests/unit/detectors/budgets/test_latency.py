"""Latency: quantiles of a fixed histogram, and a budget that holds at every look."""

from dataclasses import replace

import numpy as np
import pytest

from detectors.budgets.latency import LATENCY, LatencyCounts
from detectors.measurement import Verdict
from detectors.rows import BucketRows
from detectors.statistic import Statistic
from tests.unit.detectors.streams import PLAN, by_name, decisions, looks, rows, window_of

BUDGETED = replace(PLAN, false_per_day=86_400 / 10 / 1000, options={"budget": 50.0})


def of_latency(ms: np.ndarray[tuple[int], np.dtype[np.float64]], per: int = 10) -> list[BucketRows]:
    return [rows(decisions=decisions(per, latency_ms=ms[i : i + per])) for i in range(0, len(ms), per)]


def counts_of(statistic: Statistic) -> LatencyCounts:
    assert isinstance(statistic, LatencyCounts)
    return statistic


def test_quantiles_agree_with_numpy_within_a_bin() -> None:
    ms = np.random.default_rng(1).lognormal(2.0, 1.0, 20_000)
    detector = LATENCY.build(None, PLAN)
    found = by_name(detector.measure(window_of([detector.observe(of_latency(ms, len(ms))[0])])))
    for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        assert found[name].value == pytest.approx(np.quantile(ms, q), rel=0.08)
    assert found["mean"].value == pytest.approx(ms.mean())
    assert np.isnan(found["p99"].threshold)


def test_any_split_counts_the_same_and_missing_latencies_do_not_count() -> None:
    ms = np.r_[np.random.default_rng(2).exponential(10, 39), np.nan]
    detector = LATENCY.build(None, BUDGETED)
    whole = counts_of(detector.observe(of_latency(ms, 40)[0]))
    merged = LatencyCounts.merged([counts_of(detector.observe(part)) for part in of_latency(ms, 8)])
    np.testing.assert_array_equal(whole.bins, merged.bins)
    np.testing.assert_allclose(whole.sums, merged.sums)
    assert whole.sums[0] == 39


def test_no_latency_is_unknown() -> None:
    detector = LATENCY.build(None, PLAN)
    found = detector.measure(window_of([detector.observe(of_latency(np.full(10, np.nan))[0])]))
    assert [m.verdict for m in found] == [Verdict.UNKNOWN]


def test_a_hundredth_beyond_the_budget_stays_silent_and_a_fifth_is_found() -> None:
    """The share beyond the budget is exactly the allowed one; price 1 in 1,000 buckets, .37 chance of none at it."""
    rng = np.random.default_rng(3)
    allowed = np.where(rng.random(4_000) < 0.01, 80.0, 20.0)
    slow = np.where(rng.random(200) < 0.2, 80.0, 20.0)
    detector = LATENCY.build(None, BUDGETED)
    assert all(by_name(ms)["p99"].verdict == Verdict.OK for ms in looks(detector, of_latency(allowed)))
    found = by_name(looks(detector, of_latency(slow))[0])["p99"]
    assert found.verdict == Verdict.BREACH
    assert found.threshold == 50.0
