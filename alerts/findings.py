"""From the measurements of one key at one seal to what each rule saw."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isnan

from alerts.life import Sight
from alerts.rules import USUAL, RuleSettings, rule_of
from detectors.measurement import Measurement, Verdict

CLEAR_SEVERITY = (
    0.6  # resolves only well below the line (1.0), so that noise on the line makes no transitions
)

Streaks = dict[tuple[str, str, str], int]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule saw, the measurement that says it best and every measurement in breach."""

    rule: str
    sight: Sight
    worst: Measurement | None
    breaches: tuple[Measurement, ...]


def grow_streaks(streaks: Streaks, measurements: Iterable[Measurement]) -> Streaks:
    """For how many seals each armed measurement has been in breach; one that is not known neither adds nor breaks."""
    grown: Streaks = {}
    for m in measurements:
        if m.verdict is Verdict.OK:
            continue
        key = (m.detector, m.statistic, m.subject)
        before = streaks.get(key, 0)
        if m.verdict is Verdict.BREACH:
            grown[key] = before + 1
        elif before:
            grown[key] = before
    return grown


def findings(
    rules: Iterable[str],
    measurements: Iterable[Measurement],
    streaks: Streaks,
    settings: Mapping[str, RuleSettings],
    bucket_ms: int,
) -> list[Finding]:
    """What each of the rules saw, in their order."""
    by_rule: dict[str, list[Measurement]] = {}
    for m in measurements:
        if m.verdict is not Verdict.OK or not isnan(m.threshold):
            by_rule.setdefault(rule_of(m.detector, m.statistic), []).append(m)
    return [
        _finding(rule, by_rule.get(rule, []), streaks, settings.get(rule, USUAL), bucket_ms) for rule in rules
    ]


def _finding(
    rule: str, armed: list[Measurement], streaks: Streaks, settings: RuleSettings, bucket_ms: int
) -> Finding:
    breaches = tuple(m for m in armed if m.verdict is Verdict.BREACH)
    if breaches:
        paid = [m for m in breaches if _is_paid(m, streaks, settings, bucket_ms)]
        return Finding(rule, Sight.PAID if paid else Sight.BREACH, _worst(paid or list(breaches)), breaches)
    known = [m for m in armed if m.verdict is Verdict.OK]
    if not known or len(known) < len(armed):
        return Finding(rule, Sight.UNKNOWN, _worst(known), ())
    severe = max((m.severity for m in known if not isnan(m.severity)), default=0.0)
    return Finding(rule, Sight.CLEAR if severe < CLEAR_SEVERITY else Sight.NEAR, _worst(known), ())


def _is_paid(m: Measurement, streaks: Streaks, settings: RuleSettings, bucket_ms: int) -> bool:
    hold = m.hold_buckets if settings.hold_ms < 0 else -(-settings.hold_ms // bucket_ms)
    return (
        streaks.get((m.detector, m.statistic, m.subject), 0) > hold
    )  # a hold counts from the first breach on


def _worst(candidates: list[Measurement]) -> Measurement | None:
    return max(candidates, key=lambda m: -1.0 if isnan(m.severity) else m.severity, default=None)
