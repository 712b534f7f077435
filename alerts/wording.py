"""The one sentence that a person reads: what happened, how sure we are, what was done."""

from math import isnan

from alerts.findings import Finding
from alerts.rules import Kind
from detectors.measurement import Measurement

_DONE = {
    Kind.FALLBACK: "serving was told to fall back to {to}",
    Kind.ROLLBACK: "serving was told to roll back to {to}",
    Kind.HOLD: "the rollout is held",
    Kind.PROMOTE: "promotion was proposed",
    Kind.RETRAIN: "retraining was asked for",
    Kind.PAGE: "nothing was changed in serving; a person should look",
}


def fired(
    finding: Finding, policy: str, stage: str, kind: Kind, to_policy: str, dry_run: bool, per_day: float = 0.0
) -> str:
    """Why a rule fired. per_day: how often chance alone would say so, 0 where that is not known."""
    worst = finding.worst
    what = _what(worst) if worst is not None else finding.rule
    others = len(finding.breaches) - 1
    more = f" and {others} more in breach" if others > 0 else ""
    sure = f" (by chance at most once in {1 / per_day:.0f} days)" if per_day > 0 else ""
    return f"{policy} ({stage}): {what}{more}{sure}; {done(kind, to_policy, dry_run)}."


def resolved(finding: Finding, policy: str, stage: str, kept_clear: str) -> str:
    """Why an alert resolved."""
    what = (
        f"{_number(finding.worst)} against a line at {_line(finding.worst)}"
        if finding.worst is not None
        else "clear"
    )
    who = f"{policy} ({stage})"
    return f"{who}: {finding.rule} is back on the right side, {what}, and has stayed clear for {kept_clear}."


def gone(policy: str, stage: str, rule: str) -> str:
    """Why an alert ended that nobody has seen clear."""
    return f"{policy} ({stage}) is watched no longer, so this alert ends; {rule} was not seen to get better."


def violated(
    policy: str, stage: str, what: str, action: str, kind: Kind, to_policy: str, dry_run: bool
) -> str:
    """Why a hard constraint fired."""
    then = done(kind, to_policy, dry_run)
    return f"{policy} ({stage}): executed action {action}, which was {what}, without approval; {then}."


def quiet(policy: str, stage: str, events: int, quiet_for: str) -> str:
    """Why a hard constraint resolved."""
    return f"{policy} ({stage}): no forbidden action was executed for {quiet_for}, after {events} in this incident."


def done(kind: Kind, to_policy: str, dry_run: bool) -> str:
    """What was done, or would have been."""
    text = _DONE[kind].format(to=to_policy or "its configured fallback")
    return f"dry run, so nothing was sent to act on ({text} otherwise)" if dry_run else text


def span(ms: int) -> str:
    """A length of time as a person says it: `12 min`."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if ms >= size:
            return f"{ms / size:.4g} {unit}"
    return f"{ms} ms"


def _what(m: Measurement) -> str:
    if m.reason:
        return m.reason.rstrip(".")
    subject = f" of {m.subject}" if m.subject else ""
    return f"{m.detector} {m.statistic}{subject} is {_number(m)} against a line at {_line(m)} (n = {m.n})"


def _number(m: Measurement) -> str:
    spread = "" if isnan(m.error) else f" ± {m.error:.3g}"
    return f"{m.value:.4g}{spread}"


def _line(m: Measurement) -> str:
    return "no line" if isnan(m.threshold) else f"{m.threshold:.4g}"
