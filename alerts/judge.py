"""One deployment's judge: the memory of its alerts, and what follows for them from a seal or a violation."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from alerts import violations
from alerts.findings import Finding, Streaks, findings, grow_streaks
from alerts.incidents import Incidents
from alerts.life import Alert, AlertState, Change, Sight, step
from alerts.mandate import Mandate
from alerts.rules import CAUSE_OF, DOWNSTREAM, SAFETY_KINDS, Kind, armed, kind_for
from alerts.rulings import Ruling, seal_signal
from alerts.signal import Signal
from alerts.violations import Key, ViolationEvent
from detectors.measurement import Measurement

HOUR_MS = 3_600_000


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
        self.actions = {policy: at for policy, at in self.actions.items() if at[-1] > now_ms - HOUR_MS}
        seen = {key: self._see(key, list(measurements)) for key, measurements in sorted(measured.items())}
        signals: list[Signal] = []
        for key, found in seen.items():
            for finding in found:
                signals += self._decide(key, finding, seen, now_ms, len(signals))
        return signals + violations.ended(self.mandate, self.incidents, now_ms, len(signals))

    def at_violations(self, events: Iterable[ViolationEvent]) -> list[Signal]:
        """The signals of forbidden actions, one per incident, at once."""
        if "constraint" not in armed(self.mandate.settings):
            return []
        return violations.opened(self.mandate, self.incidents, events)

    def leave(self, key: Key, now_ms: int, index: int, why: str) -> list[Signal]:
        """A policy that is gone takes its alerts with it: who was told of one is told that it ends, and why.

        When it was last acted on is remembered, and incidents of forbidden actions end by themselves, once quiet.
        """
        told = [(rule, kind) for (rule, *whose), kind in sorted(self.told.items()) if tuple(whose) == key]
        signals = []
        for at, (rule, kind) in enumerate(told):
            fired_ms = self.alerts[rule, *key].fired_ms
            unseen = Finding(rule, Sight.UNKNOWN, None, ())
            ruling = Ruling(key, unseen, fired_ms, Change.RESOLVED, kind, why)
            signals.append(seal_signal(self.mandate, ruling, now_ms, index + at))
        for table in (self.alerts, self.told, self.muted, self.listed):
            for alert in [alert for alert in table if alert[1:] == key]:
                del table[alert]
        self.streaks.pop(key, None)
        return signals

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
            stood_for = self.listed.pop(name, ())
            why = f" Its page stood for {', '.join(stood_for)} too." if stood_for else ""
            ruling = Ruling(key, finding, alert.fired_ms, change, self.told.pop(name), why)
            return [seal_signal(self.mandate, ruling, now_ms, index)]
        kind = kind_for(finding.rule, key[1], _elsewhere(finding.rule, key, seen), self.mandate.settings)
        if kind is Kind.PAGE and self._caused(name, seen[key], now_ms):
            self.muted[name] = kind
            cause = (CAUSE_OF[finding.rule], *key)
            self.listed[cause] = tuple(dict.fromkeys([*self.listed.get(cause, ()), finding.rule]))
            return []
        kind, why = self._within_limit(key[0], finding.rule, kind, now_ms)
        self.told[name] = kind
        ruling = Ruling(key, finding, alert.fired_ms, change, kind, why + self._with_it(name, seen[key]))
        return [seal_signal(self.mandate, ruling, now_ms, index)]

    def _unmuted(
        self, key: Key, finding: Finding, alert: Alert, mine: list[Finding], now_ms: int, index: int
    ) -> list[Signal]:
        """The page of an alert that outlives its cause."""
        name = (finding.rule, *key)
        if name not in self.muted or self._caused(name, mine, now_ms, fresh=False):
            return []
        kind = self.told[name] = self.muted.pop(name)
        why = f" It began with {CAUSE_OF[finding.rule]}, which is over."
        ruling = Ruling(key, finding, alert.fired_ms, Change.FIRED, kind, why)
        return [seal_signal(self.mandate, ruling, now_ms, index)]

    def _caused(
        self, name: tuple[str, str, str], mine: list[Finding], now_ms: int, *, fresh: bool = True
    ) -> bool:
        """Whether the cause of an effect fires for the same policy; fresh: since no longer than a window."""
        cause = CAUSE_OF.get(name[0])
        if cause is None or not self.mandate.inhibit or self.mandate.dry_run_of(cause):
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
        if kind not in SAFETY_KINDS or self.mandate.dry_run_of(rule):
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


def _elsewhere(rule: str, key: Key, seen: Mapping[Key, list[Finding]]) -> bool:
    tripped = (Sight.PAID, Sight.BREACH)
    return any(
        other[1] == "full" and other != key and finding.rule == rule and finding.sight in tripped
        for other, found in seen.items()
        for finding in found
    )
