"""Users that come back: states and actions stray further than independent decisions would, and the tests know."""

from dataclasses import replace

import numpy as np
import pytest

from detectors.actions.mix import ACTION_MIX
from detectors.arrays import F64, I64
from detectors.features.moments import STATE_MOMENTS
from detectors.measurement import Verdict
from detectors.protocol import Baseline, Plan, Spec, Window
from detectors.rows import BucketRows
from detectors.sequential.charted import Test
from detectors.sequential.vectors import action_test, state_test
from detectors.states.kl import STATE_KL
from detectors.states.mmd import STATE_MMD
from detectors.statistic import stack
from detectors.units import units
from detectors.units.spreads import Between
from detectors.units.units import ActionUnits, StateUnits, of_baseline
from detectors.units.vectors import UNIT_VECTORS, VectorSums
from tests.unit.detectors.streams import decisions, rows

PLAN = Plan(bucket_ms=10_000, window_buckets=20, horizon_ms=60_000, false_per_day=1.0)
PER_BUCKET, USERS = 20, 40  # users of one window of 400 decisions: ten each
WINDOW = PLAN.window_buckets * PER_BUCKET
WIDTH, ACTIONS = 8, 5
LABELS = [str(i) for i in range(ACTIONS)]
RATE = 1 / 2_000


