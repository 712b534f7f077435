"""Quantiles of the reward that fall while its mean stays: found in sequence, within a tenth of the reward's price."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from detectors.arrays import F64
from detectors.measurement import Verdict
from detectors.protocol import Plan
from detectors.rewards.reward import REWARD
from detectors.rows import BucketRows
from detectors.sequential.charted import Test
from detectors.sequential.means import reward_test
from detectors.statistic import Statistic
from tests.unit.detectors.streams import PLAN, ar1, baseline_of, outcomes, rows

PER_BUCKET = 10


def buckets(reward: F64) -> list[BucketRows]:
    nothing = np.full(PER_BUCKET, np.nan)
    return [rows(outcomes=outcomes(part, nothing)) for part in reward.reshape(-1, PER_BUCKET)]


def built(reward: F64, rate: float, plan: Plan = PLAN) -> Test:
    test = reward_test(baseline_of(REWARD, buckets(reward), plan), plan, rate)
    assert test is not None
    return test


def counted(reward: F64) -> list[Statistic]:
    counter = REWARD.build(None, PLAN)
    return [counter.observe(one) for one in buckets(reward)]


def alarms(test: Test, live: list[Statistic], chart: int) -> int:
    """Of one of its charts alone, begun anew each time."""
    named, state, rings = test.charts[chart], test.charts[chart].begin(), 0
    for one in live:
        state = named.step(state, test.read(one.arrays(), ()), 0.0)
        if named.severity(state) >= 1:
            state, rings = named.begin(), rings + 1
    return rings


@pytest.mark.parametrize("law", ["normal", "t3", "ar1"])
def test_quantiles_cost_a_tenth_of_the_price_where_nothing_changes(law: str) -> None:
    """12 baselines of 3,000 rewards, 2,000 buckets each: 24 alarms paid for; 36 or more have a chance of 1 %."""
    rng = np.random.default_rng(11)
    draws: dict[str, Callable[[int], F64]] = {
        "normal": rng.standard_normal,
        "t3": lambda n: rng.standard_t(3, n),
        "ar1": lambda n: ar1(rng, n, 0.5),
    }
    rings = 0
    for _ in range(12):
        test = built(draws[law](3_000), 0.01)
        rings += alarms(test, counted(draws[law](2_000 * PER_BUCKET)), 1)
    assert rings <= 36
    assert rings >= (6 if law == "normal" else 0)


def test_a_lower_tail_that_grows_under_the_same_mean_is_found_and_said() -> None:
    """One reward in eight falls by 2 sd and the others rise to make up for it; 8 of 8 within 200 buckets."""
    rng = np.random.default_rng(12)
    for _ in range(8):
        test = built(rng.standard_normal(5_000), 1e-4)
        low = rng.random(200 * PER_BUCKET) < 0.125
        moved = rng.standard_normal(200 * PER_BUCKET) + np.where(low, -2.0, 2 / 7)
        state, said = test.begin(), ""
        for one in counted(moved):
            state, events = test.fold(state, one.arrays(), ())
            found = test.measurement(state, events)
            if found.verdict is Verdict.BREACH:
                said = found.reason
                break
        assert said.startswith("the share of rewards below -1.")
        assert re.search(r"above its baseline of [45]\.", said)


def test_rewards_of_few_values_and_declared_seasons_are_left_to_the_mean() -> None:
    rng = np.random.default_rng(13)
    clicks = (rng.random(3_000) < 0.1).astype(np.float64)
    seasonal = replace(PLAN, options={"season": "hour-of-day"})
    assert len(built(clicks, 1e-3).charts) == 1
    assert len(built(rng.standard_normal(3_000), 1e-3, seasonal).charts) == 1
    assert len(built(rng.standard_normal(3_000), 1e-3).charts) == 2
