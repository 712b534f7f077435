"""One deployment's judge: the memory of its alerts, and the signals that follow from a seal or a violation."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from zlib import crc32

from alerts import wording
from alerts.findings import Finding, Streaks, findings, grow_streaks
from alerts.incidents import Incident, Incidents, settle, witness
from alerts.life import Alert, AlertState, Change, Sight, step
from alerts.rules import CAUSE_OF, DOWNSTREAM, SAFETY_KINDS, USUAL, Kind, RuleSettings, armed, kind_for
from alerts.signal import Evidence, Signal, State, signal_id
from detectors.measurement import Measurement

Key = tuple[str, str]  # policy, stage
HOUR_MS = 3_600_000
EXPIRY_MS = HOUR_MS  # a signal that is older than this is about a world that has moved on
TICKS_PER_MS = 1_000  # generations per millisecond of event time
VIOLATIONS_FROM = 600  # the ticks below are those of seals


@dataclass(frozen=True, slots=True)
class Mandate:
    """What the judge may do for one deployment, from the config.

    latch: the end of a condition puts no policy back. max_actions: fallbacks and rollbacks of one policy in an hour.
    inhibit: a cause mutes the pages of what follows from it.
    """

    deployment: str
    fallback_policy: str
    rollback_policy: str
    settings: Mapping[str, RuleSettings]
    bucket_ms: int
    window_ms: int
    lateness_ms: int
    dry_run: bool
    baseline: str | None = None
    prices: Mapping[str, float] = field(default_factory=dict)
    latch: bool = True
    max_actions: int = 6
    inhibit: bool = True

    def chance_per_day(self, rule: str) -> float:
        """What the rule was priced to cost; 0 where its line or hold was set by hand, and the price with it."""
        by_hand = self.settings.get(rule, USUAL)
        changed = (by_hand.sigma, by_hand.sigma_of, by_hand.hold_ms) != (
            USUAL.sigma,
            USUAL.sigma_of,
            USUAL.hold_ms,
        )
        return 0.0 if changed else self.prices.get(rule, 0.0)

    def keep_firing_ms(self, rule: str) -> int:
        """How long an alert must stay clear, in windows unless the config says otherwise.

        A change point is an instant: what follows it is a changed world, not a clear one, so its page stays for long.
        """
        chosen = self.settings.get(rule, USUAL).keep_firing_ms
        return chosen if chosen >= 0 else (36 if rule == "change" else 2) * self.window_ms


@dataclass(frozen=True, slots=True)
class ViolationEvent:
    """One forbidden action that was executed; clock_ms is its partition's clock when it was read, offset its place."""

    ts_ms: int
    clock_ms: int
    policy: str
    stage: str
    what: str
    action: str
    offset: int = -1


