"""Whether logged propensities are the frequencies at which actions were really taken."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from detectors.ope.columns import Floats, Ints

MOST_ACTIONS = 4096


@dataclass(frozen=True, slots=True)
class Calibration:
    """Per action (actions,): sums of 1/propensity and of its square over the decisions that took it."""

    n: float
    inverse: Floats
    squares: Floats

    def __add__(self, other: "Calibration") -> "Calibration":
        size = max(len(self.inverse), len(other.inverse))
        return Calibration(
            self.n + other.n,
            _padded(self.inverse, size) + _padded(other.inverse, size),
            _padded(self.squares, size) + _padded(other.squares, size),
        )


def calibration_of(action: Ints, propensity: Floats) -> Calibration:
    """action (n,) in 0..MOST_ACTIONS-1 (others are counted in n only), propensity (n,) of that action."""
    known = (action >= 0) & (action < MOST_ACTIONS)
    inverse = 1.0 / propensity[known]
    return Calibration(
        float(len(action)),
        np.bincount(action[known], weights=inverse).astype(np.float64),
        np.bincount(action[known], weights=inverse**2).astype(np.float64),
    )


def worst_action(calibration: Calibration, error_rate: float = 1e-3) -> tuple[int, float] | None:
    """The action taken more often than logged, and how many times; None where none is.

    mean(1(A = a) / propensity) estimates the mass of states in which a is possible at all: never above 1
    (the importance-weight identity of Horvitz & Thompson 1952), so only an excess is a fault. error_rate
    is that of all actions together (Bonferroni).
    """
    if calibration.n < 2 or not len(calibration.inverse):
        return None
    mean = calibration.inverse / calibration.n
    error = np.sqrt(np.maximum(calibration.squares / calibration.n - mean**2, 1e-300) / calibration.n)
    z = (mean - 1.0) / error
    worst = int(z.argmax())
    limit = -ndtri(error_rate / len(z))
    return (worst, float(mean[worst])) if z[worst] > limit and mean[worst] > 1 + 1e-6 else None


def _padded(values: Floats, size: int) -> Floats:
    return np.pad(values, (0, size - len(values)))
