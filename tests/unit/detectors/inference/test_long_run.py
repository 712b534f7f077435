import numpy as np
import pytest
from scipy import stats

from detectors.inference.long_run import batch_means, long_run, newey_west, student_depth, student_line


def _ar1(generator: np.random.Generator, n: int, rho: float) -> np.ndarray:
    noise = generator.normal(size=n)
    values = np.empty(n)
    last = noise[0] / np.sqrt(1 - rho**2)
    for i, shock in enumerate(noise):
        last = rho * last + shock
        values[i] = last
    return values


def test_newey_west_by_hand() -> None:
    # 1, -1, 1, -1: variance sum 4, lag-1 sum -3, weight 1/2: (4 + 2 * .5 * -3) / 3 = 1/3.
    assert newey_west(np.array([[1.0], [-1.0], [1.0], [-1.0]]), 1.0)[0, 0] == pytest.approx(1 / 3)


def test_batch_means_by_hand() -> None:
    # Sums of two of 0, 2, 0, 4 about 2 * 1.5: (-1, -1, 1); 3 / 2 * 4 / (3 * 2) = 1.
    assert batch_means(np.array([0.0, 2.0, 0.0, 4.0]), 2) == pytest.approx(1.0)


@pytest.mark.parametrize(("rho", "truth"), [(0.0, 1.0), (0.5, 4.0), (0.8, 25.0)])
def test_long_run_variance_of_an_autoregression(rho: float, truth: float) -> None:
    values = _ar1(np.random.default_rng(1), 20_000, rho)
    assert long_run(values, np.ones(20_000), 50).variance == pytest.approx(truth, rel=0.15)
    assert np.var(values) == pytest.approx(1 / (1 - rho**2), rel=0.05)  # what iid would say


def test_covariance_of_a_vector_series_is_that_of_its_mixture() -> None:
    generator = np.random.default_rng(2)
    common = _ar1(generator, 20_000, 0.5)
    pair = np.stack([common, common + generator.normal(size=20_000)], axis=1)
    np.testing.assert_allclose(newey_west(pair), [[4.0, 4.0], [4.0, 5.0]], rtol=0.15)


def test_variance_is_per_decision_whatever_the_bucket_holds() -> None:
    rewards = np.random.default_rng(3).normal(0, 3, size=60_000)
    for width in (10, 60):
        sums = rewards.reshape(-1, width).sum(axis=1)
        assert long_run(sums, np.full(len(sums), float(width)), 5).variance == pytest.approx(9.0, rel=0.1)


def test_the_larger_of_both_is_taken_where_a_slow_cycle_shows_in_whole_windows() -> None:
    wave = np.sign(np.sin(np.arange(3000) * 2 * np.pi / 200)) * 0.3
    noisy = wave + np.random.default_rng(4).normal(size=3000)
    assert long_run(noisy, np.ones(3000), 50).variance >= batch_means(noisy - noisy.mean(), 50) > 2.0


def test_interval_for_the_mean_covers_as_it_says_with_a_short_reference() -> None:
    # 600 means of 60 AR(1) values; 5 % nominal. Newey-West with t quantiles stays under 10 %, the iid error does not.
    generator = np.random.default_rng(5)
    outside = naive = 0
    for _ in range(600):
        values = _ar1(generator, 60, 0.5)
        run = long_run(values, np.ones(60), 5)
        outside += abs(values.mean()) > student_line(1.96, run.dof) * np.sqrt(run.variance / 60)
        naive += abs(values.mean()) > 1.96 * values.std(ddof=1) / np.sqrt(60)
    assert outside / 600 < 0.10
    assert naive / 600 > 0.20


def test_student_depth_and_line_are_inverse_and_agree_with_scipy() -> None:
    assert student_line(2.0, 7.0) == pytest.approx(stats.t.isf(stats.norm.sf(2.0), 7.0))
    assert student_depth(np.array([student_line(3.0, 7.0)]), 7.0)[0] == pytest.approx(3.0)


def test_one_bucket_has_no_long_run_variance() -> None:
    assert np.isnan(long_run(np.array([1.0]), np.array([5.0]), 3).variance)
