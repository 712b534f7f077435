"""Over-estimation by action and by segment: found, named, and at its price whatever traffic does."""

import re
from dataclasses import replace

import numpy as np
import pytest

from detectors.arrays import F64
from detectors.critic import critic
from detectors.critic.groups import ACTION, CRITIC_GROUPS, SEGMENT
from detectors.critic.packed_segments import pack
from detectors.measurement import Measurement, Verdict
from detectors.protocol import Baseline, Plan
from detectors.rows import BucketRows
from detectors.sequential.charted import Reading, Test
from detectors.sequential.overestimation import OverEstimates, over_test
from detectors.units.clusters import OPTION, Clustered
from tests.unit.detectors.streams import PLAN, baseline_of, returns, rows

ACTIONS = ("a", "b", "c", "d", "e")
SITES = ("site=north", "site=south", "site=east", "device=mobile")
PER_BUCKET = 1 / 500


def bucket(
    rng: np.random.Generator,
    n: int = 20,
    action: float = 0.0,
    segment: float = 0.0,
    shares: F64 | None = None,
    tailed: bool = False,
) -> BucketRows:
    """Five actions, three sites, mobile or not. action: added to the errors of "b"; segment: to those of the east."""
    taken, site = rng.choice(5, n, p=shares), rng.integers(0, 3, n)
    error = rng.standard_t(3, n) if tailed else rng.standard_normal(n)
    error = error + action * (taken == 1) + segment * (site == 2)
    value = rng.standard_normal(n)
    packed, _ = pack([site, np.where(rng.random(n) < 0.5, 3, -1)])
    return rows(returns=returns(value, value - error, action=taken, segments=packed))


def baseline(rng: np.random.Generator, buckets: int = 300, tailed: bool = False) -> Baseline:
    made = baseline_of(CRITIC_GROUPS, [bucket(rng, tailed=tailed) for _ in range(buckets)])
    return replace(made, labels=ACTIONS, segments=SITES)


def fitted(part: Baseline, kind: str, plan: Plan = PLAN) -> Test:
    found = over_test(part, plan, PER_BUCKET, 0, kind)
    assert found is not None
    return found


def folded(test: Test, live: list[BucketRows], names: tuple[str, ...], state: F64 | None = None) -> F64:
    counting = CRITIC_GROUPS.build(None, PLAN)
    state = test.begin() if state is None else state
    for i, one in enumerate(live):
        state, _ = test.fold(state, counting.observe(one).arrays(), names, 1_767_225_600_000.0 + i * 10_000)
    return state


def first_breach(
    test: Test, live: list[BucketRows], names: tuple[str, ...]
) -> tuple[int, Measurement] | None:
    state = test.begin()
    for i, one in enumerate(live):
        state = folded(test, [one], names, state)
        found = test.measurement(state, 20)
        if found.verdict is Verdict.BREACH:
            return i, found
    return None


