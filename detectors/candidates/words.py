"""How what is known of a candidate is put: trust and comparison as numbers, evidence against its bar."""

from math import exp

from detectors.candidates.sums import NAME
from detectors.measurement import Measurement, Verdict
from detectors.ope.verdict import Comparison
from detectors.ope.verdict import Verdict as Trust

TRUSTS = {Trust.RELIABLE: 1.0, Trust.UNRELIABLE: 0.0, Trust.NOT_IDENTIFIED: -1.0}
COMPARISONS = {Comparison.BETTER: 1.0, Comparison.CANNOT_TELL: 0.0, Comparison.WORSE: -1.0}


def judged(
    statistic: str, subject: str, value: float, line: float, n: int, evidence: float, bar: float, reason: str
) -> Measurement:
    """Breach where the log of the evidence comes to the bar."""
    verdict = Verdict.BREACH if evidence >= bar else Verdict.OK
    severity = max(evidence, 0.0) / bar
    return Measurement(NAME, statistic, subject, value, n, verdict, line, severity=severity, reason=reason)


def odds(log_evidence: float) -> str:
    """`1 in` so much."""
    return f"{exp(min(log_evidence, 690.0)):.3g}"
