"""Business metrics: rolling numbers, judged where the baseline has them."""

from dataclasses import replace

import numpy as np

from detectors.measurement import Verdict
from detectors.rewards.metrics import METRICS, MetricSums
from tests.unit.detectors.streams import PLAN, baseline_of, by_name, rows, window_of

NAMED = replace(PLAN, options={"metrics": ("orders", "margin")})


def test_rolling_numbers_worked_by_hand() -> None:
    detector = METRICS.build(None, NAMED)
    first, second = {"orders": np.array([4.0, 6.0])}, {"margin": np.array([np.nan])}
    values = [first, second, {"orders": np.array([1.0]), "x": np.ones(3)}]
    found = by_name(detector.measure(window_of([detector.observe(rows(metrics=v)) for v in values])))
    assert found["mean orders"].value == 11 / 3
    assert found["lowest orders"].value == found["last orders"].value == 1.0
    assert found["highest orders"].value == 5.0
    assert found["mean orders"].verdict == Verdict.UNKNOWN  # nothing to compare it with
    assert found["unnamed"].value == 3
    assert not any("margin" in name for name in found)


def test_any_split_adds_up_to_the_same() -> None:
    detector = METRICS.build(None, NAMED)
    x = np.arange(9.0)
    whole = detector.observe(rows(metrics={"orders": x}))
    merged = window_of(
        [detector.observe(rows(metrics={"orders": x[i : i + 2]})) for i in range(0, 9, 2)]
    ).total
    assert isinstance(whole, MetricSums)
    np.testing.assert_allclose(whole.sums, merged.sums)


def test_a_metric_far_from_its_baseline_is_a_breach_in_both_directions() -> None:
    rng = np.random.default_rng(1)
    accepted = [rows(metrics={"orders": rng.normal(100, 5, 3)}) for _ in range(100)]
    detector = METRICS.build(baseline_of(METRICS, accepted, NAMED), NAMED)
    for centre, verdict in ((100, Verdict.OK), (80, Verdict.BREACH), (120, Verdict.BREACH)):
        window = window_of(
            [detector.observe(rows(metrics={"orders": rng.normal(centre, 5, 3)})) for _ in range(20)]
        )
        assert by_name(detector.measure(window))["mean orders"].verdict == verdict
