"""Sums of importance-weighted rewards clipped at fixed levels, for bounds that hold at every sample size."""

from dataclasses import dataclass

import numpy as np

from detectors.ope.columns import Floats

CLIPS = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0])


@dataclass(frozen=True, slots=True)
class ClippedSums:
    """n, and for gains w x and losses w (1 - x), x = reward in [0, 1]: sums and sums of squares at each clip.

    first, second: (2, clips), gains then losses. Clipping from above only lowers a mean of what is not
    negative, so a lower bound for the clipped gains bounds the value, and one for the clipped losses bounds
    1 - value: upper bounds come from the same theorem.
    """

    n: float
    first: Floats
    second: Floats

    def __add__(self, other: "ClippedSums") -> "ClippedSums":
        return ClippedSums(self.n + other.n, self.first + other.first, self.second + other.second)


def empty() -> ClippedSums:
    """The neutral element of `+`."""
    return ClippedSums(0.0, np.zeros((2, len(CLIPS))), np.zeros((2, len(CLIPS))))


def clipped_sums(weight: Floats, x: Floats) -> ClippedSums:
    """weight (n,) importance weights; x (n,) rewards scaled to [0, 1] by a range that is known, not seen."""
    first, second = np.zeros((2, len(CLIPS))), np.zeros((2, len(CLIPS)))
    for side, gains in enumerate((weight * x, weight * (1 - x))):
        for k, clip in enumerate(CLIPS):
            kept = np.minimum(gains, clip)
            first[side, k], second[side, k] = kept.sum(), kept @ kept
    return ClippedSums(float(len(x)), first, second)