@dataclass(slots=True)
class Judge:
    """alerts: by (rule, policy, stage). told: what each firing alert asked for, so that its end says the same.

    muted: firing alerts whose page waits behind their cause. listed: cause -> rules that its page stands for. actions:
    policy -> when it was last acted on. Violations are not among these: no limit holds a hard constraint back.
    """

    mandate: Mandate
    alerts: dict[tuple[str, str, str], Alert] = field(default_factory=dict)
    told: dict[tuple[str, str, str], Kind] = field(default_factory=dict)
    streaks: dict[Key, Streaks] = field(default_factory=dict)
    incidents: dict[Key, Incidents] = field(default_factory=dict)
    muted: dict[tuple[str, str, str], Kind] = field(default_factory=dict)
    listed: dict[tuple[str, str, str], tuple[str, ...]] = field(default_factory=dict)
    actions: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def at_seal(self, now_ms: int, measured: Mapping[Key, Iterable[Measurement]]) -> list[Signal]:
        """The signals of one sealed bucket, over all keys of the deployment, in a fixed order."""
        seen = {key: self._see(key, list(measurements)) for key, measurements in sorted(measured.items())}
        signals: list[Signal] = []
        for key, found in seen.items():
            for finding in found:
                signals += self._decide(key, finding, seen, now_ms, len(signals))
        return signals + self._quiet(now_ms, len(signals))

    def at_violations(self, events: Iterable[ViolationEvent]) -> list[Signal]:
        """The signals of forbidden actions, one per incident, at once."""
        if "constraint" not in armed(self.mandate.settings):
            return []
        signals: list[Signal] = []
        for event in events:
            key = (event.policy, event.stage)
            quiet_ms = self.mandate.keep_firing_ms("constraint")
            self.incidents[key], opened = witness(self.incidents.get(key, Incidents()), event.ts_ms, quiet_ms)
            if opened is not None:
                signals.append(self._violation(key, event, opened))
        return signals

    def forget(self, key: Key) -> None:
        """A policy that is gone takes its alerts with it."""
        for table in (self.alerts, self.told, self.muted, self.listed):
            for alert in [alert for alert in table if alert[1:] == key]:
                del table[alert]
        if not any(alert[1] == key[0] for alert in self.alerts):
            self.actions.pop(key[0], None)
        self.streaks.pop(key, None)
        self.incidents.pop(key, None)

    def _see(self, key: Key, measurements: list[Measurement]) -> list[Finding]:
        self.streaks[key] = grow_streaks(self.streaks.get(key, {}), measurements)
        settings = self.mandate.settings
        return findings(armed(settings), measurements, self.streaks[key], settings, self.mandate.bucket_ms)

    def _decide(
        self, key: Key, finding: Finding, seen: Mapping[Key, list[Finding]], now_ms: int, index: int
    ) -> list[Signal]:
        name = (finding.rule, *key)
        before = self.alerts.get(name, Alert())
        keep_seals = -(-self.mandate.keep_firing_ms(finding.rule) // self.mandate.bucket_ms)
        alert, change = step(before, finding.sight, now_ms, keep_seals)
        if alert.state is AlertState.INACTIVE:
            self.alerts.pop(name, None)
        else:
            self.alerts[name] = alert
        if change is None:
            return self._unmuted(key, finding, alert, seen[key], now_ms, index)
        if change is Change.RESOLVED:
            if self.muted.pop(name, None) is not None:
                return []
            return [self._signal(key, finding, alert, change, self.told.pop(name), now_ms, index)]
        kind = kind_for(finding.rule, key[1], _elsewhere(finding.rule, key, seen), self.mandate.settings)
        if kind is Kind.PAGE and self._caused(name, seen[key], now_ms):
            self.muted[name] = kind
            cause = (CAUSE_OF[finding.rule], *key)
            self.listed[cause] = tuple(dict.fromkeys([*self.listed.get(cause, ()), finding.rule]))
            return []
        kind, why = self._within_limit(key[0], finding.rule, kind, now_ms)
        self.told[name] = kind
        return [
            self._signal(
                key, finding, alert, change, kind, now_ms, index, why + self._with_it(name, seen[key])
            )
        ]

    def _unmuted(
        self, key: Key, finding: Finding, alert: Alert, mine: list[Finding], now_ms: int, index: int
    ) -> list[Signal]:
        """The page of an alert that outlives its cause."""
        name = (finding.rule, *key)
        if name not in self.muted or self._caused(name, mine, now_ms, fresh=False):
            return []
        kind = self.told[name] = self.muted.pop(name)
        why = f" It began with {CAUSE_OF[finding.rule]}, which is over."
        return [self._signal(key, finding, alert, Change.FIRED, kind, now_ms, index, why)]

    def _caused(
        self, name: tuple[str, str, str], mine: list[Finding], now_ms: int, *, fresh: bool = True
    ) -> bool:
        """Whether the cause of an effect fires for the same policy; fresh: since no longer than a window."""
        cause = CAUSE_OF.get(name[0])
        if cause is None or not self.mandate.inhibit or self._dry_run(cause):
            return False
        if cause not in armed(self.mandate.settings):
            return False
        alert = self.alerts.get((cause, *name[1:]), Alert())
        if alert.state is AlertState.FIRING:
            return not fresh or now_ms - alert.fired_ms <= self.mandate.window_ms
        return any(finding.rule == cause and finding.sight is Sight.PAID for finding in mine)

    def _with_it(self, name: tuple[str, str, str], mine: list[Finding]) -> str:
        """What a cause's page stands for besides itself."""
        effects = DOWNSTREAM.get(name[0], ()) if self.mandate.inhibit else ()
        tripped = (Sight.PAID, Sight.BREACH)
        also = [finding.rule for finding in mine if finding.rule in effects and finding.sight in tripped]
        return f" With it: {', '.join(also)}." if also else ""

    def _within_limit(self, policy: str, rule: str, kind: Kind, now_ms: int) -> tuple[Kind, str]:
        """The kind, or a page where the policy has been acted on as often as an hour allows."""
        if kind not in SAFETY_KINDS or self._dry_run(rule):
            return kind, ""
        recent = tuple(t for t in self.actions.get(policy, ()) if t > now_ms - HOUR_MS)
        if len(recent) >= self.mandate.max_actions:
            self.actions[policy] = recent
            return (
                Kind.PAGE,
                f" No {kind.value} was asked for: {len(recent)} of this policy in an hour are the limit.",
            )
        self.actions[policy] = (*recent, now_ms)
        return kind, ""

    def _after(self, kind: Kind, policy: str, rule: str) -> str:
        """What the end of a condition means for what was switched."""
        if kind not in SAFETY_KINDS or self._dry_run(rule):
            return ""
        to_policy = self._target(kind) or "what was switched to"
        if self.mandate.latch:
            return f" That puts nothing back: {to_policy} serves until a person changes it."
        return f" {policy} may serve again (latch is off)."

    def _signal(
        self, key: Key, finding: Finding, alert: Alert, change: Change, kind: Kind, now_ms: int, index: int,
        why: str = "",
    ) -> Signal:  # fmt: skip
        policy, stage = key
        rule, m, dry_run = finding.rule, finding.worst, self._dry_run(finding.rule)
        to_policy = self._serve(kind, policy, firing=change is Change.FIRED)
        if change is Change.FIRED:
            per_day = self.mandate.chance_per_day(rule)
            reason = wording.fired(finding, policy, stage, kind, to_policy, dry_run, per_day) + why
        else:
            reason = wording.resolved(finding, policy, stage, wording.span(self.mandate.keep_firing_ms(rule)))
            reason += self._after(kind, policy, rule)
            if stood_for := self.listed.pop((rule, *key), ()):
                reason += f" Its page stood for {', '.join(stood_for)} too."
        evidence = Evidence(
            statistic=f"{m.detector}.{m.statistic}" if m else rule,
            value=m.value if m else None,
            threshold=m.threshold if m else None,
            n=m.n if m else 0,
            window_start_ms=now_ms - self.mandate.window_ms,
            window_end_ms=now_ms,
            baseline=self.mandate.baseline,
            culprits=_culprits(finding),
        )
        return Signal(
            id=signal_id(self.mandate.deployment, policy, stage, rule, "", alert.fired_ms, change.value),
            time_ms=now_ms,
            deployment=self.mandate.deployment,
            policy=policy,
            kind=kind.value,
            state=change.value,
            rule=rule,
            reason=reason,
            generation=(now_ms + self.mandate.lateness_ms) * TICKS_PER_MS + min(index, TICKS_PER_MS // 2),
            evidence=evidence,
            to_policy=to_policy or None,
            expires_at_ms=now_ms + EXPIRY_MS,
            dry_run=dry_run,
            subject=stage,
        )

    def _violation(self, key: Key, event: ViolationEvent, incident: Incident) -> Signal:
        kind = kind_for("constraint", key[1], False, self.mandate.settings)
        to_policy, dry_run = self._target(kind), self._dry_run("constraint")
        reason = wording.violated(*key, event.what, event.action, kind, to_policy, dry_run)
        return self._incident_signal(
            key, incident, "firing", kind, reason, event.ts_ms, event.clock_ms, _tick(key), event.action
        )

    def _quiet(self, now_ms: int, index: int) -> list[Signal]:
        signals: list[Signal] = []
        for key in sorted(self.incidents):
            quiet_ms = self.mandate.keep_firing_ms("constraint")
            left, ended = settle(self.incidents[key], now_ms, quiet_ms)
            self.incidents[key] = left
            if not left.open:
                del self.incidents[key]
            for incident in ended:
                kind = kind_for("constraint", key[1], False, self.mandate.settings)
                reason = wording.quiet(*key, incident.events, wording.span(quiet_ms))
                reason += self._after(kind, key[0], "constraint")
                clock_ms = now_ms + self.mandate.lateness_ms
                signals.append(
                    self._incident_signal(
                        key, incident, "resolved", kind, reason, now_ms, clock_ms, index + len(signals), ""
                    )
                )
        return signals

    def _incident_signal(
        self, key: Key, incident: Incident, state: State, kind: Kind, reason: str, time_ms: int, clock_ms: int,
        index: int, action: str,
    ) -> Signal:  # fmt: skip
        policy, stage = key
        bucket = incident.first_ms - incident.first_ms % self.mandate.bucket_ms
        return Signal(
            id=signal_id(
                self.mandate.deployment, policy, stage, "constraint", "violation", incident.opened_ms, state
            ),
            time_ms=time_ms,
            deployment=self.mandate.deployment,
            policy=policy,
            kind=kind.value,
            state=state,
            rule="constraint",
            reason=reason,
            generation=clock_ms * TICKS_PER_MS + min(index, TICKS_PER_MS - 1),
            evidence=Evidence(
                statistic="violations.executed",
                value=float(incident.events),
                threshold=0.0,
                n=incident.events,
                window_start_ms=bucket,
                window_end_ms=bucket + self.mandate.bucket_ms,
                baseline=self.mandate.baseline,
                culprits=(action,) if action else (),
            ),
            to_policy=self._serve(kind, policy, firing=state == "firing") or None,
            expires_at_ms=time_ms + EXPIRY_MS,
            dry_run=self._dry_run("constraint"),
            subject=stage,
        )

    def _serve(self, kind: Kind, policy: str, *, firing: bool) -> str:
        """What serving is told to serve; a latched end repeats what was switched to."""
        return self._target(kind) if firing or self.mandate.latch or kind not in SAFETY_KINDS else policy

    def _target(self, kind: Kind) -> str:
        if kind is Kind.FALLBACK:
            return self.mandate.fallback_policy
        return (self.mandate.rollback_policy or self.mandate.fallback_policy) if kind is Kind.ROLLBACK else ""

    def _dry_run(self, rule: str) -> bool:
        return self.mandate.dry_run or self.mandate.settings.get(rule, USUAL).dry_run


def _tick(key: Key) -> int:
    """After the seals of the same moment, and apart from other keys: the order of their partitions is no one's."""
    return VIOLATIONS_FROM + crc32("/".join(key).encode()) % (TICKS_PER_MS - VIOLATIONS_FROM)


def _elsewhere(rule: str, key: Key, seen: Mapping[Key, list[Finding]]) -> bool:
    tripped = (Sight.PAID, Sight.BREACH)
    return any(
        other[1] == "full" and other != key and finding.rule == rule and finding.sight in tripped
        for other, found in seen.items()
        for finding in found
    )


def _culprits(finding: Finding) -> tuple[str, ...]:
    named = [culprit for m in finding.breaches for culprit in m.culprits]
    ranked = sorted(named, key=lambda culprit: (-culprit.share, culprit.name))
    subjects = [m.subject for m in finding.breaches if m.subject]
    return tuple(dict.fromkeys([culprit.name for culprit in ranked] + subjects))[:10]
