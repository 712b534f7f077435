"""How often evaluations were right: predicted intervals beside what happened when the candidate ran."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from detectors.ope.verdict import Estimate

KEPT = 1000  # outcomes shown; older ones stay in the counts


@dataclass(frozen=True, slots=True)
class Outcome:
    """A candidate's predicted value and interval at delta, and its realised mean with its standard error."""

    candidate: str
    predicted: Estimate
    delta: float
    realised: float
    error: float

    @property
    def covered(self) -> bool:
        """Whether the interval, widened by the realised mean's own error, holds it.

        The interval is for the true value; the realised mean misses that by chance too, so half-widths are
        combined as independent errors on either side are: sqrt(half^2 + (z error)^2).
        """
        z = float(ndtri(1 - self.delta / 2)) * self.error
        below = np.hypot(self.predicted.value - self.predicted.lower, z)
        above = np.hypot(self.predicted.upper - self.predicted.value, z)
        return bool(self.predicted.value - below <= self.realised <= self.predicted.value + above)


@dataclass(frozen=True, slots=True)
class CoverageRecord:
    """Outcomes so far: total and covered counts, and the last KEPT in order."""

    total: int = 0
    covered: int = 0
    outcomes: tuple[Outcome, ...] = ()

    def add(self, outcome: Outcome) -> "CoverageRecord":
        return CoverageRecord(
            self.total + 1, self.covered + outcome.covered, (*self.outcomes, outcome)[-KEPT:]
        )

    def __add__(self, other: "CoverageRecord") -> "CoverageRecord":
        outcomes = (*self.outcomes, *other.outcomes)[-KEPT:]
        return CoverageRecord(self.total + other.total, self.covered + other.covered, outcomes)

    def coverage(self, delta: float = 0.05) -> Estimate | None:
        """The running coverage with its interval at 1 - delta (Wilson 1927), if there was any outcome."""
        if not self.total:
            return None
        z = float(ndtri(1 - delta / 2))
        share, n = self.covered / self.total, self.total
        centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)))
        return Estimate(share, max(0.0, centre - half), min(1.0, centre + half))
