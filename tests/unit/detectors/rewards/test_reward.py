from dataclasses import replace

import numpy as np
import pytest

from detectors.arrays import F64
from detectors.measurement import Measurement, Verdict
from detectors.protocol import Detector, Plan, Window
from detectors.rewards import reference as reward_reference
from detectors.rewards.reward import REWARD, RewardStatistic
from tests.unit.detectors.reward_stream import Stream, count, rows, signals

_PLAN = Plan(bucket_ms=10_000, window_buckets=60, horizon_ms=60_000, false_per_day=1 / 30)
_HOUR = 3_600_000


def _stream(rewards: np.ndarray, delays: np.ndarray, gap_ms: int = 1000) -> Stream:
    return Stream(np.arange(len(rewards), dtype=np.int64) * gap_ms, rewards, delays.astype(np.int64))


def _last(stream: Stream, detector: Detector, plan: Plan, statistic: str = "mean") -> Measurement:
    window = list(stream.windows(detector, plan, every=10**9))[-1]
    return _measured(detector, window, statistic)


def _measured(detector: Detector, window: Window, statistic: str = "mean", subject: str = "") -> Measurement:
    return next(m for m in detector.measure(window) if (m.statistic, m.subject) == (statistic, subject))


def _one_window(statistic: RewardStatistic, plan: Plan = _PLAN) -> Window:
    return Window(statistic, [statistic], [0], plan.bucket_ms)


def test_statistic_of_three_rewards_by_hand() -> None:
    detector = REWARD.build(None, _PLAN)
    statistic = count(detector, rows(5, np.array([1.0, 3.0, -2.0]), np.array([0, 10, 99_999])))
    assert statistic.decisions.tolist() == [5.0]
    assert statistic.moments[:, 0].tolist() == [3.0, 2.0, 14.0]
    assert statistic.delay.sum(axis=1).tolist() == [3.0, 2.0]
    assert statistic.delay[:, -1].tolist() == [1.0, -2.0]
    assert statistic.sketch.sum() == 3.0


def test_a_corrected_reward_replaces_what_it_was() -> None:
    detector = REWARD.build(None, _PLAN)
    first = rows(1, np.array([5.0]), np.array([10]))
    second = rows(0, np.array([2.0]), np.array([500]))
    second = replace(second, outcomes=replace(second.outcomes, reward_before=np.array([5.0])))
    both = count(detector, first) + count(detector, second)
    assert both.moments[:, 0].tolist() == [1.0, 2.0, 4.0]
    assert _measured(detector, _one_window(both), "p50").value == pytest.approx(2.0, rel=0.01)


def test_components_are_measured_by_name_and_unknown_ones_passed_over() -> None:
    plan = replace(_PLAN, options={"components": ("comfort", "price")})
    detector = REWARD.build(None, plan)
    new = rows(2, np.array([1.0, 3.0]), np.array([1, 1]))
    nan = np.full(2, np.nan)
    parts = {"comfort": (nan, np.array([0.5, 1.5])), "weather": (nan, np.array([9.0, 9.0]))}
    statistic = count(detector, replace(new, outcomes=replace(new.outcomes, components=parts)))
    assert _measured(detector, _one_window(statistic), "component_mean", "comfort").value == 1.0
    assert _measured(detector, _one_window(statistic), "component_mean", "price").verdict is Verdict.UNKNOWN
    assert not [m for m in detector.measure(_one_window(statistic)) if m.subject == "weather"]


def test_an_infinite_reward_is_missing_not_poison() -> None:
    detector = REWARD.build(None, _PLAN)
    statistic = count(detector, rows(3, np.array([np.inf, 1e200, 4.0]), np.array([1, 1, 1])))
    assert _measured(detector, _one_window(statistic)).value == 4.0


def test_moving_average_halves_its_weights_every_half_life() -> None:
    plan = replace(_PLAN, options={"half_life_buckets": 1})
    detector = REWARD.build(None, plan)
    parts = [count(detector, rows(1, np.array([value]), np.array([1]))) for value in (0.0, 3.0)]
    window = Window(RewardStatistic.merged(parts), parts, [0, 10_000], 20_000)
    assert _measured(detector, window, "ewma").value == pytest.approx((0.5 * 0 + 1 * 3) / 1.5)


def test_without_a_baseline_the_mean_is_told_but_unknown() -> None:
    mean = _last(_stream(np.ones(500), np.zeros(500)), REWARD.build(None, _PLAN), _PLAN)
    assert (mean.verdict, mean.value) == (Verdict.UNKNOWN, 1.0)
    assert "no baseline" in mean.reason


def test_too_few_rewards_are_unknown_with_the_numbers() -> None:
    base = _stream(np.random.default_rng(1).normal(size=5000), np.zeros(5000)).baseline(_PLAN)
    mean = _last(_stream(np.full(20, -9.0), np.zeros(20)), REWARD.build(base, _PLAN), _PLAN)
    assert mean.verdict is Verdict.UNKNOWN
    assert mean.reason == "20 rewards in the window, 30 needed"


