"""A `hold` that no policy is to blame for: the whole deployment's rollout waits, because we cannot see."""

from dataclasses import dataclass

from alerts.signal import Evidence, Kind, Signal, State, signal_id

HOLD_MS = 3_600_000
TICKS_PER_MS = 1_000  # generations per millisecond of event time
LAST_TICK = 599  # behind the seals of a moment, before its violations


@dataclass(frozen=True, slots=True)
class HoldOrder:
    """opened_ms names the incident. time_ms: when it is said. index: place among the signals of its moment."""

    rule: str
    state: State
    reason: str
    opened_ms: int
    time_ms: int
    index: int
    kind: Kind = "hold"
    policy: str = ""
    subject: str = ""
    clock_ms: int = -1


def hold_signal(deployment: str, lateness_ms: int, order: HoldOrder, dry_run: bool = False) -> Signal:
    """The signal. clock_ms: event time that its generation follows where `time_ms` is the wall's."""
    clock_ms = order.time_ms if order.clock_ms < 0 else order.clock_ms
    tick = min(order.index, LAST_TICK)
    return Signal(
        id=signal_id(deployment, order.policy, order.subject, order.rule, "", order.opened_ms, order.state),
        time_ms=order.time_ms,
        deployment=deployment,
        policy=order.policy,
        kind=order.kind,
        state=order.state,
        rule=order.rule,
        reason=order.reason,
        generation=(clock_ms + lateness_ms) * TICKS_PER_MS + tick,
        evidence=Evidence(statistic=order.rule),
        expires_at_ms=order.time_ms + HOLD_MS,
        dry_run=dry_run,
        subject=order.subject,
    )
