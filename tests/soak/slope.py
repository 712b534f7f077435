"""How fast a series of samples grows, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import theilslopes

from detectors.arrays import F64

BLOCK_S = 60.0


@dataclass(frozen=True)
class Slope:
    """Units an hour, with a 95 % interval."""

    per_hour: float
    lower: float
    upper: float

    def verdict(self, most: float) -> str:
        """`flat` where even the upper end is at most that, `grows` where even the lower end is more."""
        if self.upper <= most:
            return "flat"
        return "grows" if self.lower > most else "cannot tell"


def slope(at_s: Sequence[float] | F64, values: Sequence[float]) -> Slope:
    """Theil-Sen (Sen 1968) over the medians of minutes, which depend on each other less than samples do."""
    seconds, series = np.asarray(at_s, float), np.asarray(values, float)
    blocks = (seconds // BLOCK_S).astype(int)
    which = np.unique(blocks)
    if len(which) < 5:
        raise ValueError(f"{len(which)} minutes of samples say nothing of a slope; 5 are needed")
    medians = [float(np.median(series[blocks == block])) for block in which]
    found = theilslopes(medians, which * BLOCK_S / 3600, alpha=0.95)
    return Slope(float(found[0]), float(found[2]), float(found[3]))
