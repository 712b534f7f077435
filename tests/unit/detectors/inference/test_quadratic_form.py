import numpy as np
import pytest
from scipy import integrate, stats

from detectors.inference.quadratic_form import (
    at_least,
    quantile,
    tail,
    traces_of_scores,
    traces_of_weights,
)


def imhof(x: float, weights: np.ndarray) -> float:
    """P(sum w chi2_1 > x) by numerical inversion (Imhof 1961, eq. 3.2)."""

    def integrand(u: float) -> float:
        angle = 0.5 * np.arctan(weights * u).sum() - 0.5 * x * u
        return float(np.sin(angle) / (u * np.prod((1 + (weights * u) ** 2) ** 0.25)))

    return 0.5 + integrate.quad(integrand, 0, np.inf, limit=2000)[0] / np.pi


def test_equal_weights_are_a_scaled_chi_square() -> None:
    traces = traces_of_weights(np.full(7, 2.0))
    assert tail(np.array(30.0), traces) == pytest.approx(stats.chi2.sf(15.0, 7))
    assert quantile(0.01, traces) == pytest.approx(2 * stats.chi2.isf(0.01, 7))


@pytest.mark.parametrize(
    "weights",
    [[3.0, 1.0, 0.5, 0.5, 0.3, 0.2, 0.1, 0.1], [1.0, 0.9, 0.8, 0.7, 0.6], list(0.8 ** np.arange(30))],
)
def test_tail_agrees_with_imhofs_inversion(weights: list[float]) -> None:
    lambdas = np.array(weights)
    for level in (0.05, 0.01, 0.001):
        line = float(quantile(level, traces_of_weights(lambdas)))
        assert imhof(line, lambdas) == pytest.approx(level, rel=0.25)


def test_one_score_direction_is_priced_as_students_t() -> None:
    scores = np.array([1.0, -1.0, 1.0, 1.0, -1.0])[:, None]
    assert quantile(0.02, traces_of_scores(scores)) == pytest.approx(stats.t.isf(0.01, 5) ** 2)


def test_traces_from_few_scores_are_unbiased_where_there_are_more_dimensions_than_scores() -> None:
    generator = np.random.default_rng(11)
    spread = np.sqrt(1 / np.arange(1, 41))
    found = [traces_of_scores(generator.standard_normal((20, 40)) * spread) for _ in range(600)]
    known = traces_of_weights(spread**2)
    assert np.mean([t.c1 for t in found]) == pytest.approx(float(known.c1), rel=0.02)
    assert np.mean([t.c2 for t in found]) == pytest.approx(float(known.c2), rel=0.05)
    assert np.mean([t.c3 for t in found]) == pytest.approx(float(known.c3), rel=0.15)


def test_wide_and_narrow_scores_give_the_same_traces_by_either_gram_matrix() -> None:
    scores = np.random.default_rng(2).standard_normal((6, 5))
    wide = np.concatenate([scores, np.zeros((6, 9))], axis=1)
    narrow, padded = traces_of_scores(scores), traces_of_scores(wide)
    assert padded.c1 == pytest.approx(float(narrow.c1))
    assert padded.c3 == pytest.approx(float(narrow.c3)) or float(narrow.c3) == float(narrow.c2**2 / narrow.c1)


def test_stretching_keeps_the_degrees_of_freedom_and_never_shrinks() -> None:
    traces = traces_of_weights(np.array([2.0, 1.0]))
    assert at_least(traces, np.array(6.0)).c1 == pytest.approx(6.0)
    assert at_least(traces, np.array(6.0)).degrees == pytest.approx(float(traces.degrees))
    assert at_least(traces, np.array(1.0)).c1 == pytest.approx(3.0)
