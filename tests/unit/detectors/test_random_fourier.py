import numpy as np
import pytest

from detectors.random_fourier import fit_fourier, fourier_sums, median_distance, robust_scale, standardised


def test_sums_are_the_same_to_the_bit_for_any_split_and_order() -> None:
    generator = np.random.default_rng(1)
    for width in (1, 8, 33):
        rows = generator.standard_normal((700, width)) * 3
        schema = fit_fourier(rows)
        whole = fourier_sums(schema, rows)
        cuts = np.sort(generator.integers(0, 700, 9))
        split = sum(fourier_sums(schema, piece) for piece in np.split(rows, cuts))
        assert np.array_equal(whole, split)
        assert np.array_equal(whole, fourier_sums(schema, rows[generator.permutation(700)]))


def test_kernel_mean_of_two_rows_is_the_mixed_gaussian_kernel() -> None:
    rows = np.random.default_rng(2).standard_normal((500, 4))
    schema = fit_fourier(rows)
    count = schema["frequencies"].shape[1]
    units = standardised(rows, *robust_scale(rows))
    distance = median_distance(units)
    apart = float(((units[0] - units[1]) ** 2).sum())
    expected = np.mean([np.exp(-apart / (2 * (b * distance) ** 2)) for b in (0.5, 1, 2)])
    kernel = fourier_sums(schema, rows[:1]) @ fourier_sums(schema, rows[1:2]) / count
    assert kernel == pytest.approx(expected, abs=0.12)  # 128 frequencies: standard error about .05
    assert fourier_sums(schema, rows[:1]) @ fourier_sums(schema, rows[:1]) / count == pytest.approx(
        1, abs=1e-4
    )


def test_scale_falls_back_where_the_middle_half_is_one_value() -> None:
    rare = np.r_[np.zeros(990), np.ones(10)]
    center, scale = robust_scale(np.stack([rare, np.full(1000, 7.0), np.full(1000, np.nan)], axis=1))
    assert center.tolist() == [0, 7, 0]
    assert scale == pytest.approx([rare.std(), 7.0, 1.0])


def test_missing_values_stand_at_the_centre_and_wild_ones_are_clipped() -> None:
    units = standardised(np.array([[np.nan, 1e9, -np.inf]]), np.zeros(3), np.ones(3))
    assert units.tolist() == [[0.0, 6.0, 0.0]]
