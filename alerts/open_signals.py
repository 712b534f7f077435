"""Signals that fire and have not ended, sent or not, and who has acknowledged them."""

from dataclasses import dataclass, field
from typing import Any

from alerts.desk_terms import Command, Moment, Reply
from alerts.signal import Signal, cloudevent, parse, rfc3339
from alerts.tray import Tray, bounded


@dataclass(slots=True)
class OpenSignals:
    """Both by alert. acked: by whom, why and when."""

    tray: Tray
    open: dict[str, bytes] = field(default_factory=dict)
    acked: dict[str, tuple[str, str, int]] = field(default_factory=dict)

    def begin(self, signal: Signal) -> bool:
        """It fires; returns whether its alert fired before, and this is an escalation."""
        before = signal.alert_key in self.open
        bounded(self.open, signal.alert_key, cloudevent(signal))
        return before

    def outlives(self, ended: Signal) -> bool:
        """Whether its alert has fired anew: a forbidden action is told at once, the end of an earlier one later."""
        fired = self.open.get(ended.alert_key) if ended.hard else None
        return fired is not None and parse(fired).time_ms >= ended.time_ms

    def end(self, signal: Signal) -> str | None:
        """Its alert is over; returns the id under which it fired."""
        self.acked.pop(signal.alert_key, None)
        fired = self.open.pop(signal.alert_key, None)
        return parse(fired).id if fired is not None else None

    def drop(self, signal: Signal) -> None:
        """It is not open any more; an acknowledgement of its alert stays."""
        self.open.pop(signal.alert_key, None)

    def find(self, signal_id: str) -> Signal | None:
        """The open signal of this id."""
        return next((signal for signal in map(parse, self.open.values()) if signal.id == signal_id), None)

    def of_alert(self, alert_key: str) -> Signal | None:
        """The open signal of an alert."""
        payload = self.open.get(alert_key)
        return None if payload is None else parse(payload)

    def ack(self, signal: Signal, command: Command, at: Moment) -> Reply:
        """Somebody has seen it; pagers that know acknowledgements are told."""
        bounded(self.acked, signal.alert_key, (command.by, command.why, at.now_ms))
        detail = {"signal": signal.id, "alert": signal.alert_key, "why": command.why}
        self.tray.note(at, "acknowledged", detail, command.by)
        self.tray.seen.append(signal)
        return Reply(200, f"{signal.rule} of {signal.policy or signal.deployment} is acknowledged", signal.id)

    def view(self) -> list[dict[str, Any]]:
        """What a person asks: the acknowledgements."""
        return [
            {"alert": key, "by": by, "why": why, "at": rfc3339(at_ms)}
            for key, (by, why, at_ms) in self.acked.items()
        ]
