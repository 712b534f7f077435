import numpy as np
import pytest

from detectors.charts.change_points import (
    MAX_EPOCH,
    Change,
    ChangePoints,
    Finding,
    Scale,
    page_hinkley_threshold,
)


def _findings(points: ChangePoints, values: np.ndarray) -> list[Finding]:
    return [points.update(float(value)) for value in values]


def _rings(findings: list[Finding]) -> list[int]:
    return [
        i for i, f in enumerate(findings) if f.adwin is not Change.NONE or f.page_hinkley is not Change.NONE
    ]


@pytest.mark.parametrize("stop", [0, 7, MAX_EPOCH - 1, MAX_EPOCH, 1300])
def test_restored_from_its_history_it_has_exactly_the_same_future(stop: int) -> None:
    generator = np.random.default_rng(stop)
    values = generator.normal(size=1800) + np.where(np.arange(1800) >= 1500, -1.2, 0.0)
    scale = Scale(0.0, 1.0, rho=0.3)
    live = ChangePoints(scale, 1e-3)
    _findings(live, values[:stop])
    restored = ChangePoints(scale, 1e-3, history=live.state())
    future = _findings(live, values[stop:])
    assert _findings(restored, values[stop:]) == future
    assert _rings(future)


def test_history_is_bounded() -> None:
    points = ChangePoints(Scale(0.0, 1.0), 1e-9)
    _findings(points, np.random.default_rng(1).normal(size=2500))
    assert MAX_EPOCH // 2 <= len(points.state()) < MAX_EPOCH


def test_a_fall_is_found_down_and_a_rise_up() -> None:
    for sign, direction in ((-1, Change.DOWN), (1, Change.UP)):
        points = ChangePoints(Scale(5.0, 2.0), 1e-4)
        noise = np.random.default_rng(3).normal(5.0, 2.0, size=600)
        noise[300:] += sign * 2.0
        findings = _findings(points, noise)
        first = _rings(findings)[0]
        assert 300 <= first < 360
        assert direction in (findings[first].adwin, findings[first].page_hinkley)


def test_a_value_that_is_not_finite_is_passed_over() -> None:
    points = ChangePoints(Scale(0.0, 1.0), 1e-4)
    points.update(float("nan"))
    points.update(float("inf"))
    assert len(points.state()) == 0


def test_threshold_agrees_with_the_published_mean_run_length() -> None:
    # Siegmund: k = .25 and h = 8 give a one-sided mean run length of about 736 (twice the tabled two-sided 368).
    assert page_hinkley_threshold(1 / 736) == pytest.approx(8.0, abs=0.15)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_stationary_values_ring_no_more_than_the_budget(rho: float) -> None:
    # 20 series of 1,000 values at one per 1,000: 20 are allowed, 20 + 3 sqrt(20) at most by chance.
    generator = np.random.default_rng(11)
    rings = 0
    for _ in range(20):
        noise = generator.normal(size=1000)
        values = np.empty(1000)
        last = noise[0] / np.sqrt(1 - rho**2)
        for i, shock in enumerate(noise):
            last = rho * last + shock
            values[i] = last
        rings += len(_rings(_findings(ChangePoints(Scale(0.0, 1 / (1 - rho), rho), 1 / 1000), values)))
    assert rings <= 20 + 3 * np.sqrt(20)


def test_buckets_of_a_small_canary_ring_no_more_than_those_of_the_traffic_that_set_the_scale() -> None:
    # 40 runs of 360 buckets at one false finding in 36,000 buckets: .4 expected, 4 or more by chance 1 in 1,300.
    usual, few, rings, unweighed = 50, 5, 0, 0
    scale = Scale(0.05, (0.05 * 0.95 / usual) ** 0.5, rows=usual)
    for seed in range(40):
        means = np.random.default_rng(seed).binomial(few, 0.05, size=360) / few
        rings += len(_rings(_findings(ChangePoints(scale, 1 / 36_000), scale.weighed(means, few))))
        unweighed += len(_rings(_findings(ChangePoints(scale, 1 / 36_000), means)))
    assert rings <= 3
    assert unweighed > 40  # what it would be otherwise
