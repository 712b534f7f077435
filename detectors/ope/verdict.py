"""Whether an estimate can be believed, and whether the candidate beats the incumbent."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from detectors.ope.intervals.interval import Interval, Withheld


class Verdict(StrEnum):
    """In rising order of doubt."""

    RELIABLE = "reliable"
    UNRELIABLE = "unreliable"
    NOT_IDENTIFIED = "not identified"


class Comparison(StrEnum):
    """Of the candidate with the policy that wrote the log."""

    BETTER = "better"
    WORSE = "worse"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True)
class Finding:
    """One ground for doubt, in words that can stand in a report."""

    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate and its interval."""

    value: float
    lower: float
    upper: float

    @property
    def interval(self) -> Interval:
        return Interval(self.lower, self.upper)


def verdict_of(findings: list[Finding]) -> tuple[Verdict, str]:
    """The gravest finding and its sentence; `reliable` and no sentence where there is none."""
    for verdict in (Verdict.NOT_IDENTIFIED, Verdict.UNRELIABLE):
        for finding in findings:
            if finding.verdict is verdict:
                return verdict, finding.sentence
    return Verdict.RELIABLE, ""


def compare(difference: Estimate | Withheld | None, margin: float, verdict: Verdict) -> Comparison:
    """`better` where all of the interval lies above the margin, `worse` where all of it lies below minus its size.

    difference: candidate minus incumbent. A margin below 0 is what a candidate may fall short by and still do: within
    it, it is called better. Nothing follows from an estimate that is not reliable.
    """
    if not isinstance(difference, Estimate) or verdict is not Verdict.RELIABLE:
        return Comparison.CANNOT_TELL
    if difference.lower > margin:
        return Comparison.BETTER
    return Comparison.WORSE if difference.upper < -abs(margin) else Comparison.CANNOT_TELL


def more_data(difference: Estimate | Withheld | None, margin: float, n: int) -> int | None:
    """How many more rows would settle the comparison at this difference; None where none would.

    Half-widths shrink with the square root of n, so n grows with the square of how far the bound that
    matters overshoots its line.
    """
    if not isinstance(difference, Estimate):
        return None
    value = difference.value
    if value > margin:
        gap, half = value - margin, value - difference.lower
    elif value < -abs(margin):
        gap, half = -abs(margin) - value, difference.upper - value
    else:
        return None
    return int(np.ceil(n * max((half / gap) ** 2 - 1.0, 0.0)))


def disagreement(estimates: dict[str, Estimate | Withheld], names: tuple[str, ...]) -> Finding | None:
    """Two of the named estimators whose intervals do not meet: at least one of them is wrong."""
    given = [(name, e) for name in names if isinstance(e := estimates.get(name), Estimate)]
    for i, (name, mine) in enumerate(given):
        for other, theirs in given[i + 1 :]:
            if not mine.interval.overlaps(theirs.interval):
                return Finding(
                    Verdict.UNRELIABLE,
                    f"the estimators contradict each other: {name} says {span(mine)}, "
                    f"{other} says {span(theirs)}",
                )
    return None


def span(estimate: Estimate) -> str:
    """`0.0046 (0.0013 to 0.0081)`."""
    return f"{estimate.value:.4g} ({estimate.lower:.4g} to {estimate.upper:.4g})"
