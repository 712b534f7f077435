"""The life of one alert: inactive, pending, firing, resolved, decided by a pure function of event time."""

from dataclasses import dataclass, replace
from enum import StrEnum


class AlertState(StrEnum):
    """Resolved is inactive again, with a signal on the way there."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


class Change(StrEnum):
    """A transition that is told to the outside."""

    FIRED = "firing"
    RESOLVED = "resolved"


class Sight(StrEnum):
    """What a rule saw at one seal.

    `paid` is a breach that has lasted (or is deep) enough for the false-signal budget; `clear` is well on the
    right side of the line; `near` is neither breached nor clear; `unknown` changes nothing.
    """

    PAID = "paid"
    BREACH = "breach"
    NEAR = "near"
    CLEAR = "clear"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Alert:
    """since_ms: start of the state. fired_ms: event time at which the incident fired, its name in every signal, or -1.
    clear_seals: how many seals in a row have seen it clear; those that saw nothing neither count nor break the row.
    """

    state: AlertState = AlertState.INACTIVE
    since_ms: int = 0
    fired_ms: int = -1
    clear_seals: int = 0


def step(alert: Alert, sight: Sight, now_ms: int, keep_seals: int) -> tuple[Alert, Change | None]:
    """The alert after one seal, and the transition to tell, if any.

    A firing alert resolves only when `keep_seals` clear sights have followed a first one: a metric that sits on the
    line is `breach` or `near` by turns and makes no transition, and a stretch without a seal clears nothing.
    """
    if sight is Sight.UNKNOWN:
        return alert, None
    if alert.state is AlertState.FIRING:
        return _while_firing(alert, sight, now_ms, keep_seals)
    if sight is Sight.PAID:
        return Alert(AlertState.FIRING, now_ms, now_ms), Change.FIRED
    if sight is Sight.BREACH:
        return (
            alert
            if alert.state is AlertState.PENDING
            else replace(alert, state=AlertState.PENDING, since_ms=now_ms)
        ), None
    return (
        alert
        if alert.state is AlertState.INACTIVE
        else replace(alert, state=AlertState.INACTIVE, since_ms=now_ms)
    ), None


def _while_firing(alert: Alert, sight: Sight, now_ms: int, keep_seals: int) -> tuple[Alert, Change | None]:
    if sight is not Sight.CLEAR:
        return replace(alert, clear_seals=0), None
    if alert.clear_seals < keep_seals:
        return replace(alert, clear_seals=alert.clear_seals + 1), None
    return Alert(AlertState.INACTIVE, now_ms, alert.fired_ms), Change.RESOLVED
