"""A judge with short words: measurements by verdict, violations by time."""

from collections.abc import Iterable
from math import isnan, nan
from typing import Any

from alerts.judge import Judge
from alerts.mandate import Mandate
from alerts.signal import Signal
from alerts.violations import Key, ViolationEvent
from detectors.measurement import Culprit, Measurement, Verdict

BUCKET_MS, WINDOW_MS, LATENESS_MS = 10_000, 60_000, 5_000
T0 = 1_767_225_600_000
QUIET_MS = 2 * WINDOW_MS
FULL: Key = ("v2", "full")
CANARY: Key = ("v3", "canary")


def judge(**changed: Any) -> Judge:
    """One deployment's judge with the default rules."""
    mandate: dict[str, Any] = {
        "deployment": "home", "fallback_policy": "rules-v3", "rollback_policy": "v1", "settings": {},
        "bucket_ms": BUCKET_MS, "window_ms": WINDOW_MS, "lateness_ms": LATENESS_MS, "dry_run": False,
        "baseline": "b2:77",
    }  # fmt: skip
    return Judge(Mandate(**mandate | changed))


def reward(verdict: Verdict, severity: float = nan) -> Measurement:
    """The reward rule's mean."""
    severity = {Verdict.OK: 0.1, Verdict.BREACH: 1.5}.get(verdict, nan) if isnan(severity) else severity
    return Measurement(
        "reward", "mean", "", 0.41, 1_000, verdict, 0.5, error=0.01, severity=severity,
        culprits=(Culprit("price", 0.7), Culprit("hour", 0.2)),
    )  # fmt: skip


def sealed(of: Judge, seal: int, **verdicts: Verdict) -> list[Signal]:
    """The signals of the seal-th bucket; verdicts by policy name, of FULL (`full`) and CANARY (`canary`)."""
    keys = {"full": FULL, "canary": CANARY, "shadow": ("v4", "shadow"), "fallback": ("rules-v3", "fallback")}
    measured = {keys[name]: [reward(verdict)] for name, verdict in verdicts.items()}
    return of.at_seal(T0 + seal * BUCKET_MS, measured)


def violation(at_ms: int, key: Key = FULL, clock_ms: int | None = None, action: str = "7") -> ViolationEvent:
    """One forbidden action at T0 + at_ms."""
    ts_ms = T0 + at_ms
    return ViolationEvent(ts_ms, T0 + clock_ms if clock_ms is not None else ts_ms, *key, "masked", action)


def ids(signals: Iterable[Signal]) -> list[str]:
    """What a receiver would compare."""
    return [signal.id for signal in signals]