def traffic(
    rng: np.random.Generator, windows: int, effect: float, session: bool = False, each: bool = False
) -> list[BucketRows]:
    """Users with a level of their own in each feature and with favourite actions; design effect 1 + 10 `effect`.

    Each window has forty, who decide at random times in it; or four at a time, within two buckets. each: every
    decision has a unit of its own.
    """
    n = windows * WINDOW
    at = np.arange(n)
    many, life = (4, 2 * PER_BUCKET) if session else (USERS, WINDOW)
    user = rng.integers(many, size=n) + many * (at // life)
    levels = np.sqrt(effect / (1 - effect)) * rng.standard_normal((int(user.max()) + 1, WIDTH))
    state = levels[user] + rng.standard_normal((n, WIDTH))
    usual = 1 / np.arange(1, ACTIONS + 1)
    share = np.tile(usual / usual.sum(), (len(levels), 1))
    if effect:
        share = rng.gamma((1 / effect - 1) * share) + 1e-12
        share /= share.sum(axis=1, keepdims=True)
    action = (rng.random(n)[:, None] > share.cumsum(axis=1)[user]).sum(axis=1).clip(0, ACTIONS - 1)
    return bucket_rows(state, action, hashed(at if each else user))


def hashed(user: I64) -> I64:
    names = np.random.default_rng(99).integers(1, 2**62, int(user.max()) + 1)
    return np.asarray(names[user], np.int64)


def bucket_rows(state: F64, action: I64, unit: I64) -> list[BucketRows]:
    return [
        rows(
            replace(
                decisions(PER_BUCKET, action=action[low : low + PER_BUCKET]),
                state=state[low : low + PER_BUCKET],
                unit=unit[low : low + PER_BUCKET].astype(np.uint64),
            )
        )
        for low in range(0, len(state), PER_BUCKET)
    ]


def baseline_of(spec: Spec, buckets: list[BucketRows], by: int = 1) -> Baseline:
    """by: buckets that are counted as one."""
    sample = [one.decisions for one in buckets]
    whole = replace(
        decisions(sum(len(one) for one in sample), action=np.concatenate([one.action for one in sample])),
        state=np.concatenate([one.state for one in sample]),
    )
    schema = (STATE_MOMENTS.fit(whole, PLAN) if spec.like else {}) | spec.fit(whole, PLAN)
    counter = spec.build(Baseline(schema, {}, (), PLAN.bucket_ms, LABELS), PLAN)
    seen = [counter.observe(one) for one in buckets]
    merged = [spec.statistic.merged(seen[low : low + by]) for low in range(0, len(seen), by)]
    width = PLAN.bucket_ms * by
    return Baseline(schema, stack(merged), [i * width for i in range(len(merged))], width, LABELS)


def known(buckets: list[BucketRows]) -> Plan:
    """A plan that knows what the baseline tells of units."""
    told = of_baseline(baseline_of(UNIT_VECTORS, buckets, PLAN.window_buckets))
    return replace(PLAN, options={units.OPTION: told})


def alarms(test: Test | None, spec: Spec, part: Baseline, live: list[BucketRows], first: bool = False) -> int:
    """How often the test rings over the buckets, begun anew each time; or the buckets until it does."""
    assert test is not None
    counter, state, rings = spec.build(part, PLAN), test.begin(), 0
    for i, one in enumerate(live):
        state, events = test.fold(state, counter.observe(one).arrays(), LABELS)
        if test.measurement(state, events).verdict is Verdict.BREACH:
            if first:
                return i + 1
            state, rings = test.begin(), rings + 1
    return len(live) if first else rings


def test_groups_by_hand() -> None:
    state = np.array([[1.0, 0.0], [3.0, 2.0], [5.0, 4.0], [7.0, 6.0], [np.nan, np.nan]])
    unit = np.array([1, 65, 4, 0, 2], np.uint64)
    table = rows(replace(decisions(5, action=[0, 1, 7, 0, -1]), state=state, unit=unit))
    schema = {
        "center": np.zeros(2), "scale": np.full(2, 2.0), "directions": np.empty((2, 0)), "codes": np.array([0, 7]),
    }  # fmt: skip
    seen = UNIT_VECTORS.build(Baseline(schema, {}, (), 10_000), PLAN).observe(table)
    assert isinstance(seen, VectorSums)
    assert seen.states[1].tolist() == [2.0, 2.0, 1.0]  # 1 and 65 share a group
    assert seen.states[4].tolist() == [1.0, 2.5, 2.0]
    assert seen.states[:, 0].sum() == 3  # one without a unit, one without a state
    assert seen.products[0].tolist() == [0.25 + 2.25, 1.5, 1.0]  # groups 0 to 3
    assert seen.products[1].tolist() == [6.25, 5.0, 4.0]
    assert seen.actions[1].tolist() == [1.0, 0.0, 1.0]
    assert seen.actions[4].tolist() == [0.0, 1.0, 0.0]
    assert seen.all.tolist() == [4.0, 4.0, 5.0]


def test_any_split_of_the_rows_adds_up_to_the_same() -> None:
    buckets = traffic(np.random.default_rng(1), 1, 0.3)
    counter = UNIT_VECTORS.build(baseline_of(UNIT_VECTORS, buckets), PLAN)
    seen = [counter.observe(one) for one in buckets]
    kept = [one for one in seen if isinstance(one, VectorSums)]
    left, right = VectorSums.merged(kept[:7]), VectorSums.merged(kept[7:])
    for name, array in VectorSums.merged(kept).arrays().items():
        np.testing.assert_array_equal((left + right).arrays()[name], array)


def test_variance_between_units_is_that_of_their_sums_in_every_direction() -> None:
    """Users with one level each, ten decisions: a sum strays ten times as much as one of so many independent ones."""
    rng = np.random.default_rng(2)
    level = rng.standard_normal((300, 64, 3))
    n = np.full((300, 64), 10.0)
    found = Between.of(n, 10 * level, 1.0)
    assert found.window == pytest.approx(10.0, rel=0.05)
    assert found.dof == pytest.approx(300 * 63, rel=0.2)
    assert found.whole == pytest.approx(10.0, rel=0.7)  # 64 groups tell a variance to a fifth
    turned = Between.of(n, 10 * level @ np.array([[0.6], [0.8], [0.0]]), 1.0)
    assert turned.window == pytest.approx(found.rows[:, :2] @ [0.6, 0.8] @ (found.rows[:, :2] @ [0.6, 0.8]))


def test_effects_are_those_of_all_directions_unless_one_is_clearly_another() -> None:
    rng = np.random.default_rng(3)
    n = np.full((40, 64), 10.0)
    level = rng.standard_normal((40, 64, 20)) * np.sqrt(np.r_[9.0, np.ones(19)])
    alike = Between.of(n, level * np.sqrt(10), 1.0).effects(np.ones(20), np.full(20, np.inf))
    assert alike.effect[0] == pytest.approx(9.0, rel=0.1)
    assert alike.effect[1:] == pytest.approx(np.ones(19), abs=0.45)
    quiet = Between.of(n, level[:, :, 1:] * np.sqrt(10), 1.0).effects(np.ones(19), np.full(19, np.inf))
    assert (quiet.effect == 1).all()
    assert not len(quiet.rows)


def test_units_that_are_few_or_mostly_missing_say_nothing() -> None:
    buckets = traffic(np.random.default_rng(4), 2, 0.3)
    few = [
        replace(one, decisions=replace(one.decisions, unit=one.decisions.unit % np.uint64(5) + np.uint64(1)))
        for one in buckets
    ]
    unnamed = [
        replace(one, decisions=replace(one.decisions, unit=one.decisions.unit * np.uint64(i % 3 == 0)))
        for i, one in enumerate(buckets)
    ]
    for silent in (few, unnamed):
        assert not of_baseline(baseline_of(UNIT_VECTORS, silent))
    told = of_baseline(baseline_of(UNIT_VECTORS, buckets))
    assert isinstance(told[units.STATES], StateUnits)
    assert isinstance(told[units.ACTIONS], ActionUnits)


def test_sequential_tests_keep_their_budget_where_users_come_back() -> None:
    """Design effects 4 and 7, five windows of baseline. 6 alarms paid for each: 13 or more have a chance of .9 %."""
    rings = {"states": 0, "actions": 0}
    for seed in range(4):
        for effect, session in ((0.3, False), (0.6, False), (0.6, True)):
            rng = np.random.default_rng([5, seed, int(10 * effect), session])
            buckets, live = traffic(rng, 5, effect, session), traffic(rng, 50, effect, session)
            rung = both(buckets, live, known(buckets))
            rings = {name: rings[name] + rung[name] for name in rings}
            if seed == 0 and not session:  # .5 alarms paid for
                unknown = both(buckets, live, PLAN)
                assert unknown["states"] >= 10
                assert unknown["actions"] >= 4
    assert rings["states"] <= 12
    assert rings["actions"] <= 12


def both(buckets: list[BucketRows], live: list[BucketRows], plan: Plan) -> dict[str, int]:
    """How often the tests of states and of actions ring."""
    states, actions = baseline_of(STATE_MOMENTS, buckets), baseline_of(ACTION_MIX, buckets)
    return {
        "states": alarms(state_test(states, plan, RATE, LABELS), STATE_MOMENTS, states, live),
        "actions": alarms(action_test(actions, plan, RATE), ACTION_MIX, actions, live),
    }


def test_units_that_do_not_differ_make_no_test_slower() -> None:
    """A feature moves by half a sd, a fifth of decisions turn to one action: found after at most 5 % more events."""
    took = {"state": [0, 0], "action": [0, 0]}
    for seed in range(4):
        rng = np.random.default_rng([6, seed])
        buckets = traffic(rng, 10, 0.0, each=seed % 2 == 0)
        states, actions = baseline_of(STATE_MOMENTS, buckets), baseline_of(ACTION_MIX, buckets)
        plans = known(buckets), PLAN
        of_states = [state_test(states, plan, RATE, LABELS) for plan in plans]
        of_actions = [action_test(actions, plan, RATE) for plan in plans]
        for _ in range(6):
            live = [moved(one, rng) for one in traffic(rng, 4, 0.0)]
            for i in (0, 1):
                took["state"][i] += alarms(of_states[i], STATE_MOMENTS, states, live, first=True)
                took["action"][i] += alarms(of_actions[i], ACTION_MIX, actions, live, first=True)
    for with_units, without in took.values():
        assert with_units <= 1.05 * without, took


def moved(one: BucketRows, rng: np.random.Generator) -> BucketRows:
    state, action = one.decisions.state.copy(), one.decisions.action.copy()
    state[:, 0] += 0.5
    action[rng.random(len(action)) < 0.2] = 0
    return replace(one, decisions=replace(one.decisions, state=state, action=action))


def test_a_change_is_found_where_users_differ() -> None:
    """Design effect 4: every feature moves by one sd, twice what a window's mean strays by."""
    rng = np.random.default_rng(7)
    buckets = traffic(rng, 5, 0.3)
    part = baseline_of(STATE_MOMENTS, buckets)
    live = [
        replace(one, decisions=replace(one.decisions, state=one.decisions.state + 1.0))
        for one in traffic(rng, 2, 0.3)
    ]
    assert alarms(state_test(part, known(buckets), RATE, LABELS), STATE_MOMENTS, part, live, first=True) < 20


def test_lines_of_windows_know_units() -> None:
    """Design effect 7, five windows of baseline, 60 live ones at 3.6 % a look: 7 or more come once in 150."""
    rng = np.random.default_rng(8)
    buckets, live = traffic(rng, 5, 0.6), traffic(rng, 60, 0.6)
    told = known(buckets)
    passed = {"mmd2": [0, 0], "kl_max": [0, 0], "mix_kl": [0, 0]}
    for spec in (STATE_MMD, STATE_KL, ACTION_MIX):
        part = baseline_of(spec, buckets)
        detectors = [spec.build(part, replace(plan, false_per_day=100.0)) for plan in (told, PLAN)]
        seen = [detectors[0].observe(one) for one in live]
        for low in range(0, len(seen), PLAN.window_buckets):
            some = seen[low : low + PLAN.window_buckets]
            starts = [i * PLAN.bucket_ms for i in range(len(some))]
            window = Window(spec.statistic.merged(some), some, starts, len(some) * PLAN.bucket_ms, LABELS)
            for i, detector in enumerate(detectors):
                for m in detector.measure(window):
                    if m.statistic in passed:
                        passed[m.statistic][i] += m.verdict is Verdict.BREACH
    assert all(with_units <= 6 for with_units, _ in passed.values()), passed
    assert passed["mmd2"][1] > 6, passed
