import numpy as np
import pytest

from detectors.arrays import F64
from detectors.measurement import Measurement, Verdict
from detectors.protocol import Window
from detectors.states.mmd import STATE_MMD
from tests.unit.detectors.state_stream import (
    PLAN,
    autoregressive,
    baseline_of,
    breaches,
    last_look,
    rows_of,
    states,
)


def stream(seed: int, n: int, d: int, rho: float = 0.0) -> F64:
    return autoregressive(np.random.default_rng(seed), n, d, rho)


def looked(past: F64, live: F64) -> Measurement:
    return last_look(STATE_MMD, baseline_of(STATE_MMD, states(past)), states(live))["mmd2"]


@pytest.mark.parametrize(("d", "rho"), [(1, 0.0), (8, 0.0), (8, 0.9), (32, 0.5)])
def test_no_change_is_silent(d: int, rho: float) -> None:
    past, live = stream(1, 4000, d, rho), stream(2, 8000, d, rho)
    assert breaches(STATE_MMD, baseline_of(STATE_MMD, states(past)), states(live), every=10) == []


def test_value_is_unbiased_where_nothing_changed() -> None:
    past = baseline_of(STATE_MMD, states(stream(1, 20_000, 4)))
    detector = STATE_MMD.build(past, PLAN)
    found: list[Measurement] = []
    for seed in range(40):
        total = detector.observe(rows_of(states(stream(100 + seed, 600, 4))))
        found += detector.measure(Window(total, [total], [0], 600_000))
    values = np.array([m.value / m.error for m in found])
    assert abs(values.mean()) < 0.5
    assert 0.6 < values.std() < 1.5


def test_value_is_the_squared_distance_of_kernel_means() -> None:
    past, live = stream(1, 20_000, 1), stream(2, 600, 1) + 1.0
    found = looked(past, live)
    units = past[::20, 0] / 1.0, live[:, 0]
    scale = np.median(np.abs(units[0][:, None] - units[0][None, :])[np.triu_indices(1000, 1)])

    def kernel(x: F64, y: F64) -> float:
        apart = (x[:, None] - y[None, :]) ** 2
        return float(np.mean([np.exp(-apart / (2 * (b * scale) ** 2)).mean() for b in (0.5, 1, 2)]))

    exact = kernel(units[0], units[0]) + kernel(units[1], units[1]) - 2 * kernel(units[0], units[1])
    assert found.value == pytest.approx(exact, rel=0.15)


@pytest.mark.parametrize("d", [8, 32])
def test_mean_variance_correlation_and_a_rare_mode_are_found(d: int) -> None:
    past, live = stream(1, 6000, d), stream(2, 600, d)
    common = stream(3, 600, 1)
    correlated = np.sqrt(0.5) * live + np.sqrt(0.5) * common  # the same marginals, correlation .5
    mode = np.where(np.arange(600)[:, None] % 12 == 0, 4.0 * (np.arange(d) % 2 * 2 - 1), live)
    for changed in (live + 0.25, live * 1.3, live * 0.75, correlated, mode):
        assert looked(past, changed).verdict is Verdict.BREACH


def test_the_feature_that_moved_is_named_first() -> None:
    live = stream(2, 600, 8)
    live[:, 5] += 1.0
    assert looked(stream(1, 6000, 8), live).culprits[0].name == "state[5]"


def test_without_baseline_or_rows_it_is_unknown() -> None:
    bare = STATE_MMD.build(None, PLAN)
    total = bare.observe(rows_of(states(stream(1, 50, 2))))
    (found,) = bare.measure(Window(total, [total], [0], 600_000))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, "no baseline")
    fitted = STATE_MMD.build(baseline_of(STATE_MMD, states(stream(1, 3000, 2))), PLAN)
    total = fitted.observe(rows_of(states(np.full((40, 2), np.nan))))
    (found,) = fitted.measure(Window(total, [total], [0], 600_000))
    assert found.reason == "0 states in the window, 30 needed"
