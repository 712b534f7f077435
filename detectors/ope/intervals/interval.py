"""An interval, or the reason why there is none."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """Holds the truth with probability at least 1 - delta: delta / 2 on either side."""

    lower: float
    upper: float

    def overlaps(self, other: "Interval") -> bool:
        return self.lower <= other.upper and other.lower <= self.upper


@dataclass(frozen=True, slots=True)
class Withheld:
    """No interval, and why, in words that can stand in a report."""

    reason: str
