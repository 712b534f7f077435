"""What the reward rule says of logs that nobody here wrote."""

import pytest

from detectors.protocol import Plan
from detectors.rewards.reward import REWARD
from tests.paths import shared_data
from tests.unit.detectors.reward_stream import Stream, log, signals

_BUDGET = 1 / 30 / 3  # the reward's share of one false signal in thirty days
_PENDULUM = Plan(bucket_ms=20_000, window_buckets=30, horizon_ms=30_000, false_per_day=_BUDGET)
_PENDULUM_START, _GRAVITY_ROSE = 1_767_225_600_000, 1_767_231_100_000
_FOREVER = 2**53
_WEEK = 7 * 86_400_000


def _log(name: str) -> Stream:
    return log(shared_data() / f"{name}.jsonl.gz")


def test_gravity_is_felt_after_it_rose_and_not_before() -> None:
    detector = REWARD.build(_log("pendulum-null").baseline(_PENDULUM), _PENDULUM)
    fired = signals(_log("pendulum-gravity"), detector, _PENDULUM)
    assert fired
    assert _GRAVITY_ROSE < fired[0] < _GRAVITY_ROSE + 15 * 60_000


@pytest.mark.parametrize("bucket_ms", [10_000, 60_000])
def test_the_second_half_of_a_quiet_log_is_silent_against_its_first(bucket_ms: int) -> None:
    plan = Plan(bucket_ms, 600_000 // bucket_ms, 30_000, _BUDGET)
    quiet, half = _log("pendulum-null"), _PENDULUM_START + 5_500_000
    detector = REWARD.build(quiet.between(0, half).baseline(plan), plan)
    assert signals(quiet.between(half, _FOREVER), detector, plan) == []


def test_a_quiet_log_is_silent_against_itself() -> None:
    detector = REWARD.build(_log("pendulum-null").baseline(_PENDULUM), _PENDULUM)
    assert signals(_log("pendulum-null"), detector, _PENDULUM) == []


def test_clicks_that_become_more_by_half_are_no_fallen_reward() -> None:
    plan = Plan(bucket_ms=3_600_000, window_buckets=24, horizon_ms=600_000, false_per_day=_BUDGET)
    clicks, switch = _log("zozo-men-switch"), 1_575_158_463_979
    detector = REWARD.build(clicks.between(0, switch).baseline(plan), plan)
    assert signals(clicks, detector, plan) == []


@pytest.mark.slow
def test_a_year_with_seasons_is_silent_against_its_first_four_weeks() -> None:
    plan = Plan(bucket_ms=6 * 3_600_000, window_buckets=28, horizon_ms=7_200_000, false_per_day=_BUDGET)
    year = _log("battery-null")
    start = int(year.ts_ms[0])
    detector = REWARD.build(year.between(start, start + 4 * _WEEK).baseline(plan), plan)
    assert signals(year, detector, plan) == []
    broken = signals(_log("battery-pv-fault"), detector, plan)
    assert broken
    assert broken[0] > 1_675_080_000_000  # the panels fail; the reward shows it in spring only
