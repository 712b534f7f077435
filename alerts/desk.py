"""Between the core and the outbox: gives each signal its way. What is withheld is remembered and accounted for.

Decides by wall time and by what people say, so that nothing of it is part of a replay: the core's signals are the same
with and without it. Safety signals are never silenced; forbidden actions never wait for anybody.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from alerts.approvals import Approvals
from alerts.backlog import Backlog
from alerts.desk_terms import Command, Moment, Reply, Terms
from alerts.open_signals import OpenSignals
from alerts.overdue import Overdue
from alerts.own_pages import OwnPages
from alerts.signal import Signal, parse
from alerts.silences import Silences
from alerts.tray import Again, Leaving, Tray


class Desk:
    """`take` for the core's signals, `tick` in every turn, `obey` for people; then `leaving` is what goes out."""

    def __init__(self, terms: Mapping[str, Terms] | None = None) -> None:
        self.tray = Tray()
        self.silencing = Silences(self.tray)
        self.opened = OpenSignals(self.tray)
        self.own = OwnPages(terms or {}, self.tray, self.silencing, self.opened)
        self.approvals = Approvals(self.own)
        self.backlog = Backlog(self.own)
        self.deliveries = Overdue(self.own)
        self._set_ms = 0  # for what people are shown

    # the way of a signal

    def take(self, signals: Iterable[Signal], at: Moment) -> None:
        """Decide about new signals, in their order."""
        for signal in signals:
            self._take(signal, at)

    def _take(self, signal: Signal, at: Moment) -> None:
        escalates = False
        if signal.state == "firing":
            escalates = self.opened.begin(signal)
        elif self._never_began(signal, at):
            return
        if self.backlog.holds(signal, at):
            return
        if self.approvals.needed(signal):
            self.approvals.ask(signal, at)
        elif not self.approvals.drops(signal, at) and not self.silencing.quiets(signal, at, escalates):
            self.tray.out.append(signal)

    def _never_began(self, ended: Signal, at: Moment) -> bool:
        """Whether the end belongs to a beginning that never went out, or that is not the last: then neither does."""
        if self.opened.outlives(ended):
            self.tray.note(at, "end_dropped", {"signal": ended.id, "why": "it fires again since"})
            return True
        fired_id = self.opened.end(ended)
        return fired_id is not None and (
            self.approvals.withdrawn(fired_id, ended, at)
            or self.backlog.is_over(fired_id)
            or self.approvals.was_refused(fired_id)
        )

    def take_again(self, signals: Iterable[Signal], at: Moment) -> None:
        """Signals to be sent once more, unless nobody agreed, they have not gone out yet or are of a backlog."""
        self.tray.again += [
            Again(signal)
            for signal in signals
            if not self.withholds(signal) and not Backlog.is_old(signal, at)
        ]

    def withholds(self, signal: Signal) -> bool:
        """Whether nobody has agreed to it, or it is to be looked at after catching up."""
        return any(
            signal.id in kept for kept in (self.approvals.waiting, self.approvals.refused, self.backlog.held)
        )

    def firing(self, at: Moment) -> list[Signal]:
        """What people have been told and what is so still; what has no end of its own lasts for a signal's life."""
        return [signal for signal in map(parse, self.opened.open.values()) if self._is_so(signal, at)]

    def _is_so(self, signal: Signal, at: Moment) -> bool:
        key = signal.alert_key
        if self.withholds(signal) or (key in self.silencing.quieted and key not in self.silencing.shown):
            return False
        young = signal.expires_at_ms is not None and signal.expires_at_ms > at.latest_ms
        return young or at.fires(signal) or self.approvals.asks(signal) or self.deliveries.misses(signal)

    def tick(self, at: Moment) -> None:
        """What time alone brings: the end of silences, deadlines, the end of catching up."""
        self._set_ms = at.set_ms
        if self.silencing.tick(at):
            self._speak_up(at)
        self.approvals.tick(at)
        if self.backlog.is_read(at):
            for signal in self.backlog.still_so(at):
                self._take(signal, replace(at, catching_up=False))
            self.backlog.account(at)
        self.deliveries.tick(at)

    def obey(self, command: Command, at: Moment) -> Reply:
        """One command of a person; its effect and its record are saved before it is answered."""
        if not command.by.strip():
            return Reply(400, "say who you are (by)")
        match command.do:
            case "ack":
                signal = self._known(command.target)
                if signal is None:
                    return Reply(404, f"no open signal {command.target}")
                return self.opened.ack(signal, command, at)
            case "approve" | "reject":
                return self.approvals.decide(command, at)
            case "silence":
                return self.silencing.start(command, at)
            case "unsilence":
                reply = self.silencing.end(command, at)
                self._speak_up(at)
                return reply
        return Reply(400, f"{command.do!r} is not one of ack, approve, reject, silence, unsilence")

    def _speak_up(self, at: Moment) -> None:
        """What a silence kept and fires still is said with a life and a generation that a receiver takes now."""
        self.tray.out += [self.own.fresh(signal, at) for signal in self.silencing.freed()]

    # what the outbox says of signals on their way

    def overdue(self, signal_id: str, receiver: str, age_ms: int, at: Moment, alert_key: str = "") -> None:
        """A safety signal has not arrived: a person is told through everybody else.

        One whose alert has fired once more meanwhile is spoken of as the newer one.
        """
        signal = self._known(signal_id) or self.opened.of_alert(alert_key)
        if signal is not None:
            self.deliveries.missed(signal_id, signal, receiver, age_ms, at)

    def ended(self, signal_id: str, receiver: str, ending: str, at: Moment) -> None:
        """An entry of a safety signal left the outbox: delivered at last, or given up."""
        if ending == "delivered":
            self.deliveries.arrived(signal_id, receiver, at)
            return
        self.deliveries.lost(signal_id, receiver)
        detail = {"signal": signal_id, "receiver": receiver, "ending": ending}
        self.tray.note(at, "safety_signal_ended", detail)
        signal = self._known(signal_id)
        if signal is not None:
            self.deliveries.given_up(signal, receiver, ending, at)

    def page_expired(self, signal_id: str, receiver: str, at: Moment) -> None:
        """A page did not arrive in its time: it goes out anew while it fires, to who missed it."""
        signal = self.opened.find(signal_id)
        if signal is not None:
            self.deliveries.given_up(signal, receiver, "expired", at)

    def _known(self, signal_id: str) -> Signal | None:
        return self.opened.find(signal_id) or self.approvals.find(signal_id)

    # what goes out, what is kept, what is shown

    def leaving(self) -> Leaving:
        """What a save takes along: the same until `left` says that it is saved."""
        return self.tray.leaving()

    def left(self) -> list[Signal]:
        """All of it is saved; returns the pages that the desk raised itself."""
        return self.tray.left()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to save."""
        return self.tray.idle

    def use(self, terms: Mapping[str, Terms]) -> None:
        """The terms of a new config."""
        self.own.terms = terms

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {name: getattr(getattr(self, noun), name) for name, noun in _SAVED.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from it."""
        for name, noun in _SAVED.items():
            if name in state:
                setattr(getattr(self, noun), name, state[name])

    def view(self) -> dict[str, Any]:
        """What a person asks: silences, what waits for approval, what is withheld."""
        return {
            "silences": self.silencing.view(self._set_ms),
            "waiting": self.approvals.view(self._set_ms),
            "acknowledged": self.opened.view(),
            "silenced": sorted(self.silencing.quieted),
            "held_back": sorted(self.backlog.held),
        }


# The checkpoint's names, each an attribute of the same name of the noun that keeps it.
_SAVED = {
    "silences": "silencing",
    "quieted": "silencing",
    "waiting": "approvals",
    "refused": "approvals",
    "held": "backlog",
    "open": "opened",
    "acked": "opened",
    "late": "deliveries",
    "stale": "backlog",
    "made": "silencing",
    "shown": "silencing",
    "newest": "own",
    "doubted": "deliveries",
}
