"""The critic's errors by action and by segment, pooled."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from detectors.arrays import I64, U64
from detectors.critic.groups import CRITIC_GROUPS, GroupSums
from detectors.critic.packed_segments import pack
from detectors.measurement import Measurement, Verdict
from detectors.rows import BucketRows
from detectors.statistic import Statistic
from tests.unit.detectors.streams import PLAN, baseline_of, returns, rows, window_of

ACTIONS = ("left", "keep", "right")
SITES = ("site=north", "site=south", "device=mobile")


def sums_of(statistic: Statistic) -> GroupSums:
    assert isinstance(statistic, GroupSums)
    return statistic


def traffic(
    rng: np.random.Generator, n: int, north: float = 0.0, left: float = 0.0, slope: float = 1.0
) -> BucketRows:
    """n decisions over three actions and two sites, half of them mobile; north, left: added to the errors there."""
    action, site, mobile = rng.integers(0, 3, n), rng.integers(0, 2, n), rng.integers(0, 2, n)
    value = rng.standard_normal(n)
    error = 0.5 * rng.standard_normal(n) + north * (site == 0) + left * (action == 0)
    target = np.where(site == 0, slope, 1.0) * value - error
    return rows(returns=returns(value, target, action=action, segments=packed(site, mobile)))


def packed(site: I64, mobile: I64) -> U64:
    return pack([site, np.where(mobile > 0, 2, -1)])[0]


def measured(live: BucketRows, min_samples: int = 30) -> dict[str, Measurement]:
    rng, plan = np.random.default_rng(9), replace(PLAN, min_samples=min_samples)
    baseline = baseline_of(CRITIC_GROUPS, [traffic(rng, 50) for _ in range(40)], plan)
    detector = CRITIC_GROUPS.build(replace(baseline, labels=ACTIONS, segments=SITES), plan)
    window = replace(window_of([detector.observe(live)], ACTIONS), segments=SITES)
    return {m.statistic: m for m in detector.measure(window)}


def test_sums_of_a_group_worked_by_hand() -> None:
    value, target = np.array([1.0, 2.0, 6.0, 4.0]), np.array([0.0, 2.0, 4.0, 4.0])
    segments = pack([np.array([0, 1, 0, -1]), np.array([2, -1, -1, -1])])[0]
    seen = sums_of(
        CRITIC_GROUPS.build(None, PLAN).observe(
            rows(returns=returns(value, target, action=[0, 1, 1, -1], segments=segments))
        )
    )
    # n, value - target, value, their squares, their product
    np.testing.assert_array_equal(seen.whole, [4, 3, 13, 5, 57, 13])
    np.testing.assert_array_equal(seen.actions.T, [[1, 1, 1, 1, 1, 1], [2, 2, 8, 4, 40, 12]])
    np.testing.assert_array_equal(
        seen.segments.T, [[2, 3, 7, 5, 37, 13], [1, 0, 2, 0, 4, 0], [1, 1, 1, 1, 1, 1]]
    )


def test_any_split_of_the_rows_adds_up_to_the_same() -> None:
    rng = np.random.default_rng(2)
    value, target = rng.normal(size=60), rng.normal(size=60)
    action, segments = rng.integers(-1, 7, 60), pack([rng.integers(-1, 9, 60), rng.integers(-1, 9, 60)])[0]
    detector = CRITIC_GROUPS.build(None, PLAN)

    def of(c: slice) -> GroupSums:
        return sums_of(
            detector.observe(
                rows(returns=returns(value[c], target[c], action=action[c], segments=segments[c]))
            )
        )

    merged = GroupSums.merged([of(slice(0, 13)), of(slice(13, 14)), of(slice(14, 60))])
    for name, array in of(slice(0, 60)).arrays().items():
        np.testing.assert_allclose(merged.arrays()[name], array, rtol=1e-12, atol=1e-12)


def test_a_target_that_changes_replaces_the_one_before() -> None:
    detector = CRITIC_GROUPS.build(None, PLAN)
    value, early, late = np.array([1.0, 2.0]), np.array([0.5, 1.0]), np.array([3.0, 1.0])
    segments = np.array([1, 2], np.uint64)
    first = sums_of(detector.observe(rows(returns=returns(value, early, segments=segments))))
    change = returns(value[:1], late[:1], before=early[:1], segments=segments[:1])
    final = sums_of(detector.observe(rows(returns=returns(value, late, segments=segments))))
    moved = first + sums_of(detector.observe(rows(returns=change)))
    for name, array in final.arrays().items():
        np.testing.assert_allclose(moved.arrays()[name], array, atol=1e-12)


@pytest.mark.parametrize(
    ("live", "statistic", "name"),
    [({"north": 0.8}, "bias_by_segment", "site=north"), ({"left": 0.8}, "bias_by_action", "left")],
)
def test_the_group_whose_errors_grew_is_named_first(
    live: dict[str, float], statistic: str, name: str
) -> None:
    found = measured(traffic(np.random.default_rng(3), 600, **live))[statistic]
    assert found.verdict is Verdict.OK  # described; `critic_over` judges
    assert np.isnan(found.threshold)
    assert found.culprits[0].name == name
    assert found.culprits[0].share == pytest.approx(0.8, abs=0.15)
    assert name in found.reason


def test_slope_and_explained_variance_of_a_segment_agree_with_scipy() -> None:
    rng = np.random.default_rng(4)
    live = traffic(rng, 900, slope=0.3)
    found = measured(live)
    r = live.returns
    north = (r.segments & np.uint64(255)) == 1
    slope = stats.linregress(r.value[north], r.target[north]).slope
    explained = 1 - np.var((r.target - r.value)[north]) / np.var(r.target[north])
    assert found["calibration_slope_by_segment"].culprits[0].name == "site=north"
    assert found["calibration_slope_by_segment"].value == pytest.approx(slope, rel=1e-9)
    assert found["explained_variance_by_segment"].value == pytest.approx(explained, rel=1e-9)


def test_groups_with_too_few_decisions_are_left_out_and_said() -> None:
    found = measured(traffic(np.random.default_rng(5), 60), min_samples=40)["bias_by_action"]
    assert found.verdict is Verdict.UNKNOWN
    assert "40" in found.reason
    some = measured(traffic(np.random.default_rng(5), 60), min_samples=20)["bias_by_action"]
    assert some.verdict is Verdict.OK
    assert "2 with fewer than 20 decisions left out" in some.reason


def test_a_baseline_that_was_counted_before_leaves_every_group_unknown() -> None:
    detector = CRITIC_GROUPS.build(None, PLAN)
    seen = detector.observe(traffic(np.random.default_rng(6), 300))
    found = detector.measure(replace(window_of([seen], ACTIONS), segments=SITES))
    assert {m.verdict for m in found} == {Verdict.UNKNOWN}
    assert {m.reason for m in found} == {"no baseline that knows it"}


def test_names_decide_which_group_is_which_not_codes() -> None:
    """A daemon that goes on from older state knows the same actions and segments by other codes."""
    rng = np.random.default_rng(7)
    baseline = baseline_of(CRITIC_GROUPS, [traffic(rng, 50, north=1.0) for _ in range(40)])
    detector = CRITIC_GROUPS.build(replace(baseline, labels=ACTIONS, segments=SITES), PLAN)
    seen = sums_of(detector.observe(traffic(np.random.default_rng(8), 600, north=1.0)))
    turned = GroupSums(seen.whole, seen.actions, np.asarray(seen.segments[:, [1, 0, 2]], np.float64))
    moved = [
        next(m for m in detector.measure(replace(window_of([one]), segments=names)) if m.statistic == "bias_by_segment")
        for one, names in ((seen, SITES), (turned, ("site=south", "site=north", "device=mobile")))
    ]  # fmt: skip
    assert moved[0] == moved[1]


def test_one_action_and_no_segment_say_nothing() -> None:
    value = np.random.default_rng(9).normal(size=100)
    seen = rows(returns=returns(value, value * 0.5))
    assert measured(seen) == {}
