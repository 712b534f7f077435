"""The horizon guard: how many steps importance weights survive."""

from dataclasses import dataclass

import numpy as np

from detectors.ope.columns import Floats
from detectors.ope.sequential.episodes import Episodes


@dataclass(frozen=True, slots=True)
class StepWeights:
    """Per step (steps,): episodes that reach it, sums of their cumulative weights and of the squares."""

    alive: Floats
    total: Floats
    squares: Floats

    def __add__(self, other: "StepWeights") -> "StepWeights":
        size = max(len(self.alive), len(other.alive))
        mine, theirs = _padded(self, size), _padded(other, size)
        return StepWeights(*(a + b for a, b in zip(mine, theirs, strict=True)))

    @property
    def ess(self) -> Floats:
        """(steps,) effective number of episodes at each step."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nan_to_num(self.total**2 / self.squares)

    def usable(self, least: float) -> int:
        """Steps before the effective number first falls below `least`, and below half of those that still run."""
        gone = np.flatnonzero(self.ess < np.minimum(least, self.alive / 2))
        return int(gone[0]) if len(gone) else len(self.alive)

    def mass_beyond(self, steps: int, gamma: float) -> float:
        """The share of discounted steps that lies beyond the first `steps`."""
        mass = self.alive * gamma ** np.arange(len(self.alive), dtype=np.float64)
        return float(mass[steps:].sum() / mass.sum()) if len(mass) else 0.0


def step_weights(episodes: Episodes) -> StepWeights:
    """Sums over the episodes at each step."""
    sums = [
        np.bincount(episodes.step, weights=values).astype(np.float64)
        for values in (np.ones_like(episodes.weight), episodes.weight, episodes.weight**2)
    ]
    return StepWeights(*sums)


def no_steps() -> StepWeights:
    """The neutral element of `+`."""
    return StepWeights(np.zeros(0), np.zeros(0), np.zeros(0))


def _padded(steps: StepWeights, size: int) -> list[Floats]:
    return [np.pad(x, (0, size - len(x))) for x in (steps.alive, steps.total, steps.squares)]
