"""Pairs of features that become correlated: priced on quiet states of any law, found in time, named."""

import numpy as np
import pytest
from scipy import special, stats

from detectors.arrays import F64
from detectors.charts.correlations import Correlations, _log_mean, fit_correlations, weight_of

SIZE = 2


def _products(rows: F64, size: int = SIZE) -> F64:
    """(t, q (q + 1) / 2) sums over buckets of products of white rows (n, q), upper triangle."""
    buckets = rows.reshape(-1, size, rows.shape[1])
    upper = np.triu_indices(rows.shape[1])
    return np.asarray(np.einsum("tsa,tsb->tab", buckets, buckets)[:, upper[0], upper[1]])


def _fitted(rows: F64, rate: float, size: int = SIZE) -> Correlations | None:
    products = _products(rows, size)
    n = np.full(len(products), float(size))
    return fit_correlations(products, products, n, 1.0, 50, rate)


def _first(chart: Correlations, rows: F64, size: int = SIZE) -> tuple[int, int, F64]:
    """Alarms, the bucket of the first (-1: none) and the state then."""
    state, alarms, first, then = chart.zero, 0, -1, chart.zero
    for i, sums in enumerate(_products(rows, size)):
        state = chart.step(state, sums, float(size))
        if chart.severity(state) >= 1:
            first, then = (i, state) if first < 0 else (first, then)
            alarms, state = alarms + 1, chart.zero
    return alarms, first, then


def _in_pairs(rng: np.random.Generator, n: int, width: int, correlation: float) -> F64:
    rows = rng.standard_normal((n, width))
    rows[:, 1::2] = rows[:, 1::2] * np.sqrt(1 - correlation**2) + correlation * rows[:, ::2]
    return rows


def test_a_memory_is_the_weighted_sum_of_its_buckets() -> None:
    forget, weights = 0.25, [(1 + 0.25 * k) * 0.75**k for k in range(200)]
    assert weight_of(np.array([forget])) == pytest.approx([sum(weights)])
    one, each = np.ones(1), np.ones((1, 1))
    chart = Correlations(
        np.zeros(3), 1.0, np.array([0, 2]), np.array([forget]), one, one, one, each, 0 * each
    )
    state = chart.step(chart.zero, np.array([0.0, 5.0, 0.0]), 1.0)
    for _ in range(7):
        state = chart.step(state, np.zeros(3), 1.0)
    assert state[0, 0, 1] + forget * state[0, 1, 1] == pytest.approx(5 * weights[7])


def test_the_mean_of_a_factor_over_the_law_of_a_sample_correlation_is_one() -> None:
    """Known means: t = r sqrt((n - 1) / (1 - r^2)) has n - 1 degrees of freedom."""
    events, bet = 20.0, 0.6
    r = np.linspace(-1, 1, 200_001)[1:-1]
    law = stats.t.logpdf(r * np.sqrt((events - 1) / (1 - r**2)), events - 1)
    law += 0.5 * np.log(events - 1) - 1.5 * np.log1p(-(r**2))  # the derivative of t
    mean = special.logsumexp(law + (0.5 - events) * np.log1p(-bet * r)) + np.log(r[1] - r[0])
    assert _log_mean(events, bet) == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize("law", ["normal", "skewed", "clicks"])
def test_quiet_features_of_any_law_cost_no_more_than_was_paid_for(law: str) -> None:
    """6 baselines of 1,000 buckets, 1,000 quiet ones each at one alarm in 150: 40 paid for."""
    rng = np.random.default_rng(len(law))

    def drawn(n: int) -> F64:
        if law == "normal":
            return rng.standard_normal((n, 6))
        if law == "skewed":
            return rng.exponential(1.0, (n, 6)) - 1
        return np.asarray(((rng.random((n, 6)) < 0.1) - 0.1) / 0.3, np.float64)

    alarms = 0
    for _ in range(6):
        chart = _fitted(drawn(10_000), 1 / 150, 10)
        assert chart is not None
        alarms += _first(chart, drawn(10_000), 10)[0]
    assert 8 <= alarms <= 60


@pytest.mark.parametrize("width", [8, 24])
def test_pairs_that_become_correlated_are_found_and_named(width: int) -> None:
    rng = np.random.default_rng(width)
    chart = _fitted(rng.standard_normal((4_000, width)), 1e-5)
    assert chart is not None
    first, second = np.triu_indices(width, 1)
    paired = (first % 2 == 0) & (second == first + 1)
    delays = []
    for _ in range(10):
        _, bucket, state = _first(chart, _in_pairs(rng, 120, width, 0.5))
        assert bucket >= 0
        delays.append(bucket + 1)
        worst = int(np.argmax(chart.parts(state)))
        assert paired[worst]
        assert chart.moved(state)[worst] > 0.2
    assert np.mean(delays) < 35


def test_one_pair_among_many_is_found() -> None:
    rng = np.random.default_rng(5)
    chart = _fitted(rng.standard_normal((4_000, 16)), 1e-5)
    assert chart is not None
    rows = rng.standard_normal((800, 16))
    rows[:, 3] = -0.7 * rows[:, 9] + np.sqrt(1 - 0.49) * rows[:, 3]
    alarms, _, state = _first(chart, rows)
    assert alarms >= 1
    first, second = np.triu_indices(16, 1)
    worst = int(np.argmax(chart.parts(state)))
    assert [first[worst], second[worst]] == [3, 9]
    assert chart.moved(state).min() < -0.3


def test_less_traffic_is_no_correlation() -> None:
    rng = np.random.default_rng(6)
    chart = _fitted(rng.standard_normal((10_000, 8)), 1e-5, 10)
    assert chart is not None
    assert _first(chart, rng.standard_normal((400, 8)), 1)[0] == 0


def test_a_stuck_feature_is_no_correlation() -> None:
    rng = np.random.default_rng(7)
    chart = _fitted(rng.standard_normal((4_000, 8)), 1e-5)
    assert chart is not None
    rows = rng.standard_normal((1_000, 8))
    rows[:, 0] = 1e-3 * rows[:, 1]
    assert _first(chart, rows)[0] == 0


def test_one_feature_or_a_short_baseline_gets_no_chart() -> None:
    rng = np.random.default_rng(8)
    assert _fitted(rng.standard_normal((4_000, 1)), 1e-5) is None
    assert _fitted(rng.standard_normal((34, 4)), 1e-5) is None


def test_dependent_features_get_no_chart_from_a_short_baseline() -> None:
    rng = np.random.default_rng(9)
    rows = np.repeat(rng.standard_normal((60, 4)), 20, axis=0)
    assert _fitted(rows, 1e-5) is None
