"""What happened to n successive decisions, as columns; and the seeded worlds that make them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.signal import lfilter

from detectors.arrays import F64, I64

Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Events:
    """Columns of n decisions; what is absent takes no part. delay: events until the reward comes (inf: never).

    segment: the code of the one segment that each lies in.
    """

    reward: F64 | None = None
    delay: F64 | None = None
    state: F64 | None = None
    action: I64 | None = None
    propensity: F64 | None = None
    value: F64 | None = None
    truth: F64 | None = None
    segment: I64 | None = None
    costs: dict[str, F64] = field(default_factory=dict)


# n events of which those from `at` on are changed (at = n: none), after `before` events that nobody sees
World = Callable[[Generator, int, int], Events]


def after(n: int, at: int) -> F64:
    """(n,) 0 before the change, 1 from it on."""
    return (np.arange(n) >= at).astype(np.float64)


def ramp(n: int, at: int, length: int) -> F64:
    """(n,) 0 before the change, then up to 1 over so many events."""
    return np.clip((np.arange(n) - at) / length, 0.0, 1.0)


def normal(shift: F64 | float, rng: Generator, n: int) -> F64:
    return rng.standard_normal(n) + shift


def ar1(rng: Generator, n: int, rho: float, columns: int = 0) -> F64:
    """(n,) or (n, columns) standard normal with this autocorrelation."""
    noise = rng.standard_normal((n, columns) if columns else n) * np.sqrt(1 - rho**2)
    noise[0] /= np.sqrt(1 - rho**2)
    return np.asarray(lfilter([1.0], [1.0, -rho], noise, axis=0))
