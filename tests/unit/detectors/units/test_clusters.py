"""Users that come back: window means stray further than independent rows would, and the lines know."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from detectors.arrays import F64, I64
from detectors.budgets.costs import COSTS, CostsDetector
from detectors.critic.critic import CRITIC
from detectors.critic.groups import CRITIC_GROUPS, SEGMENT
from detectors.critic.packed_segments import pack
from detectors.inference.long_run import LongRun
from detectors.measurement import Verdict
from detectors.protocol import Baseline, Plan, Spec, Window
from detectors.rewards.reward import REWARD
from detectors.rows import BucketRows, no_decisions
from detectors.sequential.charted import Test
from detectors.sequential.means import critic_test, reward_test
from detectors.sequential.overestimation import over_test
from detectors.statistic import stack
from detectors.units import clusters
from detectors.units.clusters import CLUSTERS, GROUPS, Clustered, UnitSums, clustered, of_baseline, robust
from tests.unit.detectors.streams import decisions, outcomes, returns, rows

PLAN = Plan(bucket_ms=10_000, window_buckets=20, horizon_ms=60_000, false_per_day=1.0)
PER_BUCKET, USERS = 20, 40  # users of one window of 400 decisions: ten each


def traffic(rng: np.random.Generator, windows: int, effect: float) -> tuple[F64, I64]:
    """Every window has forty users of its own, who decide at random times in it; noise of sd 1."""
    n = windows * PLAN.window_buckets * PER_BUCKET
    window = np.arange(n) // (PLAN.window_buckets * PER_BUCKET)
    user = rng.integers(USERS, size=n) + USERS * window + 1
    quirks = effect * rng.standard_normal(USERS * windows + 1)
    return quirks[user] + rng.standard_normal(n), user


def bucket_rows(reward: F64, user: I64) -> list[BucketRows]:
    """Rewards, and a critic that always says 0."""
    hashed = (user.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(7)
    found = []
    for low in range(0, len(reward), PER_BUCKET):
        part = slice(low, low + PER_BUCKET)
        made = outcomes(reward[part], np.full(PER_BUCKET, np.nan))
        judged = returns(np.zeros(PER_BUCKET), -reward[part])
        found.append(
            rows(
                replace(no_decisions(), ts_ms=np.zeros(PER_BUCKET, np.int64)),
                replace(made, unit=hashed[part]),
                replace(judged, unit=hashed[part]),
            )
        )
    return found


def baseline_of(spec: Spec, buckets: list[BucketRows]) -> Baseline:
    schema = spec.fit(no_decisions(), PLAN)
    counter = spec.build(Baseline(schema, {}, (), PLAN.bucket_ms), PLAN)
    starts = [i * PLAN.bucket_ms for i in range(len(buckets))]
    return Baseline(schema, stack([counter.observe(b) for b in buckets]), starts, PLAN.bucket_ms)


def test_groups_by_hand_and_a_correction_takes_the_old_part_away() -> None:
    made = outcomes(np.array([3.0, 5.0, 7.0]), np.full(3, np.nan), np.array([np.nan, np.nan, 6.0]))
    made = replace(made, unit=np.array([1, 65, 2], np.uint64))
    seen = CLUSTERS.build(None, PLAN).observe(rows(None, made))
    assert isinstance(seen, UnitSums)
    assert seen.reward[:, 1].tolist() == [2.0, 8.0]  # 1 and 65 share a group
    assert seen.reward[:, 2].tolist() == [0.0, 1.0]
    assert seen.all.tolist() == [2.0, 0.0, 0.0]


def test_any_split_of_the_rows_adds_up_to_the_same() -> None:
    reward, user = traffic(np.random.default_rng(1), 1, 1.0)
    counter = CLUSTERS.build(None, PLAN)
    seen = [counter.observe(one) for one in bucket_rows(np.round(reward * 64) / 64, user)]
    buckets = [one for one in seen if isinstance(one, UnitSums)]
    left, right = UnitSums.merged(buckets[:7]), UnitSums.merged(buckets[7:])
    for name, array in UnitSums.merged(buckets).arrays().items():
        np.testing.assert_array_equal((left + right).arrays()[name], array)


def test_independent_rows_have_the_variance_of_one_row_and_few_or_unnamed_units_say_nothing() -> None:
    rng = np.random.default_rng(2)
    sums = np.stack([rng.poisson(5, (200, GROUPS)).astype(np.float64), np.zeros((200, GROUPS))], axis=1)
    sums[:, 1] = np.sqrt(sums[:, 0]) * rng.standard_normal((200, GROUPS))
    found = clustered(sums, float(sums[:, 0].sum()), 20)
    assert found is not None
    assert found.window == pytest.approx(1.0, rel=0.1)
    assert found.whole == pytest.approx(1.0, rel=0.5)
    assert clustered(sums, 3 * float(sums[:, 0].sum()), 20) is None
    assert clustered(sums * (np.arange(GROUPS) < 5), 1.0, 20) is None


def test_noise_between_units_counts_only_where_it_is_beyond_chance() -> None:
    noise = LongRun(1.0, 30.0, 0.0)
    assert robust(noise, Clustered(1.05, 1.0, 200.0)) is noise
    assert robust(noise, None) is noise
    assert robust(noise, Clustered(4.0, 1.0, 200.0)).variance == 4.0


def test_two_standard_errors_cover_the_mean_of_windows_whose_users_have_their_own_level() -> None:
    """Users' sd 1.5, ten decisions each, a baseline of 5 windows; 300 windows: coverage is known to .02."""
    rng = np.random.default_rng(3)
    reward, user = traffic(rng, 5, 1.5)
    buckets = bucket_rows(reward, user)
    units = of_baseline(baseline_of(CLUSTERS, buckets), PLAN.window_buckets)
    live, _ = traffic(rng, 300, 1.5)
    strays = live.reshape(300, -1).mean(axis=1)
    for spec in (REWARD, CRITIC):
        part = baseline_of(spec, buckets)
        covered = {}
        for known in (True, False):
            plan = replace(PLAN, options={clusters.OPTION: units} if known else {})
            covered[known] = np.mean(np.abs(strays - reward.mean()) < 2 * standard_error(spec, part, plan))
        assert 0.92 < covered[True] <= 0.995
        assert covered[False] < 0.8


