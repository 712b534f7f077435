"""What the judge ruled about one finding of a seal, and the signal that says so."""

from dataclasses import dataclass

from alerts import wording
from alerts.findings import Finding
from alerts.holds import TICKS_PER_MS
from alerts.life import Change, Sight
from alerts.mandate import EXPIRY_MS, Mandate
from alerts.rules import Kind
from alerts.signal import Evidence, Signal, signal_id


@dataclass(frozen=True, slots=True)
class Ruling:
    """key: policy and stage. fired_ms names the alert. why: what is said besides the finding itself."""

    key: tuple[str, str]
    finding: Finding
    fired_ms: int
    change: Change
    kind: Kind
    why: str = ""


def seal_signal(mandate: Mandate, ruling: Ruling, now_ms: int, index: int) -> Signal:
    """The signal of a ruling at now_ms; index: its place among those of the same seal."""
    (policy, stage), finding, change, kind = ruling.key, ruling.finding, ruling.change, ruling.kind
    rule, m, dry_run = finding.rule, finding.worst, mandate.dry_run_of(finding.rule)
    over = (
        change is Change.RESOLVED and finding.sight is Sight.CLEAR
    )  # else it is gone, which puts nothing back
    to_policy = mandate.serve(kind, policy, firing=not over)
    if change is Change.FIRED:
        per_day = mandate.chance_per_day(rule)
        reason = wording.fired(finding, policy, stage, kind, to_policy, dry_run, per_day)
    else:
        kept_clear = wording.span(mandate.keep_firing_ms(rule))
        reason = (
            wording.resolved(finding, policy, stage, kept_clear)
            if over
            else wording.gone(policy, stage, rule)
        )
        reason += mandate.after(kind, policy, rule, seen=over)
    evidence = Evidence(
        statistic=f"{m.detector}.{m.statistic}" if m else rule,
        value=m.value if m else None,
        threshold=m.threshold if m else None,
        n=m.n if m else 0,
        window_start_ms=now_ms - mandate.window_ms,
        window_end_ms=now_ms,
        baseline=mandate.baseline,
        culprits=_culprits(finding),
    )
    return Signal(
        id=signal_id(mandate.deployment, policy, stage, rule, "", ruling.fired_ms, change.value),
        time_ms=now_ms,
        deployment=mandate.deployment,
        policy=policy,
        kind=kind.value,
        state=change.value,
        rule=rule,
        reason=reason + ruling.why,
        generation=(now_ms + mandate.lateness_ms) * TICKS_PER_MS + min(index, TICKS_PER_MS // 2),
        evidence=evidence,
        to_policy=to_policy or None,
        expires_at_ms=now_ms + EXPIRY_MS,
        dry_run=dry_run,
        subject=stage,
    )


def _culprits(finding: Finding) -> tuple[str, ...]:
    named = [culprit for m in finding.breaches for culprit in m.culprits]
    ranked = sorted(named, key=lambda culprit: (-culprit.share, culprit.name))
    subjects = [m.subject for m in finding.breaches if m.subject]
    return tuple(dict.fromkeys([culprit.name for culprit in ranked] + subjects))[:10]
