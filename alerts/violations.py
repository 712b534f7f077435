"""Forbidden actions that were executed, one incident at a time: the signals of their beginning and their end."""

from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

from alerts import wording
from alerts.holds import TICKS_PER_MS
from alerts.incidents import Incident, Incidents, settle, witness
from alerts.mandate import EXPIRY_MS, Mandate
from alerts.rules import Kind, kind_for
from alerts.signal import VIOLATION, Evidence, Signal, State, signal_id

Key = tuple[str, str]  # policy, stage
VIOLATIONS_FROM = 600  # the ticks below are those of seals


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


def opened(
    mandate: Mandate, incidents: dict[Key, Incidents], events: Iterable[ViolationEvent]
) -> list[Signal]:
    """Adds the events to the incidents; a signal, at once, for each that begins."""
    signals: list[Signal] = []
    for event in events:
        key = (event.policy, event.stage)
        quiet_ms = mandate.keep_firing_ms("constraint")
        incidents[key], begun = witness(incidents.get(key, Incidents()), event.ts_ms, quiet_ms)
        if begun is not None:
            signals.append(_begins(mandate, key, event, begun))
    return signals


def ended(mandate: Mandate, incidents: dict[Key, Incidents], now_ms: int, index: int) -> list[Signal]:
    """Takes the incidents that have been quiet for long enough; a signal for each, index the first's place.

    One that another has followed before this seal ends without a word: they are one alert, and it fires still.
    """
    signals: list[Signal] = []
    for key in sorted(incidents):
        left, over = settle(incidents[key], now_ms, mandate.keep_firing_ms("constraint"))
        incidents[key] = left
        if not left.open:
            del incidents[key]
        elif any(incident.first_ms < now_ms for incident in left.open):
            continue
        signals += [
            _ends(mandate, key, incident, now_ms, index + len(signals) + i) for i, incident in enumerate(over)
        ]
    return signals


def _begins(mandate: Mandate, key: Key, event: ViolationEvent, incident: Incident) -> Signal:
    kind = kind_for("constraint", key[1], False, mandate.settings)
    to_policy, dry_run = mandate.target(kind), mandate.dry_run_of("constraint")
    reason = wording.violated(*key, event.what, event.action, kind, to_policy, dry_run)
    return _signal(
        mandate, key, incident, "firing", kind, reason, event.ts_ms, event.clock_ms, _tick(key), event.action
    )


def _ends(mandate: Mandate, key: Key, incident: Incident, now_ms: int, index: int) -> Signal:
    kind = kind_for("constraint", key[1], False, mandate.settings)
    quiet_ms, clock_ms = mandate.keep_firing_ms("constraint"), now_ms + mandate.lateness_ms
    reason = wording.quiet(*key, incident.events, wording.span(quiet_ms))
    reason += mandate.after(kind, key[0], "constraint")
    return _signal(mandate, key, incident, "resolved", kind, reason, now_ms, clock_ms, index, "")


def _signal(
    mandate: Mandate, key: Key, incident: Incident, state: State, kind: Kind, reason: str, time_ms: int,
    clock_ms: int, index: int, action: str,
) -> Signal:  # fmt: skip
    policy, stage = key
    bucket = incident.first_ms - incident.first_ms % mandate.bucket_ms
    return Signal(
        id=signal_id(mandate.deployment, policy, stage, "constraint", VIOLATION, incident.opened_ms, state),
        time_ms=time_ms,
        deployment=mandate.deployment,
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
            window_end_ms=bucket + mandate.bucket_ms,
            baseline=mandate.baseline,
            culprits=(action,) if action else (),
        ),
        to_policy=mandate.serve(kind, policy, firing=state == "firing") or None,
        expires_at_ms=time_ms + EXPIRY_MS,
        dry_run=mandate.dry_run_of("constraint"),
        subject=stage,
    )


def _tick(key: Key) -> int:
    """After the seals of the same moment, and apart from other keys: the order of their partitions is no one's."""
    return VIOLATIONS_FROM + crc32("/".join(key).encode()) % (TICKS_PER_MS - VIOLATIONS_FROM)
