import numpy as np
import pytest

from detectors.arrays import F64, Arrays
from detectors.features.random_fourier import (
    FourierMap,
    fit_fourier,
    median_distance,
    robust_scale,
    standardised,
)


def test_sums_are_the_same_to_the_bit_for_any_split_and_order() -> None:
    generator = np.random.default_rng(1)
    for width in (1, 8, 33):
        rows = generator.standard_normal((700, width)) * 3
        sums = FourierMap.of_schema(fit_fourier(rows)).sums
        whole = sums(rows)
        cuts = np.sort(generator.integers(0, 700, 9))
        split = sum(sums(piece) for piece in np.split(rows, cuts))
        assert np.array_equal(whole, split)
        assert np.array_equal(whole, sums(rows[generator.permutation(700)]))


def test_kernel_mean_of_two_rows_is_the_mixed_gaussian_kernel() -> None:
    rows = np.random.default_rng(2).standard_normal((500, 4))
    schema = fit_fourier(rows)
    sums, count = FourierMap.of_schema(schema).sums, schema["frequencies"].shape[1]
    units = standardised(rows, *robust_scale(rows))
    distance = median_distance(units)
    apart = float(((units[0] - units[1]) ** 2).sum())
    expected = np.mean([np.exp(-apart / (2 * (b * distance) ** 2)) for b in (0.5, 1, 2)])
    kernel = sums(rows[:1]) @ sums(rows[1:2]) / count
    assert kernel == pytest.approx(expected, abs=0.12)  # 120 frequencies: standard error about .05
    assert sums(rows[:1]) @ sums(rows[:1]) / count == pytest.approx(1, abs=1e-4)


def test_products_are_exact_in_float32_for_wild_rows_of_any_width() -> None:
    generator = np.random.default_rng(3)
    for width in (1, 8, 64, 300):
        rows = generator.standard_normal((400, 1)) + 0.01 * generator.standard_normal((400, width))
        # All features move together: the distance is small and frequencies are high.
        schema = fit_fourier(rows)
        wild = np.where(generator.random((50, width)) < 0.5, -1e9, 1e9)
        steps = np.sign(wild) * 6 * 2**7
        frequencies: F64 = np.asarray(schema["frequencies"], np.float64)
        lowest: F64 = frequencies[:, : frequencies.shape[1] // 3] / 2**7
        exact = steps @ lowest  # float64 has room for all of it
        single = steps.astype(np.float32) @ lowest.astype(np.float32)
        assert np.array_equal(single.astype(np.float64), exact)
        turns = np.concatenate([exact, 2 * exact, 4 * exact], axis=1)
        expected = np.concatenate([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], axis=1).sum(axis=0)
        assert FourierMap.of_schema(schema).sums(wild) == pytest.approx(expected, abs=50 * 3e-5)


def test_a_baseline_of_before_keeps_its_own_frequencies() -> None:
    generator = np.random.default_rng(4)
    rows = generator.standard_normal((700, 5))
    frequencies = np.rint(generator.standard_normal((5, 128)) / 9 * 2**24) / 2**24
    old: Arrays = {"center": np.zeros(5), "scale": np.ones(5), "frequencies": frequencies}
    turns = np.rint(rows * 2**12) / 2**12 @ frequencies
    expected = np.r_[np.cos(2 * np.pi * turns).sum(axis=0), np.sin(2 * np.pi * turns).sum(axis=0)]
    assert FourierMap.of_schema(old).sums(rows) == pytest.approx(expected, abs=700 * 1e-5)


def test_scale_falls_back_where_the_middle_half_is_one_value() -> None:
    rare = np.r_[np.zeros(990), np.ones(10)]
    center, scale = robust_scale(np.stack([rare, np.full(1000, 7.0), np.full(1000, np.nan)], axis=1))
    assert center.tolist() == [0, 7, 0]
    assert scale == pytest.approx([rare.std(), 7.0, 1.0])


def test_missing_values_stand_at_the_centre_and_wild_ones_are_clipped() -> None:
    units = standardised(np.array([[np.nan, 1e9, -np.inf]]), np.zeros(3), np.ones(3))
    assert units.tolist() == [[0.0, 6.0, 0.0]]
