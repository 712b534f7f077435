"""Banks of cumulative sums: worked by hand, priced on quiet series, and quick where something moves."""

from collections.abc import Callable

import numpy as np
import pytest

from detectors.arrays import F64
from detectors.charts.cusum import Bank, fit_bank, noise
from tests.unit.detectors.streams import ar1


def _alarms(bank: Bank, sums: F64, n: float) -> int:
    state, alarms = bank.zero, 0
    for row in sums:
        state = bank.step(state, row, n)
        if bank.severity(state).max() >= 1:
            alarms, state = alarms + 1, bank.zero
    return alarms


def test_a_sum_grows_by_the_residual_less_half_the_shift_and_restarts_at_zero() -> None:
    bank = Bank(np.array([1.0]), np.array([2.0]), 4.0, np.array([0.5]), np.array([[[3.0], [3.0]]]))
    state = bank.step(bank.zero, np.array([0.0]), 4.0)  # residual (0 - 4) / (2 * 2) = -1
    assert state.tolist() == [[[0.75], [0.0]]]
    state = bank.step(state, np.array([12.0]), 4.0)  # residual +2
    assert state.tolist() == [[[0.0], [1.75]]]
    assert bank.severity(state).tolist() == [[0.0, 1.75 / 3]]


def test_a_bucket_of_many_events_counts_as_a_usual_one() -> None:
    bank = Bank(np.array([0.0]), np.array([1.0]), 4.0, np.array([0.5]), np.array([[[9.0], [9.0]]]))
    assert np.allclose(
        bank.step(bank.zero, np.array([10.0]), 400.0), bank.step(bank.zero, np.array([0.1]), 4.0)
    )


def test_a_series_without_noise_has_nothing_to_say() -> None:
    bank = fit_bank(np.ones((50, 1)), np.ones(50), 1.0, np.array([[1e-3, 1e-3]]), 5)
    assert bank is not None
    assert bank.severity(bank.step(bank.zero, np.array([5.0]), 1.0)).max() == 0.0


def test_fewer_than_30_buckets_give_no_bank() -> None:
    assert fit_bank(np.ones((29, 1)), np.ones(29), 1.0, np.array([[1e-3, 1e-3]]), 5) is None


@pytest.mark.parametrize("law", ["normal", "t3", "ar1"])
def test_quiet_series_cost_what_was_paid_for(law: str) -> None:
    """24 references, 2,000 buckets each at one alarm in 1,000: 48 paid for, a tenth (t3) or a third of it spent."""
    rng = np.random.default_rng(7)
    draws: dict[str, Callable[[int], F64]] = {
        "normal": rng.standard_normal,
        "t3": lambda n: rng.standard_t(3, n),
        "ar1": lambda n: ar1(rng, n, 0.5),
    }
    draw = draws[law]
    alarms = 0
    for _ in range(24):
        bank = fit_bank(draw(800)[:, None], np.ones(800), 1.0, np.array([[1e-3, 0.0]]), 20)
        assert bank is not None
        alarms += _alarms(bank, draw(2_000)[:, None], 1.0)
    assert (5 if law == "t3" else 16) <= alarms <= 82


def test_a_shift_of_half_a_standard_deviation_is_found_soon() -> None:
    rng = np.random.default_rng(3)
    bank = fit_bank(rng.standard_normal((1_000, 1)), np.ones(1_000), 1.0, np.array([[1e-5, 0.0]]), 20)
    assert bank is not None
    state, seen = bank.zero, 0
    while bank.severity(state).max() < 1:
        state = bank.step(state, rng.standard_normal(1) - 0.5, 1.0)
        seen += 1
    assert seen < 200


def test_independent_series_are_not_taken_for_correlated_and_correlated_ones_are() -> None:
    rng = np.random.default_rng(5)
    counts = np.ones(2_000)
    assert noise(rng.standard_normal(2_000), counts, 20)[0] == pytest.approx(1.0, abs=0.1)
    assert noise(ar1(rng, 2_000, 0.5), counts, 20)[0] == pytest.approx(3.0, rel=0.35)


def test_a_large_shift_that_has_gone_is_soon_forgotten() -> None:
    rng = np.random.default_rng(8)
    bank = fit_bank(rng.standard_normal((1_000, 1)), np.ones(1_000), 1.0, np.array([[1e-5, 0.0]]), 20)
    assert bank is not None
    state = bank.zero
    for _ in range(200):
        state = bank.step(state, rng.standard_normal(1) - 4.0, 1.0)
    assert bank.severity(state).max() == 1.0
    for _ in range(15):
        state = bank.step(state, rng.standard_normal(1), 1.0)
    assert bank.severity(state).max() < 0.6
