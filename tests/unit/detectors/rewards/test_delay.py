import numpy as np
import pytest

from detectors.rewards.delay import BINS, bins_seen, delay_bins, delay_curve, delay_edges_ms, within


def _histogram(edges: np.ndarray, delays: np.ndarray, rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    where = delay_bins(edges, delays)
    return np.bincount(where, minlength=BINS).astype(float), np.bincount(where, rewards, minlength=BINS)


def test_edges_reach_from_a_millionth_of_the_horizon_to_it() -> None:
    edges = delay_edges_ms(1_800_000)
    assert [edges[0], edges[-1], len(edges)] == pytest.approx([1.8, 1_800_000, BINS])
    assert (np.diff(edges) > 0).all()
    assert (np.diff(delay_edges_ms(1)) > 0).all()


def test_a_delay_beyond_the_horizon_counts_as_the_horizon() -> None:
    edges = delay_edges_ms(1000)
    assert delay_bins(edges, np.array([0, 1000, 5000])).tolist() == [0, BINS - 1, BINS - 1]


def test_two_decisions_by_hand() -> None:
    # One reward of 1 after 100 ms, one of 0 after the whole second: half the share by 500 ms, all reward by then.
    edges = delay_edges_ms(1000)
    count, total = _histogram(edges, np.array([100, 1000]), np.array([1.0, 0.0]))
    curve = delay_curve(edges, np.array([2.0]), count[None], total[None], np.array([1e9]))
    share, reward = curve.after(bins_seen(edges, np.array([500.0]), 1))
    assert [share[0], reward[0], curve.mean()] == pytest.approx([0.5, 0.5, 0.5])


def test_share_follows_an_exponential_law() -> None:
    generator, edges = np.random.default_rng(1), delay_edges_ms(60_000)
    delays = generator.exponential(5000, size=40_000).astype(np.int64)
    count, total = _histogram(edges, delays, np.ones(40_000))
    curve = delay_curve(edges, np.array([4e4]), count[None], total[None], np.array([1e9]))
    np.testing.assert_allclose(curve.share[:-1], 1 - np.exp(-edges[:-1] / 5000), atol=0.012)


def test_buckets_too_young_to_show_a_delay_do_not_bend_the_curve() -> None:
    # Half of the buckets were cut off at the age of 2 s; read naively the curve would end at .72 instead of 1.
    generator, edges = np.random.default_rng(2), delay_edges_ms(60_000)
    delays = generator.exponential(5000, size=(2, 20_000)).astype(np.int64)
    old, young = delays[0], delays[1][delays[1] <= 2000]
    columns = [_histogram(edges, d, np.ones(len(d))) for d in (old, young)]
    count, total = np.stack([c for c, _ in columns]), np.stack([t for _, t in columns])
    curve = delay_curve(edges, np.full(2, 2e4), count, total, np.array([1e9, 2000.0]))
    assert curve.share[-1] == pytest.approx(1.0, abs=0.01)
    assert count.sum() / 4e4 < 0.75


def test_curves_of_parts_add_up() -> None:
    edges = delay_edges_ms(1000)
    generator = np.random.default_rng(3)
    delays, rewards = generator.integers(0, 1000, 50), generator.normal(size=50)
    whole = _histogram(edges, delays, rewards)
    parts = [_histogram(edges, delays[s], rewards[s]) for s in (slice(0, 20), slice(20, 50))]
    np.testing.assert_array_equal(whole[0], parts[0][0] + parts[1][0])
    np.testing.assert_allclose(whole[1], parts[0][1] + parts[1][1])


def test_only_bins_that_every_decision_has_passed_are_seen() -> None:
    edges = np.array([1.0, 10.0, 100.0, 1000.0])
    seen = bins_seen(edges, np.array([0.0, 10.0, 99.0, 1e6]), 60)
    assert seen.tolist() == [1, 2, 2, 4]
    assert within(np.tile([1.0, 2.0, 4.0, 8.0], (4, 1)), seen).tolist() == [1.0, 3.0, 3.0, 15.0]
