import numpy as np
import pytest

from detectors.inference.long_run_covariance import long_run_scores, score_count
from tests.unit.detectors.state_stream import autoregressive


def test_variance_of_an_autoregressive_mean_is_found() -> None:
    generator = np.random.default_rng(4)
    rho, found = 0.8, []
    for _ in range(40):
        sums = autoregressive(generator, 2000, 1, rho)
        found.append((long_run_scores(sums, np.ones(2000), 50) ** 2).mean())
    assert np.mean(found) == pytest.approx((1 + rho) / (1 - rho), rel=0.1)


def test_buckets_of_unequal_size_are_priced_as_a_ratio() -> None:
    generator = np.random.default_rng(5)
    n = generator.poisson(20, 4000).astype(float) + 1
    sums = generator.binomial(n.astype(int), 0.3).astype(float)[:, None]
    scores = long_run_scores(sums, n, 10)
    assert (scores**2).mean() == pytest.approx(0.3 * 0.7, rel=0.15)


def test_a_cycle_longer_than_the_window_is_part_of_its_variance() -> None:
    t = np.arange(4800)
    sums = np.sin(2 * np.pi * t / 240)[:, None]
    inside = (long_run_scores(sums, np.ones(4800), 24) ** 2).mean() / 24
    assert inside == pytest.approx(
        0.5, rel=0.25
    )  # the variance of means over 24 steps: nearly that of the sine
    short = np.sin(2 * np.pi * t / 60)[:, None]
    assert (long_run_scores(short, np.ones(4800), 480) ** 2).mean() < 0.5  # whole cycles average out


def test_a_score_per_disjoint_window_and_more_where_the_series_is_short() -> None:
    assert score_count(6000, 60) == max(100, round(0.4 * 6000 ** (2 / 3)))
    assert score_count(550, 60) == 27
    assert score_count(1, 60) == 0
