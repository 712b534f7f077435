"""Series notation: `ok*3 breach*4 ok*9` in, one word per seal out (`-`, `pending`, `firing`, `resolved`)."""

from collections.abc import Iterator

from alerts.findings import Streaks, findings, grow_streaks
from alerts.life import Alert, AlertState, Change, step
from alerts.rules import RuleSettings
from detectors.measurement import Measurement, Verdict

BUCKET_MS = 10_000
START_MS = 1_767_225_600_000

# word -> verdict and severity of the one armed measurement of that seal
WORDS = {
    "ok": (Verdict.OK, 0.1),
    "near": (Verdict.OK, 0.9),
    "breach": (Verdict.BREACH, 1.2),
    "unknown": (Verdict.UNKNOWN, float("nan")),
    "error": (Verdict.ERROR, float("nan")),
}


def expanded(series: str) -> list[str]:
    """`a*2 b` -> [a, a, b]."""
    return [
        word for part in series.split() for word in [part.split("*")[0]] * int((part + "*1").split("*")[1])
    ]


def measured(verdict: Verdict, severity: float, hold: int = 0) -> Measurement:
    """A reward mean with this verdict."""
    line = float("nan") if verdict in (Verdict.UNKNOWN, Verdict.ERROR) else 1.0
    return Measurement(
        "reward", "mean", "", severity, 100, verdict, line, severity=severity, hold_buckets=hold
    )


def lived(series: str, hold: int = 0, settings: RuleSettings | None = None, keep_seals: int = 3) -> str:
    """What an alert on the reward rule goes through, seal by seal."""
    found = [measured(*WORDS[word], hold) for word in expanded(series)]
    return " ".join(transitions(found, settings or RuleSettings(), keep_seals))


def transitions(measurements: list[Measurement], settings: RuleSettings, keep_seals: int) -> Iterator[str]:
    """One word per seal; the change where there is one, else the state."""
    alert, streaks = Alert(), Streaks()
    for i, m in enumerate(measurements):
        streaks = grow_streaks(streaks, [m])
        (finding,) = findings(["reward"], [m], streaks, {"reward": settings}, BUCKET_MS)
        alert, change = step(alert, finding.sight, START_MS + i * BUCKET_MS, keep_seals)
        yield _word(alert, change)


def _word(alert: Alert, change: Change | None) -> str:
    if change is Change.RESOLVED:
        return "resolved"
    return {AlertState.INACTIVE: "-", AlertState.PENDING: "pending", AlertState.FIRING: "firing"}[alert.state]
