"""A value against its line, as a measurement."""

from detectors.measurement import Culprit, Measurement, Verdict


def judged(
    detector: str, statistic: str, value: float, usual: float, line: float, error: float, n: int, reason: str,
    culprits: tuple[Culprit, ...] = (), subject: str = "",
) -> Measurement:  # fmt: skip
    """Breach where the value lies beyond the line, seen from what is usual; severity in units of that distance."""
    severity = float((value - usual) / (line - usual)) if line != usual else 0.0
    verdict = Verdict.BREACH if severity > 1 else Verdict.OK
    return Measurement(
        detector,
        statistic,
        subject,
        float(value),
        n,
        verdict,
        float(line),
        float(error),
        severity,
        0,
        reason,
        culprits,
    )
