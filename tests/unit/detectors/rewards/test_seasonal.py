"""The season is learnt from the baseline's own buckets, taken off, and its uncertainty is paid for."""

from dataclasses import replace

import numpy as np
import pytest

from detectors.actions.mix import ACTION_MIX
from detectors.arrays import F64, I32
from detectors.measurement import Verdict
from detectors.protocol import Baseline, Detector, Plan, Spec, Window
from detectors.rewards.deseasonalised import Deseasonalised, without_season
from detectors.rewards.reward import REWARD
from detectors.rewards.seasonal import HOUR_MS, learn, why_not
from detectors.rows import Decisions
from detectors.sequential.means import reward_test
from detectors.states.kl import STATE_KL
from detectors.states.mmd import STATE_MMD
from detectors.statistic import Statistic, stack
from tests.unit.detectors.season_stream import PLAN, WEEK, rewards, signals
from tests.unit.detectors.state_stream import decisions, rows_of

HOURS = [hour * HOUR_MS for hour in range(48)]


def freed(spec: Spec, baseline: Baseline, plan: Plan, season: str) -> Detector:
    part, seasons = without_season(baseline, spec.rates, plan.bucket_ms, season)
    assert seasons is not None
    return Deseasonalised(spec.build(part, replace(plan, options={"season": season})), seasons)


