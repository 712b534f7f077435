"""Shares that move a little, all at once: priced on quiet mixes, found in any direction, silent about rare ones."""

import numpy as np
import pytest
from scipy import stats

from detectors.arrays import F64
from detectors.charts.ellipse import Ellipse
from detectors.charts.mix_ellipse import _Law, fit_mix

SIZE = 20


def _zipf(actions: int) -> F64:
    shares = 1 / np.arange(1, actions + 1)
    return np.asarray(shares / shares.sum())


def _counts(rng: np.random.Generator, shares: F64, buckets: int) -> F64:
    return rng.multinomial(SIZE, shares, buckets).astype(np.float64)


def _fitted(counts: F64, rate: float, lumped: float = 0.0) -> Ellipse | None:
    """With an empty last cell, for actions of which there are none."""
    wide = np.column_stack([counts, np.zeros(len(counts))])
    return fit_mix(wide, np.full(len(counts), float(SIZE)), 1.0, 50, rate, lumped)


def _first(ellipse: Ellipse, counts: F64) -> tuple[int, int]:
    """Alarms, and the bucket of the first (-1: none)."""
    state, alarms, first = ellipse.zero, 0, -1
    for i, row in enumerate(counts):
        state = ellipse.step(state, np.append(row, 0.0), float(SIZE))
        if ellipse.severity(state) >= 1:
            first = i if first < 0 else first
            alarms, state = alarms + 1, ellipse.zero
    return alarms, first


def test_the_density_of_equal_squares_is_that_of_a_chi_square() -> None:
    """Daniels' density is exact up to Stirling's error in its constant: 1 / (12 * 2) for 4 degrees of freedom."""
    law = _Law(0.1, np.full(4, 2.0), 0.0)
    for level in (12.0, 30.0, 80.0):
        exact = stats.chi2.pdf(level / 2, 4) / 2
        assert law._density(level) == pytest.approx(exact, rel=0.05)


def test_a_level_is_passed_as_often_as_it_was_asked() -> None:
    law = _Law(0.05, np.array([3.0, 1.0, 0.2]), 0.3)
    for rate in (1e-3, 1e-6, 1e-9):
        assert law.rate(law.level(rate)) == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("actions", [5, 50])
def test_quiet_mixes_cost_about_what_was_paid_for(actions: int) -> None:
    """8 baselines of 250 buckets, 600 quiet ones each at one alarm in 150: 32 paid for."""
    rng = np.random.default_rng(actions)
    alarms = 0
    for _ in range(8):
        ellipse = _fitted(_counts(rng, _zipf(actions), 250), 1 / 150)
        assert ellipse is not None
        alarms += _first(ellipse, _counts(rng, _zipf(actions), 600))[0]
    assert 13 <= alarms <= 60


def test_a_small_shift_of_all_shares_is_found_in_about_twice_the_best_possible_time() -> None:
    """Total variation .1 of 5 actions: a test that knows it needs 9 buckets; misses are of probability < .01."""
    rng = np.random.default_rng(7)
    shares = _zipf(5)
    gains = np.arange(5) % 2 == 1
    later = shares * np.where(gains, 1 + 0.1 / shares[gains].sum(), 1 - 0.1 / shares[~gains].sum())
    ellipse = _fitted(_counts(rng, shares, 250), 1 / 500)
    assert ellipse is not None
    firsts = [_first(ellipse, _counts(rng, later, 60))[1] for _ in range(15)]
    assert min(firsts) >= 0
    assert np.mean(firsts) < 40


def test_a_rare_action_counts_less_than_a_frequent_one() -> None:
    ellipse = _fitted(_counts(np.random.default_rng(8), np.array([0.6, 0.39, 0.01]), 250), 1 / 500)
    assert ellipse is not None
    worth = np.asarray(ellipse.worth)
    assert (worth[:, 2] < 0.1 * worth[:, 1]).all()
    assert (worth[:, 3] == 0).all()


def test_many_actions_in_one_cell_count_as_little_as_their_changes_add_up_to() -> None:
    counts = np.random.default_rng(9).multinomial(SIZE, [0.5, 0.2, 0.3], 250).astype(np.float64)
    n = np.full(250, float(SIZE))
    alone = fit_mix(counts, n, 1.0, 50, 1 / 500, lumped=0.3**2)
    thousand = fit_mix(counts, n, 1.0, 50, 1 / 500, lumped=0.3**2 / 1_000)
    assert alone is not None
    assert thousand is not None
    assert (np.asarray(thousand.worth)[:, 2] < 0.01 * np.asarray(alone.worth)[:, 2]).all()


def test_a_baseline_of_few_buckets_gets_no_chart() -> None:
    assert _fitted(_counts(np.random.default_rng(10), _zipf(5), 10), 1 / 500) is None


def test_a_mix_that_moves_by_itself_gets_no_chart_from_a_short_baseline() -> None:
    rng = np.random.default_rng(11)
    high = rng.random(10) < 0.5
    episodes = [_counts(rng, np.array([0.8, 0.2] if up else [0.2, 0.8]), 10) for up in high]
    assert _fitted(np.concatenate(episodes), 1 / 500) is None