def test_a_baseline_without_rewards_says_so() -> None:
    base = _stream(np.full(5000, np.nan), np.zeros(5000)).baseline(_PLAN)
    mean = _last(_stream(np.zeros(500), np.zeros(500)), REWARD.build(base, _PLAN), _PLAN)
    assert mean.verdict is Verdict.UNKNOWN
    assert "baseline holds 0 rewards" in mean.reason


def test_a_fallen_mean_is_a_breach_with_a_reason_and_a_stationary_one_is_ok() -> None:
    generator = np.random.default_rng(2)
    detector = REWARD.build(_stream(generator.normal(size=5000), np.zeros(5000)).baseline(_PLAN), _PLAN)
    same = _last(_stream(generator.normal(size=1000), np.zeros(1000)), detector, _PLAN)
    fallen = _last(_stream(generator.normal(-0.6, 1, size=1000), np.zeros(1000)), detector, _PLAN)
    assert (same.verdict, fallen.verdict) == (Verdict.OK, Verdict.BREACH)
    assert (fallen.hold_buckets, fallen.n) == (0, 600)
    assert "line" in fallen.reason
    assert "baseline" in fallen.reason
    assert fallen.severity > 1


def test_line_is_two_standard_errors_of_the_window_and_the_baseline() -> None:
    generator = np.random.default_rng(3)
    detector = REWARD.build(_stream(generator.normal(size=5000), np.zeros(5000)).baseline(_PLAN), _PLAN)
    mean = _last(_stream(generator.normal(size=1000), np.zeros(1000)), detector, _PLAN)
    assert mean.error == pytest.approx(np.sqrt(1 / 600 + 1 / 5000), rel=0.3)
    assert mean.threshold == pytest.approx(-2.05 * mean.error, abs=0.06)


def test_one_outlier_is_no_fallen_mean() -> None:
    generator = np.random.default_rng(4)
    detector = REWARD.build(_stream(generator.normal(size=5000), np.zeros(5000)).baseline(_PLAN), _PLAN)
    live = generator.normal(size=1000)
    live[900] = -300.0
    mean = _last(_stream(live, np.zeros(1000)), detector, _PLAN)
    assert mean.value < mean.threshold
    assert mean.verdict is Verdict.OK


def test_a_baseline_without_any_noise_still_has_a_line() -> None:
    detector = REWARD.build(_stream(np.ones(5000), np.zeros(5000)).baseline(_PLAN), _PLAN)
    assert _last(_stream(np.ones(800), np.zeros(800)), detector, _PLAN).verdict is Verdict.OK
    assert _last(_stream(np.full(800, 0.9), np.zeros(800)), detector, _PLAN).verdict is Verdict.BREACH


def _hourly(
    generator: np.random.Generator, n: int, mean_h: float, rewards: np.ndarray | None = None
) -> Stream:
    delays = np.minimum(generator.exponential(mean_h * _HOUR, size=n), 12 * _HOUR)
    return _stream(generator.normal(1.0, 0.5, n) if rewards is None else rewards, delays, gap_ms=6000)


_SLOW = Plan(bucket_ms=60_000, window_buckets=60, horizon_ms=12 * _HOUR, false_per_day=1 / 30)


def test_delay_of_an_hour_in_a_window_of_an_hour_biases_nothing() -> None:
    generator = np.random.default_rng(5)
    detector = REWARD.build(_hourly(generator, 20_000, 1.0).baseline(_SLOW), _SLOW)
    live = _hourly(generator, 3000, 1.0)
    windows = list(live.windows(detector, _SLOW, every=10))[6:]
    means = [_measured(detector, w) for w in windows]
    naive = np.mean([w.total.moments[1, 0] / w.total.decisions[0] for w in windows])
    assert np.mean([m.value for m in means]) == pytest.approx(1.0, rel=0.02)
    assert naive < 0.5
    assert not [
        m
        for m in means
        if m.verdict is Verdict.UNKNOWN or (m.verdict is Verdict.BREACH and not m.hold_buckets)
    ]


def test_fast_positives_and_negatives_by_time_out_bias_nothing_and_a_fall_is_still_found() -> None:
    # Clicks within a minute, the rest 0 after 40 minutes: what is joined in the hour is far too rosy.
    generator = np.random.default_rng(6)

    def clicks(n: int, rate: float) -> Stream:
        hit = generator.random(n) < rate
        delay = np.where(hit, generator.exponential(60_000, n), 40 * 60_000)
        return _stream(hit * 1.0, delay, gap_ms=2000)

    plan = replace(_SLOW, horizon_ms=_HOUR)
    detector = REWARD.build(clicks(40_000, 0.1).baseline(plan), plan)
    same, fallen = (list(clicks(6000, rate).windows(detector, plan, every=10))[10:] for rate in (0.1, 0.03))
    naive = np.mean([w.total.moments[1, 0] / w.total.moments[0, 0] for w in same])
    verdicts = [_measured(detector, w) for w in same]
    assert naive > 0.15
    assert np.mean([m.value for m in verdicts]) == pytest.approx(0.1, abs=0.02)
    assert {m.verdict for m in verdicts} == {Verdict.OK}
    assert {_measured(detector, w).verdict for w in fallen} == {Verdict.BREACH}