@pytest.mark.parametrize(
    ("kind", "change", "name", "names"),
    [
        (ACTION, (1.0, 0.0), "action b", ACTIONS),
        (SEGMENT, (0.0, 1.0), "site=east", SITES),
    ],
)
def test_the_group_that_is_promised_too_much_is_found_and_named(
    kind: str, change: tuple[float, float], name: str, names: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(1)
    test = fitted(baseline(rng), kind)
    assert test.measurement(folded(test, [bucket(rng) for _ in range(50)], names), 20).verdict is Verdict.OK
    found = first_breach(test, [bucket(rng, 20, *change) for _ in range(60)], names)
    assert found is not None
    after, m = found
    assert after < 20
    assert m.culprits[0].name == name
    said = re.fullmatch(
        rf"the critic over-estimates in {name}: its mean of value - target has been ([\d.]+) ± ([\d.]+) above its"
        r" baseline -?[\d.e-]+ since 2026-01-01 00:\d\d:\d\d UTC \(about (\d+) of its decisions\)",
        m.reason,
    )
    assert said is not None, m.reason
    by, error, n = (float(part) for part in said.groups())
    assert abs(by - 1.0) < 4 * error
    assert error == pytest.approx(n**-0.5, rel=0.6)


@pytest.mark.parametrize("kind", [ACTION, SEGMENT])
def test_only_over_estimation_counts(kind: str) -> None:
    rng = np.random.default_rng(2)
    names = ACTIONS if kind == ACTION else SITES
    live = [bucket(rng, action=-1.0, segment=-1.0) for _ in range(100)]
    assert first_breach(fitted(baseline(rng), kind), live, names) is None


def test_a_fold_that_is_cut_and_gone_on_with_is_the_same() -> None:
    rng = np.random.default_rng(3)
    test, live = fitted(baseline(rng), SEGMENT), [bucket(rng, n=3) for _ in range(40)]
    whole = folded(test, live, SITES)
    state = test.begin()
    counting = CRITIC_GROUPS.build(None, PLAN)
    for i, one in enumerate(live):
        state, _ = test.fold(
            state.copy(), counting.observe(one).arrays(), SITES, 1_767_225_600_000.0 + i * 10_000
        )
    np.testing.assert_array_equal(whole, state)


def test_a_step_worked_by_hand() -> None:
    """Two groups, one shift: the first has enough decisions for a step, the second waits for more."""
    chart = OverEstimates(
        ["x", "y"], mean=np.array([0.5, 0.0]), reach=np.array([4.0, 4.0]), bias=np.zeros(2), sd=np.array([2.0, 1.0]),
        size=np.array([4.0, 4.0]), least=np.array([4.0, 4.0]), usual=np.array([4.0, 1.0]), shifts=np.array([1.0]),
        lines=np.full((2, 1), 9.0),
    )  # fmt: skip
    state = chart.step(chart.begin(), Reading(7, [np.array([[4.0, 3.0], [10.0, 3.0]])]), 5.0)
    # x: (10 - 4 * .5) / (2 * sqrt(4)) = 2 standard deviations of a usual step, less half of the shift
    assert state[:2].tolist() == [1.5, 0.0]
    assert state[-4:].tolist() == [0.0, 3.0, 0.0, 3.0]
    state = chart.step(state, Reading(3, [np.array([[0.0, 3.0], [0.0, 5.0]])]), 6.0)
    # y: 6 decisions are a step and a half: 8 / sqrt(4), less 1.5 halves
    assert state[:2].tolist() == [1.5, 3.25]
    assert state[-4:].tolist() == [0.0] * 4
    assert chart.severity(state) == pytest.approx(3.25 / 9)


@pytest.mark.parametrize("tailed", [False, True])
def test_false_alarms_stay_within_their_price(tailed: bool) -> None:
    """6 baselines of 300 buckets, 1,000 quiet buckets each: 12 alarms are paid for, 21 have a chance of 1 %."""
    assert sum(_rings(seed, tailed=tailed) for seed in range(6)) < 21


def test_traffic_that_moves_between_groups_or_grows_is_no_alarm() -> None:
    """A rare action becomes the most frequent; everything comes ten times as often: 8 are paid for, 16 rare."""
    shares = np.array([0.02, 0.02, 0.02, 0.04, 0.9])
    rings = sum(_rings(seed, shares=shares) for seed in range(2))
    rings += sum(_rings(seed, n=200) for seed in range(2))
    assert rings < 16


def _rings(seed: int, n: int = 20, shares: F64 | None = None, tailed: bool = False) -> int:
    rng = np.random.default_rng(seed)
    test, counting = fitted(baseline(rng, tailed=tailed), ACTION), CRITIC_GROUPS.build(None, PLAN)
    state, rings = test.begin(), 0
    for _ in range(1_000):
        live = bucket(rng, n, shares=shares, tailed=tailed)
        state, _ = test.fold(state, counting.observe(live).arrays(), ACTIONS)
        if test.charts[0].severity(state) >= 1:
            state, rings = test.begin(), rings + 1
    return rings


def test_groups_that_are_rare_or_the_whole_have_no_sums_of_their_own() -> None:
    rng = np.random.default_rng(4)
    made = [bucket(rng, 10, shares=np.array([0.96, 0.03, 0.005, 0.005, 0.0])) for _ in range(500)]
    part = replace(baseline_of(CRITIC_GROUPS, made), labels=ACTIONS, segments=SITES)
    found = over_test(part, PLAN, PER_BUCKET, 0, ACTION)
    assert found is not None
    (chart,) = found.charts
    assert isinstance(chart, OverEstimates)
    assert list(chart.names) == ["action b"]
    alone = [rows(returns=returns(np.ones(10), rng.standard_normal(10))) for _ in range(100)]
    assert over_test(baseline_of(CRITIC_GROUPS, alone), PLAN, PER_BUCKET, 0, ACTION) is None
    assert over_test(baseline_of(CRITIC_GROUPS, alone), PLAN, PER_BUCKET, 0, SEGMENT) is None


def test_units_that_stray_together_make_lines_wider() -> None:
    part = baseline(np.random.default_rng(5))
    alone = fitted(part, SEGMENT).smallest()
    plan = replace(PLAN, options={OPTION: {critic.NAME: Clustered(window=4.0, whole=4.0, dof=200.0)}})
    together = fitted(part, SEGMENT, plan).smallest()
    assert together[1] > 1.5 * alone[1]


def test_names_decide_which_group_is_which_not_codes() -> None:
    rng = np.random.default_rng(6)
    test, counting = fitted(baseline(rng), SEGMENT), CRITIC_GROUPS.build(None, PLAN)
    state = turned = test.begin()
    for _ in range(30):
        seen = counting.observe(bucket(rng)).arrays()
        state, _ = test.fold(state, seen, SITES)
        other = seen | {"segments": seen["segments"][:, [2, 0, 1, 3]]}
        turned, _ = test.fold(turned, other, ("site=east", "site=north", "site=south", "device=mobile"))
    np.testing.assert_array_equal(state, turned)