def test_two_days_without_noise_by_hand() -> None:
    sums = np.where(np.arange(48) % 24 == 6, 25.0, 1.0)  # one event an hour; mean 2, the seventh hour 23 more
    learnt = learn(sums[:, None], np.ones((48, 1)), HOURS, HOUR_MS, "hour-of-day")
    assert learnt is not None
    effects = learnt.profile.effects_at(HOURS)[:24, 0]
    assert effects == pytest.approx(np.where(np.arange(24) == 6, 23.0, -1.0))
    assert learnt.own[:, 0] == pytest.approx(np.tile(effects, 2))
    half_past = learnt.profile.effects_at([6 * HOUR_MS + HOUR_MS // 2])[0, 0]
    assert half_past == pytest.approx((23.0 - 1.0) / 2)  # halfway to the next hour's centre
    assert learnt.profile.mixed(HOURS[:2], np.array([1.0, 3.0]), HOUR_MS) == pytest.approx([-4.0])


def test_hours_that_are_chance_are_shrunk_to_nothing() -> None:
    rng = np.random.default_rng(1)
    hours = [hour * HOUR_MS for hour in range(24 * 10)]
    learnt = learn(rng.standard_normal((240, 40)), np.ones((240, 1)), hours, HOUR_MS, "hour-of-day")
    assert learnt is not None
    plain = 1 / np.sqrt(10)
    assert np.sqrt(np.mean(learnt.profile.effects**2)) < 0.3 * plain


def test_an_hour_without_data_lies_between_its_neighbours() -> None:
    kept = [hour for hour in range(96) if hour % 24 != 3]
    sums = np.array([float(hour % 24) for hour in kept])[:, None]
    starts = [hour * HOUR_MS for hour in kept]
    learnt = learn(sums, np.ones((len(kept), 1)), starts, HOUR_MS, "hour-of-day")
    assert learnt is not None
    low, middle, high = learnt.profile.effects[2:5, 0]
    assert middle == pytest.approx((low + high) / 2)


def test_a_baseline_too_short_for_its_season_says_the_length_that_would_do() -> None:
    assert "needs 14 d of baseline to tell the season from chance, it covers 2 d" in why_not(
        HOURS, HOUR_MS, "hour-of-week"
    )
    assert why_not(HOURS, HOUR_MS, "hour-of-day") == ""
    assert learn(np.ones((48, 1)), np.ones((48, 1)), HOURS, HOUR_MS, "hour-of-week") is None


def test_a_weekly_cycle_of_thirty_percent_is_silent_for_eight_weeks_and_a_tenth_less_is_found() -> None:
    """A budget of one false signal in 300 days: 8 weeks cost .19 of one.

    Measured over 25 baselines and 40 weeks each: 9 signals where the budget allows 23."""
    past = rewards(1, 0, 4)
    detector = freed(REWARD, past, PLAN, "hour-of-week")
    plain = REWARD.build(past, PLAN)
    assert signals(detector, rewards(12, 4 * WEEK, 8)) == []
    for seed, begun in ((3, 4 * WEEK), (4, 4 * WEEK + 60), (5, 4 * WEEK + 120)):
        fallen = rewards(seed, begun, 0.3, step=0.9)
        assert signals(detector, fallen)[0] <= 12
        assert signals(plain, fallen) == []  # the cycle as noise hides it


def test_the_sequential_test_sees_the_same_season_taken_off() -> None:
    past, plan = rewards(6, 0, 4, clicks=True), replace(PLAN, options={"season": "hour-of-week"})
    part, seasons = without_season(past, REWARD.rates, HOUR_MS, "hour-of-week")
    test = reward_test(part, plan, per_bucket=1 / (300 * 24))
    assert seasons is not None
    assert test is not None

    def rings(stream: Baseline) -> list[int]:
        state, rung = test.begin(), []
        for i, start in enumerate(stream.starts_ms):
            arrays = {name: np.asarray(array[i], np.float64) for name, array in stream.series.items()}
            state, events = test.fold(state, seasons.bucket(start, arrays), ())
            if test.measurement(state, events).verdict is Verdict.BREACH:
                rung.append(i)
        return rung

    assert rings(rewards(7, 4 * WEEK, 8, clicks=True)) == []
    assert rings(rewards(8, 4 * WEEK, 1, step=0.9, clicks=True))[0] <= 160


def test_what_other_weeks_say_leaves_more_noise_than_what_a_week_says_of_itself() -> None:
    past = rewards(9, 0, 2)
    moments = np.asarray(past.series["moments"], np.float64)
    sums, counts = moments[:, 1], moments[:, 0]
    learnt = learn(sums, counts, past.starts_ms, HOUR_MS, "hour-of-week")
    assert learnt is not None
    mean = sums.sum() / counts.sum()
    others = np.var((sums - counts * (mean + learnt.own)) / np.sqrt(counts))
    itself = np.var((sums - counts * (mean + learnt.profile.effects_at(past.starts_ms))) / np.sqrt(counts))
    assert itself < 0.6 * 0.25 < 0.25 < others < 3.2 * 0.25


def daily(seed: int, first: int, days: int, moved: float = 0.0) -> tuple[list[int], list[tuple[F64, I32]]]:
    """Per hour 60 states of 3 features and actions out of 5, both following the day."""
    rng = np.random.default_rng(seed)
    starts, found = [], []
    for hour in range(first, first + 24 * days):
        phase = 2 * np.pi * hour / 24
        state = rng.standard_normal((60, 3)) + np.array([np.sin(phase) + moved, np.cos(phase), 0.0])
        law = np.array([0.3 + 0.25 * np.sin(phase), 0.3 - 0.25 * np.sin(phase), 0.2, 0.1, 0.1])
        law[2:4] += moved * np.array([-0.25, 0.25])
        starts.append(hour * HOUR_MS)
        found.append((state, rng.choice(5, 60, p=law).astype(np.int32)))
    return starts, found


def table(state: F64, action: I32) -> Decisions:
    return decisions(len(action), state=state, action=action)


@pytest.mark.parametrize(
    ("spec", "statistic"), [(STATE_KL, "kl_max"), (STATE_MMD, "mmd2"), (ACTION_MIX, "mix_kl")]
)
def test_states_and_actions_that_follow_the_day_are_silent_and_a_step_on_top_is_found(
    spec: Spec, statistic: str
) -> None:
    plan = Plan(HOUR_MS, 6, 60_000, false_per_day=1 / 300)
    starts, hours = daily(1, 0, 14)
    everything = table(np.concatenate([state for state, _ in hours]), np.concatenate([a for _, a in hours]))
    schema = spec.fit(everything, plan)
    counter = spec.build(Baseline(schema, {}, (), HOUR_MS), plan)

    def counted(rows: list[tuple[F64, I32]]) -> list[Statistic]:
        return [counter.observe(rows_of(table(state, action))) for state, action in rows]

    baseline = Baseline(schema, stack(counted(hours)), starts, HOUR_MS)
    detector, plain = freed(spec, baseline, plan, "hour-of-day"), spec.build(baseline, plan)

    def severities(judge: Detector, moved: float, days: int) -> F64:
        starts, hours = daily(2, 24 * 14, days, moved)
        buckets, said = counted(hours), []
        for end in range(6, len(buckets) + 1):
            inside = buckets[end - 6 : end]
            window = Window(
                spec.statistic.merged(inside), inside, starts[end - 6 : end], starts[end - 1] + HOUR_MS
            )
            said += [m.severity for m in judge.measure(window) if m.statistic == statistic]
        return np.array(said)

    assert severities(detector, 0.0, 14).max() < 1
    moved = severities(detector, 0.6, 2)
    assert np.mean(moved > 1) > 0.7
    assert np.median(moved) > 2 * np.median(severities(plain, 0.6, 2))  # the cycle as noise all but hides it
