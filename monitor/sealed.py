"""What one sealed bucket of one deployment said: measurements per key, signals, and how they are written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite

import msgspec

from alerts.closed_loop import Safe
from alerts.signal import Signal
from detectors.measurement import Measurement
from monitor.durations import rfc3339

_JSON = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Sealed:
    """end_ms: end of the bucket, the core's `now`. measured: (policy, stage) -> measurements.

    again: signals to send once more under their own id. safe: actions that are served now. loops_open: those not yet.
    """

    deployment: str
    end_ms: int
    window_ms: int
    baseline: str
    measured: Mapping[tuple[str, str], list[Measurement]]
    signals: list[Signal]
    decisions: int
    again: tuple[Signal, ...] = ()
    safe: tuple[Safe, ...] = ()
    loops_open: int = 0


def measurement_lines(sealed: Sealed) -> Iterator[bytes]:
    """One JSON line per measurement, keys and order fixed; a number that does not exist is null."""
    window_start, window_end = rfc3339(sealed.end_ms - sealed.window_ms), rfc3339(sealed.end_ms)
    for (policy, stage), measurements in sealed.measured.items():
        for m in measurements:
            yield _JSON.encode(
                {
                    "time": window_end,
                    "deployment": sealed.deployment,
                    "policy": policy,
                    "stage": stage,
                    "detector": m.detector,
                    "statistic": m.statistic,
                    "subject": m.subject,
                    "value": number(m.value),
                    "error": number(m.error),
                    "threshold": number(m.threshold),
                    "severity": number(m.severity),
                    "n": m.n,
                    "verdict": m.verdict.value,
                    "reason": m.reason,
                    "window_start": window_start,
                    "window_end": window_end,
                    "baseline": sealed.baseline,
                    "culprits": [{"name": c.name, "share": number(c.share)} for c in m.culprits],
                }
            )


def number(value: float) -> float | None:
    """NaN and infinities have no place in JSON."""
    return float(value) if isfinite(value) else None
