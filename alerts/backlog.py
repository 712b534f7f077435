"""Old signals met while catching up after an outage: held back, then sent anew or accounted for as over."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace as changed

from alerts.desk_terms import Moment
from alerts.own_pages import OwnPages
from alerts.signal import Signal, cloudevent, parse, rfc3339
from alerts.tray import bounded


@dataclass(slots=True)
class Backlog:
    """By id. held: to be looked at when the backlog is read. stale: over already, to be accounted for then."""

    own: OwnPages
    held: dict[str, bytes] = field(default_factory=dict)
    stale: dict[str, bytes] = field(default_factory=dict)

    def holds(self, signal: Signal, at: Moment) -> bool:
        """Whether it is kept for now: its time ran out before it was ever raised."""
        if signal.state != "firing" or not self.is_old(signal, at):
            return False
        bounded(self.held, signal.id, cloudevent(signal))
        return True

    @staticmethod
    def is_old(signal: Signal, at: Moment) -> bool:
        """Whether it is of a backlog that is read only now."""
        return at.catching_up and signal.expires_at_ms is not None and signal.expires_at_ms <= at.latest_ms

    def is_over(self, fired_id: str) -> bool:
        """Whether the end is that of a held signal, which then never goes out."""
        if fired_id not in self.held:
            return False
        bounded(self.stale, fired_id, self.held.pop(fired_id))
        return True

    def is_read(self, at: Moment) -> bool:
        """Whether there is something to look at, and now is the time."""
        return bool(self.held or self.stale) and not at.catching_up

    def still_so(self, at: Moment) -> Iterator[Signal]:
        """What was held and fires still, one by one with a new life; the others are over."""
        held, self.held = self.held, {}
        for name, payload in held.items():
            signal = parse(payload)
            if at.fires(signal):
                self.own.tray.note(at, "sent_anew", {"signal": name, "raised_at": rfc3339(signal.time_ms)})
                yield self.own.fresh(signal, at, "still so after catching up")
            else:
                self.own.opened.drop(signal)
                bounded(self.stale, name, payload)

    def account(self, at: Moment) -> None:
        """What is over is written down, with one page per deployment."""
        dropped = [parse(payload) for payload in self.stale.values()]
        self.stale = {}
        for signal in dropped:
            self.own.tray.note(at, "stale_dropped", {"signal": signal.id, "reason": signal.reason})
        for deployment in dict.fromkeys(signal.deployment for signal in dropped):
            mine = [signal for signal in dropped if signal.deployment == deployment]
            acted = sum(signal.safety for signal in mine)
            reason = (
                f"{deployment}: after an outage {len(mine)} signals of the backlog, {acted} of them safety signals, "
                f"were not sent, because what they say is over: {'; '.join(signal.reason for signal in mine[:3])}"
            )
            self.own.page(changed(mine[0], policy=""), "catch_up", reason, at, "")
