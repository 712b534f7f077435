"""What a linear model sees of a state: the standardised features, and random Fourier features of them."""

from dataclasses import dataclass

import numpy as np

from detectors.ope.columns import Floats

SAMPLE = 2000  # states from which the kernel width is taken


@dataclass(frozen=True, slots=True)
class Features:
    """mean, scale (d,); frequencies (d, random), phases (random,)."""

    mean: Floats
    scale: Floats
    frequencies: Floats
    phases: Floats

    @property
    def width(self) -> int:
        return 1 + len(self.mean) + len(self.phases)

    def of(self, state: Floats) -> Floats:
        """(n, width): 1, the standardised state (n, d), and its random features."""
        x = (state - self.mean) / self.scale
        columns = [np.ones((len(x), 1)), x]
        if len(self.phases):
            columns.append(np.sqrt(2 / len(self.phases)) * np.cos(x @ self.frequencies + self.phases))
        return np.concatenate(columns, axis=1)


def features_of(state: Floats, random: int, rng: np.random.Generator) -> Features:
    """Features for states (n, d), with `random` Fourier features of a Gaussian kernel (Rahimi & Recht 2007).

    The kernel's width is the median distance of pairs of states; a constant feature is left alone.
    """
    mean, scale = state.mean(axis=0), state.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    d = state.shape[1]
    if not random:
        return Features(mean, scale, np.zeros((d, 0)), np.zeros(0))
    left, right = ((state[rng.integers(0, len(state), SAMPLE)] - mean) / scale for _ in range(2))
    width = float(np.median(np.linalg.norm(left - right, axis=1))) or 1.0
    return Features(mean, scale, rng.normal(0, 1 / width, (d, random)), rng.uniform(0, 2 * np.pi, random))
