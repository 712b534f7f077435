"""Fading vector sums: priced on quiet vectors, quick in any direction, silent where nothing is known."""

import numpy as np
import pytest

from detectors.arrays import F64
from detectors.charts.ellipse import Ellipse, fit_ellipse


def _fitted(white: F64, rate: float, inflation: float = 1.0) -> Ellipse | None:
    width = white.shape[1]
    return fit_ellipse(np.zeros(width), np.eye(width), 1.0, white, rate, inflation)


def _alarms(ellipse: Ellipse, rows: F64) -> int:
    state, alarms = ellipse.zero, 0
    for row in rows:
        state = ellipse.step(state, row, 1.0)
        if ellipse.severity(state) >= 1:
            alarms, state = alarms + 1, ellipse.zero
    return alarms


def test_a_fading_sum_is_the_weighted_sum_of_residuals() -> None:
    ellipse = Ellipse(np.array([1.0]), np.array([0.5]), 2.0, np.array([0.5]), np.array([4.0]))
    state = ellipse.step(ellipse.zero, np.array([6.0]), 2.0)  # (6 - 2) / 2
    state = ellipse.step(state, np.array([4.0]), 2.0)
    assert state.tolist() == [[2.0, 2.0]]  # 1/2 * 2 + 1, and 1/4 * 4 + 1 of single squared lengths
    assert ellipse.severity(state) == 1.0


def test_quiet_vectors_cost_no_more_than_was_paid_for() -> None:
    """8 references of 8 columns, 4,000 rows each at one alarm in 500: 64 paid for, some of it spent."""
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(8):
        base = rng.standard_normal((800, 8))
        ellipse = _fitted(base - base.mean(axis=0), 1 / 500)
        assert ellipse is not None
        alarms += _alarms(ellipse, rng.standard_normal((4_000, 8)) - base.mean(axis=0))
    assert 16 <= alarms <= 80


def test_a_shift_in_any_direction_is_found() -> None:
    rng = np.random.default_rng(4)
    ellipse = _fitted(rng.standard_normal((1_000, 16)), 1e-5)
    assert ellipse is not None
    direction = rng.standard_normal(16)
    shifted = rng.standard_normal((100, 16)) + 1.5 * direction / np.linalg.norm(direction)
    assert _alarms(ellipse, shifted) >= 1


def test_dependent_vectors_of_a_short_baseline_get_no_chart() -> None:
    rng = np.random.default_rng(6)
    assert _fitted(rng.standard_normal((60, 4)), 1e-5, inflation=3.0) is None


def test_a_large_shift_that_has_gone_is_soon_forgotten() -> None:
    rng = np.random.default_rng(9)
    ellipse = _fitted(rng.standard_normal((1_000, 4)), 1e-5)
    assert ellipse is not None
    state = ellipse.zero
    for _ in range(100):
        state = ellipse.step(state, rng.standard_normal(4) + 10.0, 1.0)
    assert 1.0 <= ellipse.severity(state) <= 1.06
    for _ in range(25):
        state = ellipse.step(state, rng.standard_normal(4), 1.0)
    assert ellipse.severity(state) < 0.6


def test_agreement_of_buckets_leaves_out_what_one_bucket_shows_by_itself() -> None:
    ellipse = Ellipse(np.zeros(2), np.ones(2), 1.0, np.array([0.5]), np.array([4.0]), apart=True)
    state = ellipse.step(ellipse.zero, np.array([1.0, 0.0]), 1.0)
    assert ellipse.severity(state) == 0.0
    across = ellipse.step(state, np.array([0.0, 1.0]), 1.0)
    assert ellipse.severity(across) == 0.0
    along = ellipse.step(state, np.array([1.0, 0.0]), 1.0)  # 2 * (1/2 * 1) * 1, over 4
    assert ellipse.severity(along) == 0.25


def test_no_residual_is_longer_than_the_radius() -> None:
    ellipse = Ellipse(
        np.zeros(2),
        np.ones(2),
        1.0,
        np.array([0.5]),
        np.array([4.0]),
        radius=1.0,
        centre=np.array([0.1, 0.0]),
    )
    assert ellipse.white(np.array([3.0, 4.0]), 1.0).tolist() == pytest.approx([0.5, 0.8])


def test_what_each_component_has_in_the_length_and_how_far_it_has_moved() -> None:
    ellipse = Ellipse(
        np.array([0.5, 0.5]), np.array([0.5, 0.25]), 2.0, np.array([0.5]), np.array([8.0]),
        worth=np.array([[1.0, 4.0]]),
    )  # fmt: skip
    state = ellipse.step(ellipse.zero, np.array([3.0, 5.0]), 2.0)  # residuals 2 and 4, white 1 and 1
    assert ellipse.parts(state).tolist() == [1.0, 4.0]
    assert ellipse.severity(state) == 0.625
    assert ellipse.moved(state).tolist() == [0.5, 1.0]  # 1/2 of the sums, in events of which a bucket has 2
