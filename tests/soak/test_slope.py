"""The soak's verdict finds a leak that was put in, and does not find one that is not there."""

import numpy as np
import pytest

from tests.soak.slope import slope

AT_S = np.arange(0.0, 3_000.0, 10.0)


def noisy(per_hour: float, seed: int) -> list[float]:
    """200 MB, a leak, and noise of half a MB between samples."""
    noise = np.random.default_rng(seed).normal(0.0, 0.5, len(AT_S))
    return list(200.0 + per_hour * AT_S / 3_600 + noise)


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_of_three_megabytes_an_hour_is_found(seed: int) -> None:
    found = slope(AT_S, noisy(3.0, seed))
    assert found.verdict(1.0) == "grows"
    assert found.lower < 3.3
    assert found.upper > 2.7


@pytest.mark.parametrize("seed", range(20))
def test_flat_memory_is_flat_and_one_step_is_no_slope(seed: int) -> None:
    values = noisy(0.0, seed)
    assert slope(AT_S, values).verdict(1.0) == "flat"
    values[150] += 100.0
    assert slope(AT_S, values).verdict(1.0) == "flat"


def test_a_slope_on_the_line_cannot_be_told() -> None:
    assert slope(AT_S, noisy(1.0, 1)).verdict(1.0) == "cannot tell"


def test_a_few_minutes_say_nothing() -> None:
    with pytest.raises(ValueError, match="3 minutes of samples say nothing"):
        slope(AT_S[:18], noisy(0.0, 1)[:18])
