"""The critic's bias, RMSE, explained variance and calibration."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from detectors.arrays import F64
from detectors.critic.critic import CRITIC, CriticDetector, CriticSums
from detectors.measurement import Verdict
from detectors.protocol import Baseline
from detectors.rows import BucketRows
from detectors.statistic import Statistic
from tests.unit.detectors.streams import (
    PLAN,
    ar1,
    baseline_of,
    by_name,
    decisions,
    looks,
    returns,
    rows,
    window_of,
)


def described_of(value: F64, target: F64) -> dict[str, float]:
    detector = CRITIC.build(None, replace(PLAN, min_samples=2))
    seen = detector.observe(rows(returns=returns(value, target)))
    return {name: m.value for name, m in by_name(detector.measure(window_of([seen]))).items()}


def test_bias_and_rmse_worked_by_hand() -> None:
    found = described_of(np.array([1.0, 2.0, 6.0]), np.array([0.0, 2.0, 4.0]))
    assert found["bias"] == pytest.approx(1.0)
    assert found["rmse"] == pytest.approx(np.sqrt(5 / 3))


def test_explained_variance_and_slope_agree_with_scipy_at_a_large_offset() -> None:
    rng = np.random.default_rng(1)
    value = 1e7 + rng.normal(size=500)
    target = 0.4 * (value - 1e7) + 1e7 + rng.normal(size=500)
    schema = CRITIC.fit(decisions(500, value=value), PLAN)
    centred = CRITIC.build(Baseline(schema, {}, (), PLAN.bucket_ms), PLAN)
    found = by_name(centred.measure(window_of([centred.observe(rows(returns=returns(value, target)))])))
    assert found["calibration_slope"].value == pytest.approx(stats.linregress(value, target).slope, rel=1e-6)
    assert found["explained_variance"].value == pytest.approx(
        1 - np.var(target - value) / np.var(target), rel=1e-3
    )


def sums_of(statistic: Statistic) -> CriticSums:
    assert isinstance(statistic, CriticSums)
    return statistic


def test_any_split_of_the_rows_adds_up_to_the_same() -> None:
    rng = np.random.default_rng(2)
    value, target, action = rng.normal(size=60), rng.normal(size=60), rng.integers(0, 7, 60)
    detector = CRITIC.build(None, PLAN)
    whole = sums_of(detector.observe(rows(returns=returns(value, target, action=action))))
    cut = [slice(0, 13), slice(13, 14), slice(14, 60)]
    parts = [
        sums_of(detector.observe(rows(returns=returns(value[c], target[c], action=action[c])))) for c in cut
    ]
    merged = type(whole).merged(parts)
    np.testing.assert_allclose(merged.moments, whole.moments, rtol=1e-12)
    np.testing.assert_allclose(merged.by_action, whole.by_action, rtol=1e-12, atol=1e-12)


def test_a_target_that_changes_replaces_the_one_before() -> None:
    detector = CRITIC.build(None, PLAN)
    value, early, late = np.array([1.0, 2.0]), np.array([0.5, 1.0]), np.array([3.0, 1.0])
    first = sums_of(detector.observe(rows(returns=returns(value, early))))
    change = sums_of(detector.observe(rows(returns=returns(value[:1], late[:1], before=early[:1]))))
    final = sums_of(detector.observe(rows(returns=returns(value, late))))
    np.testing.assert_allclose((first + change).moments, final.moments, atol=1e-12)
    np.testing.assert_allclose((first + change).by_action, final.by_action, atol=1e-12)


def test_too_few_targets_are_unknown() -> None:
    detector = CRITIC.build(None, PLAN)
    found = by_name(
        detector.measure(window_of([detector.observe(rows(returns=returns(np.ones(29), np.ones(29))))]))
    )
    assert {found[name].verdict for name in ("bias", "rmse", "calibration_slope")} == {Verdict.UNKNOWN}
    assert "29" in found["bias"].reason


def test_without_a_baseline_bias_is_told_but_not_judged() -> None:
    detector = CRITIC.build(None, PLAN)
    found = by_name(
        detector.measure(window_of([detector.observe(rows(returns=returns(np.ones(50), np.zeros(50))))]))
    )
    assert found["bias"].verdict == Verdict.UNKNOWN
    assert found["bias"].value == 1.0
    assert found["bias"].reason == "no baseline"


def stream(
    rng: np.random.Generator, buckets: int, rho: float, bias: float = 0.0, noise: float = 1.0
) -> list[BucketRows]:
    """10 decisions a bucket with AR(1) errors; rho -1: Student t3 errors instead."""
    unit = rng.standard_t(3, buckets * 10) if rho < 0 else ar1(rng, buckets * 10, rho)
    error = noise * unit + bias
    value = rng.normal(size=buckets * 10)
    action = rng.integers(0, 3, buckets * 10)
    cut = [slice(i, i + 10) for i in range(0, buckets * 10, 10)]
    return [rows(returns=returns(value[c], (value - error)[c], action=action[c])) for c in cut]


PRICED = replace(PLAN, false_per_day=86_400 / 10 / 1000)  # one false breach per 1,000 buckets


@pytest.mark.parametrize("rho", [0.0, 0.5, -1.0])
def test_false_breaches_stay_within_their_price(rho: float) -> None:
    """Price: 1 in 1,000 buckets. 2 streams of 1,000 buckets: more than 6 has probability .005 at the price."""
    breaches = 0
    for seed in range(2):
        rng = np.random.default_rng(seed)
        detector = CRITIC.build(baseline_of(CRITIC, stream(rng, 200, rho), PRICED), PRICED)
        red = [any(m.verdict == Verdict.BREACH for m in ms) for ms in looks(detector, stream(rng, 1000, rho))]
        breaches += sum(now and not before for before, now in zip([False, *red], red, strict=False))
    assert breaches <= 6


def test_overestimation_is_a_breach_of_bias() -> None:
    rng = np.random.default_rng(5)
    detector = CRITIC.build(baseline_of(CRITIC, stream(rng, 200, 0.5), PRICED), PRICED)
    found = by_name(looks(detector, stream(rng, 20, 0.5, bias=1.0))[0])
    assert found["bias"].verdict == Verdict.BREACH
    assert found["bias"].severity > 1
    assert found["bias"].value > found["bias"].threshold > 0
    assert "over-estimates" in found["bias"].reason


def test_noise_that_doubles_is_a_breach_of_rmse_but_not_of_bias() -> None:
    rng = np.random.default_rng(6)
    detector = CRITIC.build(baseline_of(CRITIC, stream(rng, 200, 0.0), PRICED), PRICED)
    found = by_name(looks(detector, stream(rng, 20, 0.0, noise=2.0))[0])
    assert found["rmse"].verdict == Verdict.BREACH
    assert found["bias"].verdict == Verdict.OK


def test_the_action_whose_errors_grew_is_the_first_culprit() -> None:
    rng = np.random.default_rng(7)
    detector = CRITIC.build(baseline_of(CRITIC, stream(rng, 200, 0.0), PRICED), PRICED)
    value, action = rng.normal(size=300), np.arange(300) % 3
    target = value - rng.normal(size=300) - np.where(action == 1, 2.0, 0.0)
    seen = detector.observe(rows(returns=returns(value, target, action=action)))
    bias = by_name(detector.measure(window_of([seen], labels=("left", "keep", "right"))))["bias"]
    assert bias.culprits[0].name == "keep"
    assert bias.culprits[0].share == pytest.approx(2 / 3, abs=0.15)


def sloped(rng: np.random.Generator, buckets: int, slope: float, bias: float = 0.0) -> list[BucketRows]:
    """10 decisions a bucket with target = slope * value - bias + noise."""
    value = rng.normal(size=(buckets, 10))
    target = slope * value - bias + 0.5 * rng.normal(size=value.shape)
    return [rows(returns=returns(v, t)) for v, t in zip(value, target, strict=True)]


@pytest.mark.parametrize(("slope", "words"), [(0.3, "exaggerates"), (1.7, "less strongly")])
def test_a_critic_that_loses_its_scale_breaches_the_slope_but_not_the_bias(slope: float, words: str) -> None:
    rng = np.random.default_rng(8)
    detector = CRITIC.build(baseline_of(CRITIC, sloped(rng, 200, 1.0), PRICED), PRICED)
    found = by_name(looks(detector, sloped(rng, 20, slope))[-1])
    assert found["calibration_slope"].verdict == Verdict.BREACH
    assert words in found["calibration_slope"].reason
    assert found["calibration_slope"].value == pytest.approx(slope, abs=0.2)
    assert found["bias"].verdict == Verdict.OK


def test_a_bias_leaves_the_slope_alone() -> None:
    rng = np.random.default_rng(9)
    detector = CRITIC.build(baseline_of(CRITIC, sloped(rng, 200, 1.0), PRICED), PRICED)
    found = by_name(looks(detector, sloped(rng, 20, 1.0, bias=2.0))[-1])
    assert found["bias"].verdict == Verdict.BREACH
    assert found["calibration_slope"].verdict == Verdict.OK


def test_a_critic_that_never_varied_has_no_slope_to_judge() -> None:
    rng = np.random.default_rng(10)
    flat = [rows(returns=returns(np.full(10, 1e7), rng.normal(size=10))) for _ in range(60)]
    detector = CRITIC.build(baseline_of(CRITIC, flat, PRICED), PRICED)
    assert by_name(looks(detector, flat)[-1])["calibration_slope"].verdict == Verdict.UNKNOWN


def test_the_line_of_over_estimation_lies_nearer_than_that_of_under_estimation() -> None:
    rng = np.random.default_rng(11)
    detector = CRITIC.build(baseline_of(CRITIC, stream(rng, 2000, 0.0), PRICED), PRICED)
    assert isinstance(detector, CriticDetector)
    bias = detector.scales[0].bias
    assert bias is not None
    assert bias.up < bias.down
    found = {b: by_name(looks(detector, stream(rng, 20, 0.0, bias=b))[-1])["bias"] for b in (1.0, -1.0)}
    assert "promises more than comes" in found[1.0].reason
    assert "under-estimates more" in found[-1.0].reason
