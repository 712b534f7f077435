"""What a detector says of one window: a number, its line, its certainty and a four-way verdict."""

from dataclasses import dataclass
from enum import StrEnum
from math import nan


class Verdict(StrEnum):
    """`unknown` is not healthy: it never clears an alert and never promotes."""

    OK = "ok"
    BREACH = "breach"
    UNKNOWN = "unknown"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Culprit:
    """A feature, action or segment and its share of the finding (unit as the statistic's)."""

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """One statistic of one window.

    `threshold` is NaN for a statistic that is only described. `severity` is the distance from the reference in
    units of the distance to the threshold: 0 at the reference, 1 on the line, NaN when unknown. `error` is the
    standard error of `value`. `hold_buckets` is how many sealed buckets after its first a breach must last before
    it is paid for by the false-signal budget (0: at once). `reason` is one plain clause with the numbers.
    """

    detector: str
    statistic: str
    subject: str
    value: float
    n: int
    verdict: Verdict
    threshold: float = nan
    error: float = nan
    severity: float = nan
    hold_buckets: int = 0
    reason: str = ""
    culprits: tuple[Culprit, ...] = ()


def unknown(
    detector: str, statistic: str, n: int, reason: str, subject: str = "", value: float = nan
) -> Measurement:
    """The verdict of a detector that does not know, and why."""
    return Measurement(detector, statistic, subject, value, n, Verdict.UNKNOWN, reason=reason)
