"""Cost budgets: exceeded with confidence, at every look, whatever the law of the costs."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from detectors.arrays import F64, Bool
from detectors.budgets import costs
from detectors.budgets.costs import COSTS, CostsDetector, CostSums
from detectors.inference.evidence import SHARES, log_bar, log_evidence, log_wealth, log_wealth_of_share
from detectors.measurement import Verdict
from detectors.protocol import Baseline
from detectors.rows import BucketRows, Episodes
from detectors.statistic import Statistic
from tests.unit.detectors.streams import (
    PLAN,
    ar1,
    baseline_of,
    by_name,
    decisions,
    looks,
    outcomes,
    rows,
    window_of,
)

PRICED = replace(PLAN, false_per_day=86_400 / 10 / 1000, cost_budgets={"c": (0.05, "decision")})
PER_EPISODE = replace(PRICED, cost_budgets={"c": (10.0, "episode")})


def of_costs(x: F64, per: int = 10) -> list[BucketRows]:
    return [rows(decisions=decisions(per, {"c": x[i : i + per]})) for i in range(0, len(x), per)]


def of_episodes(cost: F64, truncated: Bool) -> BucketRows:
    n = len(cost)
    return rows(episodes=Episodes(np.full(n, 5), np.zeros(n), truncated, {"c": cost}))


def test_wealth_worked_by_hand() -> None:
    wealth = log_wealth(np.array([0.0, 0.2]), budget=0.1)
    np.testing.assert_allclose(wealth, np.log(1 - SHARES) + np.log(1 + SHARES))


def test_wealth_of_zeros_and_ones_needs_only_their_counts() -> None:
    x = np.array([1.0, 0.0, 0.0, 1.0, 0.0])
    np.testing.assert_allclose(log_wealth_of_share(2, 5, 0.25), log_wealth(x, 0.25))


def test_evidence_is_the_sum_of_the_mean_wealth_since_every_bucket() -> None:
    wealth = np.stack([log_wealth(np.array([x]), 0.5) for x in (0.0, 1.0, 2.0)])
    since = [np.exp(wealth[i:].sum(axis=0)).mean() for i in range(3)]
    assert log_evidence(wealth, 1.0) == pytest.approx(np.log(sum(since)))


def test_the_bar_is_one_over_the_false_breaches_per_bucket() -> None:
    assert log_bar(8.64, 10_000, 1) == pytest.approx(np.log(1000))
    assert log_bar(8.64, 10_000, 4) == pytest.approx(np.log(4000))


def sums_of(statistic: Statistic) -> CostSums:
    assert isinstance(statistic, CostSums)
    return statistic


def test_any_split_of_the_rows_adds_up_to_the_same() -> None:
    detector = COSTS.build(None, PRICED)
    x = np.random.default_rng(1).exponential(size=50)
    whole = sums_of(detector.observe(of_costs(x, 50)[0]))
    merged = type(whole).merged([sums_of(detector.observe(part)) for part in of_costs(x, 10)])
    np.testing.assert_allclose(merged.sums, whole.sums, rtol=1e-12)
    np.testing.assert_allclose(merged.wealth, whole.wealth, rtol=1e-9)


def test_a_cost_borne_by_rewards_replaces_what_came_before() -> None:
    detector = COSTS.build(None, PRICED)
    nan = np.array([np.nan])
    early = detector.observe(rows(outcomes=outcomes(nan, nan, costs={"c": (nan, np.array([0.2]))})))
    late = detector.observe(
        rows(outcomes=outcomes(nan, nan, costs={"c": (np.array([0.2]), np.array([0.5]))}))
    )
    np.testing.assert_allclose(sums_of(early + late).sums[0, :2], np.array([1, 0.5]))


@pytest.mark.parametrize("law", ["clicks", "exponential", "heavy"])
def test_false_breaches_at_the_budget_itself_stay_within_their_price(law: str) -> None:
    """The mean equals the budget. Price: 1 in 1,000 buckets; over 1,000 more than 4 has probability .004."""
    rng = np.random.default_rng(2)
    n = 10_000
    x = {
        "clicks": (rng.random(n) < 0.05).astype(np.float64),
        "exponential": rng.exponential(0.05, n),
        "heavy": 0.05 * rng.lognormal(-2.0, 2.0, n),
    }[law]
    red = [ms[0].verdict == Verdict.BREACH for ms in looks(COSTS.build(None, PRICED), of_costs(x))]
    assert sum(now and not before for before, now in zip([False, *red], red, strict=False)) <= 4


def test_autocorrelated_costs_are_priced_by_the_baseline() -> None:
    """AR(1) with rho .9 behind the costs; same price and bound as above."""
    rng = np.random.default_rng(3)
    x = (stats.norm.cdf(ar1(rng, 15_000, 0.9)) < 0.05).astype(np.float64)
    detector = COSTS.build(
        baseline_of(COSTS, of_costs(x[:5_000]), PRICED, decisions(1, {"c": np.zeros(1)})), PRICED
    )
    red = [ms[0].verdict == Verdict.BREACH for ms in looks(detector, of_costs(x[5_000:]))]
    assert sum(now and not before for before, now in zip([False, *red], red, strict=False)) <= 4
    assert isinstance(detector, CostsDetector)
    assert detector.inflation[0] > 2


def test_three_times_the_budget_is_found_within_a_window() -> None:
    x = (np.random.default_rng(4).random(200) < 0.15).astype(np.float64)
    found = by_name(looks(COSTS.build(None, PRICED), of_costs(x))[0])["per_decision c"]
    assert found.verdict == Verdict.BREACH
    assert found.threshold == 0.05
    assert found.severity > 1
    assert "against a budget of 0.05" in found.reason


def test_a_few_costs_are_unknown_unless_they_are_overwhelming() -> None:
    detector = COSTS.build(None, PRICED)
    few = detector.measure(window_of([detector.observe(of_costs(np.array([0.0, 1.0, 0.0]), 3)[0])]))[0]
    many = detector.measure(window_of([detector.observe(of_costs(np.ones(12), 12)[0])]))[0]
    assert few.verdict == Verdict.UNKNOWN
    assert many.verdict == Verdict.BREACH


def test_a_cost_without_a_budget_is_described() -> None:
    schema = COSTS.fit(decisions(1, {"water": np.zeros(1)}), PRICED)
    detector = COSTS.build(Baseline(schema, {}, (), PLAN.bucket_ms), PRICED)
    seen = detector.observe(rows(decisions=decisions(4, {"water": np.array([1.0, 2.0, 6.0, np.nan])})))
    found = by_name(detector.measure(window_of([seen])))["per_decision water"]
    assert (found.value, found.n, found.verdict) == (3.0, 3, Verdict.OK)
    assert np.isnan(found.threshold)


def test_negative_costs_are_unknown_because_the_test_does_not_hold() -> None:
    detector = COSTS.build(None, PRICED)
    x = np.r_[np.ones(40), -1.0]
    found = detector.measure(window_of([detector.observe(of_costs(x, 41)[0])]))[0]
    assert found.verdict == Verdict.UNKNOWN
    assert "negative" in found.reason


def test_truncated_episodes_can_prove_an_excess_but_not_its_absence() -> None:
    detector = COSTS.build(None, PER_EPISODE)
    cut = np.ones(40, np.bool_)
    low = detector.measure(window_of([detector.observe(of_episodes(np.full(40, 1.0), cut))]))[0]
    high = detector.measure(window_of([detector.observe(of_episodes(np.full(40, 30.0), cut))]))[0]
    whole = detector.measure(window_of([detector.observe(of_episodes(np.full(40, 1.0), ~cut))]))[0]
    assert (low.verdict, high.verdict, whole.verdict) == (Verdict.UNKNOWN, Verdict.BREACH, Verdict.OK)
    assert "at least" in high.reason


def test_evidence_against_another_budget_is_that_of_counting_anew() -> None:
    rng = np.random.default_rng(21)
    buckets = [rows(decisions(50, costs={"c": np.where(rng.random(50) < 0.1, 3.0, 0.0)})) for _ in range(12)]
    plans = [replace(PLAN, cost_budgets={"c": (budget, "decision")}) for budget in (0.2, 0.5)]
    counted = [baseline_of(COSTS, buckets, plan, decisions(1, costs={"c": np.ones(1)})) for plan in plans]
    repriced = costs.repriced(counted[0], plans[1])
    np.testing.assert_allclose(_wealth(repriced), _wealth(counted[1]), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(_wealth(costs.repriced(counted[0], plans[0])), _wealth(counted[0]))


def test_evidence_of_costs_of_many_sizes_is_of_second_order() -> None:
    rng = np.random.default_rng(22)
    buckets = [rows(decisions(200, costs={"c": rng.gamma(20.0, 0.05, 200)})) for _ in range(12)]
    plans = [replace(PLAN, cost_budgets={"c": (budget, "decision")}) for budget in (2.0, 0.95)]
    counted = [baseline_of(COSTS, buckets, plan, decisions(1, costs={"c": np.ones(1)})) for plan in plans]
    found, exact = _wealth(costs.repriced(counted[0], plans[1])), _wealth(counted[1])
    np.testing.assert_allclose(found.sum(axis=0), exact.sum(axis=0), rtol=0.1, atol=1)


def _wealth(baseline: Baseline) -> F64:
    return np.asarray(baseline.series["wealth"], np.float64)