def test_slower_rewards_are_late_not_lower() -> None:
    generator = np.random.default_rng(7)
    rewards = generator.normal(1.0, 0.5, 20_000)
    detector = REWARD.build(_hourly(generator, 20_000, 1.0, rewards).baseline(_SLOW), _SLOW)
    mean = _last(_hourly(generator, 3000, 3.0), detector, _SLOW)
    assert mean.verdict is Verdict.UNKNOWN
    assert mean.reason.startswith("rewards are late, not lower: ")


def test_late_rewards_do_not_hide_a_fall_among_the_matured() -> None:
    generator = np.random.default_rng(8)
    plan = replace(_PLAN, horizon_ms=120_000)
    base = _stream(generator.normal(size=6000), generator.exponential(10_000, 6000)).baseline(plan)
    live = _stream(generator.normal(-2, 1, size=1500), generator.exponential(80_000, 1500))
    mean = _last(live, REWARD.build(base, plan), plan)
    assert mean.verdict is Verdict.BREACH


def test_stopped_rewards_are_missing_not_zero() -> None:
    generator = np.random.default_rng(9)
    base = _stream(generator.normal(1, 1, 6000), generator.exponential(2000, 6000)).baseline(_PLAN)
    mean = _last(_stream(np.full(900, np.nan), np.zeros(900)), REWARD.build(base, _PLAN), _PLAN)
    assert mean.verdict is Verdict.UNKNOWN
    assert mean.reason.startswith("rewards are missing, not lower: 0 arrived where ")


def test_a_window_too_young_for_its_rewards_is_unknown() -> None:
    generator = np.random.default_rng(10)
    plan = replace(_SLOW, window_buckets=5)
    detector = REWARD.build(_hourly(generator, 20_000, 1.0).baseline(plan), plan)
    mean = _last(_hourly(generator, 500, 1.0), detector, plan)
    assert mean.verdict is Verdict.UNKNOWN
    assert mean.reason.startswith("too early to tell: ")


def test_missing_as_zero_counts_a_decision_without_reward_at_its_horizon_and_not_before() -> None:
    plan = replace(_PLAN, options={"missing_reward": "zero"})
    generator = np.random.default_rng(11)

    def clicks(n: int, rate: float) -> Stream:
        return _stream(
            np.where(generator.random(n) < rate, 1.0, np.nan), generator.exponential(5000, n), gap_ms=100
        )

    detector = REWARD.build(clicks(60_000, 0.2).baseline(plan), plan)
    same, fallen = _last(clicks(9000, 0.2), detector, plan), _last(clicks(9000, 0.15), detector, plan)
    assert same.value == pytest.approx(0.2, abs=0.02)
    assert (same.verdict, fallen.verdict) == (Verdict.OK, Verdict.BREACH)
    assert fallen.value == pytest.approx(0.15, abs=0.02)


def test_decision_sigma_puts_the_line_at_single_rewards() -> None:
    plan = replace(_PLAN, sigma_of="decision", sigma=0.5)
    generator = np.random.default_rng(12)
    detector = REWARD.build(_stream(generator.normal(5, 2, size=5000), np.zeros(5000)).baseline(plan), plan)
    mean = _last(_stream(generator.normal(5, 2, size=900), np.zeros(900)), detector, plan)
    assert mean.threshold == pytest.approx(5 - 0.5 * 2, abs=0.15)


def test_a_drop_of_one_deviation_fires_within_twenty_buckets_and_never_before() -> None:
    generator = np.random.default_rng(13)
    detector = REWARD.build(_stream(generator.normal(size=5000), np.zeros(5000)).baseline(_PLAN), _PLAN)
    live = generator.normal(size=4000)
    live[2000:] -= 1.0
    fired = signals(_stream(live, np.zeros(4000)), detector, _PLAN)
    assert fired
    assert 2_000_000 < fired[0] <= 2_200_000


@pytest.mark.parametrize("buckets", [60, 300, 1000])
def test_tails_that_are_chance_take_no_depth_and_heavy_tails_do(buckets: int) -> None:
    """At depth 5.8, 100 series of normal noise: the worst scale of each loses more than 5 in fewer than one of ten."""
    rng = np.random.default_rng(buckets)
    joined = np.full(buckets, 100.0)
    normal = [_worst_excess(rng.normal(size=buckets) * 10, joined) for _ in range(100)]
    assert np.mean(np.array(normal) > 5.0) < 0.1
    heavy = [_worst_excess(-rng.lognormal(sigma=1.5, size=buckets) * 10, joined) for _ in range(20)]
    assert np.median(heavy) > 5.0


def _worst_excess(residuals: F64, joined: F64) -> float:
    z = 5.8
    rows = reward_reference._lower_tails(residuals - residuals.mean(), joined)
    return float(max(skew * (z**2 - 1) / 6 + kurtosis * (z**3 - 3 * z) / 24 for _, skew, kurtosis in rows))
