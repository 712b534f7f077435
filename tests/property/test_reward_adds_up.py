import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors.protocol import Plan
from detectors.rewards import quantile_sketch
from detectors.rewards.reward import REWARD
from tests.unit.detectors.reward_stream import count, rows

_PLAN = Plan(bucket_ms=10_000, window_buckets=6, horizon_ms=60_000, false_per_day=0.1)
_rewards = st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, 100_000)), min_size=1, max_size=40)


@given(_rewards, st.integers(0, 40))
def test_statistic_of_a_bucket_is_the_sum_of_its_parts(pairs: list[tuple[float, int]], cut: int) -> None:
    detector = REWARD.build(None, _PLAN)
    values, delays = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    whole = count(detector, rows(len(values), values, delays))
    cut = min(cut, len(values))
    parts = [rows(len(values[s]), values[s], delays[s]) for s in (slice(0, cut), slice(cut, None))]
    merged = type(whole).merged([count(detector, part) for part in parts])
    for name, array in whole.arrays().items():
        other = merged.arrays()[name]
        width = max(array.shape[-1], other.shape[-1])
        a, b = (
            np.pad(x.astype(np.float64), [(0, 0)] * (x.ndim - 1) + [(0, width - x.shape[-1])])
            for x in (array, other)
        )
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-6)


@given(st.lists(st.floats(-1e9, 1e9).filter(lambda v: v == 0 or abs(v) >= 1e-9), min_size=1), st.floats(0, 1))
def test_quantile_is_near_the_value_of_its_rank(values: list[float], q: float) -> None:
    exact = sorted(values)[int(np.floor(q * (len(values) - 1)))]
    found = quantile_sketch.quantiles(quantile_sketch.counts(np.array(values)), np.array([q]))[0]
    assert abs(found - exact) <= (quantile_sketch.ACCURACY + 1e-6) * abs(exact)
