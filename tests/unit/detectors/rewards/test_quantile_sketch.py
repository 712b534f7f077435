import numpy as np
import pytest

from detectors.rewards.quantile_sketch import ACCURACY, MAX_BINS, counts, quantiles

_Q = np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])


def _padded(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    width = max(len(a), len(b))
    return np.pad(a, (0, width - len(a))), np.pad(b, (0, width - len(b)))


def test_five_values_by_hand() -> None:
    # ranks floor(1 + q 4): the median of five is the third.
    assert quantiles(
        counts(np.array([-2.0, 0.0, 0.0, 1.0, 8.0])), np.array([0.0, 0.5, 1.0])
    ) == pytest.approx([-2.0, 0.0, 8.0], rel=ACCURACY)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(1).normal(size=5000),
        np.random.default_rng(2).standard_t(2, size=5000) * 1e4,
        -np.random.default_rng(3).exponential(size=5000) * 1e-5,
        np.random.default_rng(4).lognormal(0, 4, size=5000),
    ],
)
def test_quantiles_are_within_one_percent_of_the_value_of_that_rank(values: np.ndarray) -> None:
    exact = np.sort(values)[np.floor(_Q * (len(values) - 1)).astype(int)]
    np.testing.assert_allclose(quantiles(counts(values), _Q), exact, rtol=ACCURACY + 1e-9)


def test_order_does_not_matter_and_merging_is_addition() -> None:
    values = np.random.default_rng(5).normal(3, 100, size=1000)
    whole, left, right = counts(values[::-1]), counts(values[:300]), counts(values[300:])
    left, right = _padded(left, right)
    np.testing.assert_array_equal(*_padded(left + right, whole))


def test_a_value_taken_out_leaves_no_trace() -> None:
    values = np.random.default_rng(6).normal(size=100)
    with_guest = counts(np.append(values, 77.0))
    guest_out = counts(np.array([77.0]), np.array([-1.0]))
    a, b = _padded(*_padded(with_guest, guest_out))
    np.testing.assert_array_equal(*_padded(a + b, counts(values)))


def test_number_of_bins_is_bounded_and_ordinary_values_need_few() -> None:
    assert len(counts(np.array([1e300, -1e300, 1e-300, 0.0, -1e-9, 1e-9]))) <= MAX_BINS
    assert len(counts(np.array([0.0, 1.0, 1.0]))) <= 4


def test_what_is_too_small_is_zero_and_too_large_the_largest() -> None:
    assert quantiles(counts(np.array([1e-12])), np.array([0.5]))[0] == 0.0
    assert quantiles(counts(np.array([-1e20])), np.array([0.5]))[0] == pytest.approx(-1e9, rel=0.02)


def test_empty_sketch_has_no_quantile() -> None:
    assert np.isnan(quantiles(counts(np.empty(0)), _Q)).all()
