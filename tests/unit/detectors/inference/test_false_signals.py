from collections.abc import Callable

import numpy as np
import pytest
from scipy import signal, stats

from detectors.arrays import F64
from detectors.inference.false_signals import HoldPrice, crossing_rate, hold_price, suffixes
from detectors.protocol import Plan
from detectors.rewards.reference import RewardReference, reward_reference
from detectors.rewards.reward import REWARD
from tests.unit.detectors.reward_stream import Stream, instant_baseline, signal_buckets, signals

Law = Callable[[np.random.Generator, int], F64]
_PER_BUCKET = 5
_EVENTS = 10_000  # one false signal is allowed in so many
_PLAN = Plan(10_000, 60, 1000, false_per_day=8640 * _PER_BUCKET / _EVENTS)


def _ar1(generator: np.random.Generator, n: int) -> F64:
    values: F64 = signal.lfilter([1.0], [1.0, -0.5], generator.normal(size=n) * np.sqrt(0.75))
    return values


_LAWS: dict[str, Law] = {
    "normal": lambda generator, n: generator.normal(size=n),
    "student t3": lambda generator, n: generator.standard_t(3, size=n) / 3**0.5,
    "clicks .05": lambda generator, n: (generator.random(n) < 0.05).astype(np.float64),
    "rarely bad .95": lambda generator, n: (generator.random(n) < 0.95).astype(np.float64),
    "autoregression .5": _ar1,
}


def _reference(law: Law, generator: np.random.Generator) -> RewardReference:
    reference = reward_reference(instant_baseline(_PLAN, law(generator, 5000), _PER_BUCKET), _PLAN)
    assert isinstance(reference, RewardReference)
    return reference


def _fired(reference: RewardReference, rewards: F64) -> np.ndarray:
    sums = rewards.reshape(-1, _PER_BUCKET).sum(axis=1)
    return signal_buckets(reference, _PLAN, sums, np.full(len(sums), float(_PER_BUCKET)))


@pytest.mark.parametrize("name", list(_LAWS))
def test_stationary_rewards_fire_no_more_than_the_budget(name: str) -> None:
    """12 baselines of 5,000 rewards, 100,000 live ones each: 120 false signals are allowed.

    Measured .18 to .45 of the budget; signals of one baseline come together, so the margin is 1.25 of it.
    """
    generator = np.random.default_rng(5)
    fired = sum(
        len(_fired(_reference(_LAWS[name], generator), _LAWS[name](generator, 100_000))) for _ in range(12)
    )
    assert 5 <= fired <= 1.25 * 120


def test_the_bare_two_sigma_line_would_break_the_budget_five_times() -> None:
    z = _moving_z(np.random.default_rng(6), 100_000, 60)
    crossings = np.sum((z[1:] < -2) & (z[:-1] >= -2))
    assert crossings > 5 * 100_000 * _PER_BUCKET / _EVENTS


@pytest.mark.parametrize(("name", "events"), [("normal", 75), ("student t3", 75), ("autoregression .5", 150)])
def test_a_drop_of_one_deviation_is_found_fast(name: str, events: int) -> None:
    # Limit, a CUSUM that knows both laws: 15, 9 and 36 events. The 2-sigma line of 300 events alone needs 35.
    generator = np.random.default_rng(7)
    delays = []
    for _ in range(20):
        reference, live = _reference(_LAWS[name], generator), _LAWS[name](generator, 4000)
        live[500:] -= 1.0
        fired = _fired(reference, live)
        after = fired[fired >= 100]
        if not (fired < 100).any():
            delays.append((after[0] - 99) * _PER_BUCKET)
    assert len(delays) >= 15
    assert np.mean(delays) < events


def _moving_z(generator: np.random.Generator, n: int, window: int) -> F64:
    total = np.cumsum(np.concatenate([[0.0], generator.normal(size=n)]))
    z: F64 = (total[window:] - total[:-window]) / window**0.5
    return z


def test_crossing_rate_agrees_with_simulation() -> None:
    z = _moving_z(np.random.default_rng(8), 2_000_000, 20)
    for depth in (2.0, 3.0):
        counted = np.mean((z[1:] < -depth) & (z[:-1] >= -depth))
        bound = depth * stats.norm.pdf(depth) / 20
        assert crossing_rate(20, 0.0, depth) == pytest.approx(min(counted, bound), rel=0.1)


def test_hold_shrinks_from_the_line_to_the_depth() -> None:
    price = HoldPrice(2.0, 5.0, 90, (1, 2), 0.1)
    assert [price.hold_at(depth) for depth in (1.0, 2.0, 3.5, 4.99, 5.0, 40.0, np.inf)] == [
        90,
        90,
        45,
        1,
        0,
        0,
        0,
    ]


def test_a_smaller_budget_and_more_autocorrelation_cost_more() -> None:
    cheap, dear = hold_price(60, 10_000, 1.0), hold_price(60, 10_000, 1 / 90)
    assert dear.depth > cheap.depth
    assert dear.hold_buckets > cheap.hold_buckets > 0
    assert hold_price(60, 10_000, 1.0, rho=0.9).hold_buckets > cheap.hold_buckets
    assert hold_price(60, 10_000, 1.0, common=0.3).hold_buckets >= cheap.hold_buckets


def test_a_line_deeper_than_what_fires_at_once_needs_no_hold() -> None:
    assert hold_price(60, 10_000, 1.0, line=9.0) == HoldPrice(9.0, 9.0, 0, suffixes(60), 1.0)


def test_price_is_the_same_every_time() -> None:
    first = hold_price(60, 10_000, 0.03, 2.0, 0.2, 0.1)
    hold_price.cache_clear()
    assert hold_price(60, 10_000, 0.03, 2.0, 0.2, 0.1) == first


def test_suffixes_end_in_the_whole_window() -> None:
    assert suffixes(1) == (1,)
    assert suffixes(8) == (1, 2, 4, 8)
    assert suffixes(60) == (1, 2, 4, 8, 16, 32, 60)


def test_the_fast_simulation_says_what_the_detector_says() -> None:
    generator = np.random.default_rng(9)
    base = instant_baseline(_PLAN, generator.normal(size=5000), _PER_BUCKET)
    live = generator.normal(size=3000)
    live[1000:1300] -= 1.0
    live[2000:] -= 0.3
    reference = reward_reference(base, _PLAN)
    assert isinstance(reference, RewardReference)
    stream = Stream(np.arange(3000) * 2000, live, np.zeros(3000, np.int64))
    slow = signals(stream, REWARD.build(base, _PLAN), _PLAN)
    assert len(slow) >= 2
    assert [int(i + 1) * 10_000 for i in _fired(reference, live)] == slow