def standard_error(spec: Spec, part: Baseline, plan: Plan) -> float:
    """Of the mean of one window as the detector itself says it."""
    detector, width = spec.build(part, plan), plan.window_buckets
    series = [spec.statistic.of_arrays({k: v[i] for k, v in part.series.items()}) for i in range(width)]
    window = Window(
        spec.statistic.merged(series), series, part.starts_ms[:width], part.starts_ms[width - 1] + 10_000
    )
    return next(m.error for m in detector.measure(window) if m.statistic in ("mean", "bias"))


def test_costs_of_users_who_always_or_never_complain_are_worth_a_user_each() -> None:
    rng = np.random.default_rng(4)
    plan = replace(PLAN, cost_budgets={"c": (0.5, "decision")})
    user = rng.integers(USERS, size=4000) + USERS * (np.arange(4000) // 400) + 1
    cost = (rng.random(USERS * 10 + 1) < 0.3)[user] * 1.0
    tables = [
        rows(replace(decisions(PER_BUCKET, costs={"c": cost[low : low + PER_BUCKET]}),
                     unit=user[low : low + PER_BUCKET].astype(np.uint64)))
        for low in range(0, 4000, PER_BUCKET)
    ]  # fmt: skip
    sample = decisions(1, costs={"c": np.ones(1)})
    parts = {}
    for spec in (CLUSTERS, COSTS):
        schema = spec.fit(sample, plan)
        counter = spec.build(Baseline(schema, {}, (), plan.bucket_ms), plan)
        starts = [i * plan.bucket_ms for i in range(len(tables))]
        parts[spec.name] = Baseline(
            schema, stack([counter.observe(t) for t in tables]), starts, plan.bucket_ms
        )
    units = {clusters.OPTION: of_baseline(parts[clusters.NAME], plan.window_buckets)}
    found = COSTS.build(parts["costs"], replace(plan, options=units))
    assert isinstance(found, CostsDetector)
    assert found.inflation[0] == pytest.approx(10.0, rel=0.25)  # ten decisions of a user say one thing


def test_sequential_tests_keep_their_budget_where_users_come_back() -> None:
    """Design effect 7 (2.6 squared). 12 alarms paid for: 21 or more have a chance of 1 %; 106 without knowing units."""
    rate, rings = 1 / 2_000, {"reward": 0, "critic": 0, "unknown": 0}
    for seed in range(8):
        rng = np.random.default_rng([5, seed])
        reward, user = traffic(rng, 5, 1.5)
        buckets = bucket_rows(reward, user)
        units = of_baseline(baseline_of(CLUSTERS, buckets), PLAN.window_buckets)
        plan = replace(PLAN, options={clusters.OPTION: units})
        rewards, errors = baseline_of(REWARD, buckets), baseline_of(CRITIC, buckets)
        live = bucket_rows(*traffic(rng, 150, 1.5))
        rings["reward"] += alarms(reward_test(rewards, plan, rate), REWARD, rewards, live)
        rings["critic"] += alarms(critic_test(errors, plan, rate, 0), CRITIC, errors, live)
        rings["unknown"] += alarms(reward_test(rewards, PLAN, rate), REWARD, rewards, live)
        lower, who = traffic(rng, 20, 1.5)
        fallen = bucket_rows(lower - 3.0, who)
        assert alarms(reward_test(rewards, plan, rate), REWARD, rewards, fallen) > 0
    assert rings["reward"] <= 21
    assert rings["critic"] <= 21
    assert rings["unknown"] > 36


def test_over_estimation_by_segment_keeps_its_budget_where_users_of_a_segment_come_back() -> None:
    """Design effect 4 to 7. 8 alarms paid for, 15 or more have a chance of 2 %; without knowing units many more."""
    rate, rings = 1 / 2_000, {True: 0, False: 0}
    for seed in range(4):
        for effect in (0.7, 1.5):
            rng = np.random.default_rng([6, seed])
            buckets, live = of_segments(rng, 5, effect), of_segments(rng, 100, effect)
            part = replace(baseline_of(CRITIC_GROUPS, buckets), segments=SITES)
            units = {clusters.OPTION: of_baseline(baseline_of(CLUSTERS, buckets), PLAN.window_buckets)}
            for known in (True, False):
                plan = replace(PLAN, options=units if known else {})
                test = over_test(part, plan, rate, 0, SEGMENT)
                if test is not None:
                    rings[known] += alarms(test, CRITIC_GROUPS, part, live, SITES)
    assert rings[True] < 15
    assert rings[False] > 40


SITES = ("site=a", "site=b", "site=c", "site=d")


def of_segments(rng: np.random.Generator, windows: int, effect: float) -> list[BucketRows]:
    """Each user lies in one of four segments."""
    reward, user = traffic(rng, windows, effect)
    packed, _ = pack([np.asarray(user % 4, np.int64)])
    return [
        replace(one, returns=replace(one.returns, segments=packed[i * PER_BUCKET : (i + 1) * PER_BUCKET]))
        for i, one in enumerate(bucket_rows(reward, user))
    ]


def alarms(
    test: Test | None, spec: Spec, part: Baseline, live: list[BucketRows], names: Sequence[str] = ()
) -> int:
    """How often the test rings over the buckets; begun anew each time."""
    assert test is not None
    counter, state, rings = spec.build(part, PLAN), test.begin(), 0
    for one in live:
        state, events = test.fold(state, counter.observe(one).arrays(), names)
        if test.measurement(state, events).verdict is Verdict.BREACH:
            state, rings = test.begin(), rings + 1
    return rings
