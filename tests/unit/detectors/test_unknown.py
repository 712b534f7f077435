"""Unknown is not healthy: what no detector may call ok, in one table."""

from dataclasses import replace
from math import isnan

import numpy as np
import pytest

from detectors.arrays import F64
from detectors.measurement import Measurement, Verdict
from detectors.protocol import Baseline, Plan, Spec, Window
from detectors.registry import REGISTRY
from detectors.rows import BucketRows
from detectors.statistic import stack
from tests.unit.detectors.streams import decisions, outcomes, returns, rows

PLAN = Plan(
    bucket_ms=10_000, window_buckets=12, horizon_ms=60_000, false_per_day=1.0, min_samples=30,
    cost_budgets={"c": (0.9, "decision")}, options={"metrics": ("sales",), "budget": 1e6},
)  # fmt: skip
ABSOLUTE = {"costs", "latency", "violations"}  # their lines come from the config, not from a baseline
COUNTS_ONLY = {"state_moments"}
DESCRIBING = {"critic_groups"}  # compared, but judged by sequential tests only
COUNT_ROWS = COUNTS_ONLY | {"violations", "state_quality", "state_kl", "action_mix"}  # missing ones by name
COMPARING = [spec for spec in REGISTRY if spec.name not in ABSOLUTE | COUNTS_ONLY]


def bucket(rng: np.random.Generator, n: int, broken: bool = False) -> BucketRows:
    """n decisions of every kind of column; broken: all their numbers are missing."""
    nan = np.full(n, np.nan)
    number: F64 = nan if broken else rng.standard_normal(n)
    cost: F64 = nan if broken else np.where(number > 0, 1.0, 0.0)
    law = np.full(n, 0.5)
    made = replace(
        decisions(n, costs={"c": cost}, latency_ms=np.abs(number), value=number,
                  action=rng.integers(3, size=n)),
        state=np.stack([number, number], axis=1), propensity=nan if broken else law, entropy=nan if broken else law,
    )  # fmt: skip
    metrics = {"sales": number}
    return rows(
        made, outcomes(number, number), returns(number, number * 0.9, action=made.action), metrics=metrics
    )


def baseline_of(spec: Spec, buckets: int, n: int, broken: bool = False) -> Baseline:
    rng = np.random.default_rng(1)
    made = [bucket(rng, n, broken) for _ in range(buckets)]
    sample = bucket(rng, 500).decisions
    schema = spec.fit(sample, PLAN)
    counter = spec.build(Baseline(schema, {}, (), PLAN.bucket_ms), PLAN)
    starts = [i * PLAN.bucket_ms for i in range(buckets)]
    return Baseline(schema, stack([counter.observe(one) for one in made]), starts, PLAN.bucket_ms)


def measured(
    spec: Spec, baseline: Baseline | None, n: int, buckets: int = 12, broken: bool = False
) -> tuple[Measurement, ...]:
    detector, rng = spec.build(baseline, PLAN), np.random.default_rng(2)
    seen = [detector.observe(bucket(rng, n, broken)) for _ in range(buckets)]
    first = 12 - buckets
    starts = [(first + i) * PLAN.bucket_ms for i in range(buckets)]
    return detector.measure(Window(spec.statistic.merged(seen), seen, starts, 12 * PLAN.bucket_ms))


def not_known(spec: Spec, found: tuple[Measurement, ...]) -> None:
    """Nothing with a line says ok or breach, something says unknown, and every unknown says why."""
    judged = [m for m in found if not isnan(m.threshold) and m.verdict is not Verdict.UNKNOWN]
    # whether rewards are late is a question of counts: with few due it has an answer of its own
    assert [m.statistic for m in judged if m.statistic != "arrived_share"] == []
    unknown = [m for m in found if m.verdict is Verdict.UNKNOWN]
    assert unknown
    assert all(m.reason for m in unknown)
    assert [m.statistic for m in found if isnan(m.value) and m.verdict is not Verdict.UNKNOWN] == []


@pytest.mark.parametrize("spec", COMPARING, ids=lambda spec: spec.name)
def test_without_a_baseline_nothing_is_compared(spec: Spec) -> None:
    not_known(spec, measured(spec, None, 20))


@pytest.mark.parametrize("spec", COMPARING, ids=lambda spec: spec.name)
def test_a_baseline_of_one_bucket_knows_no_noise(spec: Spec) -> None:
    not_known(spec, measured(spec, baseline_of(spec, 1, 20), 20))


@pytest.mark.parametrize(
    "spec",
    [s for s in COMPARING if s.name not in {"state_quality", "action_mix"}],
    ids=lambda spec: spec.name,
)
def test_a_baseline_without_usable_numbers_is_no_reference(spec: Spec) -> None:
    """Missing numbers are what state_quality counts; actions are never missing."""
    not_known(spec, measured(spec, baseline_of(spec, 60, 20, broken=True), 20))


@pytest.mark.parametrize("spec", [s for s in COMPARING if s.name != "metrics"], ids=lambda spec: spec.name)
def test_a_window_with_too_few_rows_is_not_judged(spec: Spec) -> None:
    """Business metrics come once a minute: their few values are what there is, and priced as few."""
    not_known(spec, measured(spec, baseline_of(spec, 60, 20), 1))


@pytest.mark.parametrize(
    "spec", [s for s in REGISTRY if s.name not in COUNT_ROWS], ids=lambda spec: spec.name
)
def test_no_number_is_never_ok(spec: Spec) -> None:
    found = measured(spec, baseline_of(spec, 60, 20), 20, broken=True)
    assert [m.statistic for m in found if isnan(m.value) and m.verdict is not Verdict.UNKNOWN] == []
    assert [
        m.statistic for m in found if m.verdict is Verdict.BREACH and m.statistic != "arrived_share"
    ] == []


@pytest.mark.parametrize(
    "spec", [s for s in COMPARING if s.name not in DESCRIBING], ids=lambda spec: spec.name
)
def test_where_there_is_enough_something_is_said(spec: Spec) -> None:
    found = measured(spec, baseline_of(spec, 120, 20), 20)
    assert any(not isnan(m.threshold) and m.verdict is not Verdict.UNKNOWN for m in found)


def test_a_cost_without_budget_or_values_is_unknown() -> None:
    spec = next(spec for spec in REGISTRY if spec.name == "costs")
    plan = replace(PLAN, cost_budgets={})
    schema = spec.fit(decisions(1, costs={"c": np.ones(1)}), plan)
    detector = spec.build(Baseline(schema, {}, (), plan.bucket_ms), plan)
    nothing = detector.observe(rows(decisions(40)))
    (found,) = detector.measure(Window(nothing, [nothing], [0], plan.bucket_ms))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, "no budget")
