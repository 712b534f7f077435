"""False-alarm rates here are of single looks at windows of 400 rows against 4,000 rows of baseline; seeds fixed."""

import numpy as np
import pytest
from scipy.stats import entropy, norm

from detectors.arrays import F64
from detectors.inference.look_level import level_per_look
from detectors.windows.count_divergence import CountReference, kl_cells, smoothed
from tests.unit.detectors.state_stream import autoregressive

BUCKETS, WINDOW, PER = 200, 20, 20


def reference(counts: F64) -> CountReference:
    possible = np.ones(counts.shape[1], dtype=bool)
    return CountReference.of_series(counts, counts.sum(axis=1), possible, WINDOW)


def drawn(generator: np.random.Generator, buckets: int, law: F64, kind: str) -> F64:
    if kind == "independent":
        return generator.multinomial(PER, law, size=buckets).astype(float)
    if kind == "clustered":
        return generator.multinomial(PER // 5, law, size=buckets).astype(float) * 5
    latent = norm.cdf(autoregressive(generator, buckets * PER, 1, 0.9)[:, 0])
    cells = np.searchsorted(np.cumsum(law)[:-1], latent) + np.repeat(np.arange(buckets), PER) * len(law)
    return np.bincount(cells, minlength=buckets * len(law)).reshape(buckets, -1).astype(float)


def test_cells_sum_to_the_divergence_of_the_smoothed_laws() -> None:
    p, q, mix = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.5, 0.25]), np.array([0.3])
    possible = np.ones(3, dtype=bool)
    by_hand = (p + 0.1) / 1.3, (q + 0.1) / 1.3
    assert smoothed(p, possible, mix) == pytest.approx(by_hand[0])
    assert kl_cells(p, q, possible, mix).sum() == pytest.approx(float(entropy(*by_hand)))


def test_impossible_cells_cost_nothing() -> None:
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.4, 0.6, 0.0])
    cells = kl_cells(p, q, np.array([True, True, False]), np.array([0.0]))
    assert cells[2] == 0
    assert cells.sum() == pytest.approx(float(entropy(p[:2], q[:2])))


def test_line_of_independent_rows_is_the_two_sample_chi_square() -> None:
    generator = np.random.default_rng(8)
    law = np.full(5, 0.2)
    lines = [
        reference(drawn(generator, 1000, law, "independent")).divergence(law * 4096, 4096.0, 0.01)
        for _ in range(20)
    ]
    expected = (13.277 - 4) / 2 * (1 / 4096 + 1 / 20_000)  # chi2(4) at 1 %, less its mean
    assert np.mean([found.line for found in lines]) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("kind", ["independent", "clustered", "autocorrelated"])
@pytest.mark.parametrize(("cells", "repeats"), [(5, 60), (20, 60), (200, 30)])
def test_false_alarms_of_a_look_stay_near_their_level(kind: str, cells: int, repeats: int) -> None:
    generator = np.random.default_rng(cells)
    law, level, alarms, seen = generator.dirichlet(np.full(cells, 2.0)), 0.02, 0, 0
    for _ in range(repeats):
        past = reference(drawn(generator, BUCKETS, law, kind))
        for window in drawn(generator, 10 * WINDOW, law, kind).reshape(10, WINDOW, cells).sum(axis=1):
            found = past.divergence(window, float(WINDOW * PER), level)
            alarms, seen = alarms + int(found.value > found.line), seen + 1
    assert alarms / seen <= 2.5 * level  # measured: .1 to 1.4 times the level


@pytest.mark.parametrize(("cells", "moved"), [(5, 0.2), (20, 0.2), (200, 0.3)])
def test_a_mix_that_moved_is_found_in_one_window(cells: int, moved: float) -> None:
    generator = np.random.default_rng(3)
    law = np.full(cells, 1 / cells)
    past = reference(drawn(generator, BUCKETS, law, "independent"))
    tilt = np.where(np.arange(cells) < cells // 2, moved / (cells // 2), -moved / (cells - cells // 2))
    windows = drawn(generator, 20 * WINDOW, law + tilt, "independent").reshape(20, WINDOW, cells).sum(axis=1)
    found = [past.divergence(window, float(WINDOW * PER), 1e-4) for window in windows]
    assert np.mean([f.value > f.line for f in found]) >= 0.7


def test_breaches_per_day_keep_to_the_rate_that_was_asked() -> None:
    generator = np.random.default_rng(21)
    law, seals, asked = np.full(20, 0.05), 3000, 15
    level = level_per_look(asked / (seals / 8640), WINDOW * 10_000, WINDOW)
    runs = 0
    for _ in range(5):
        past = reference(drawn(generator, BUCKETS, law, "independent"))
        sums = np.cumsum(drawn(generator, seals, law, "independent"), axis=0)
        found = [past.divergence(w, float(WINDOW * PER), level) for w in sums[WINDOW:] - sums[:-WINDOW]]
        over = np.array([f.value > f.line for f in found])
        runs += int((over[1:] & ~over[:-1]).sum())
    assert 0.1 * asked <= runs / 5 <= 1.5 * asked
