"""Fallbacks and rollbacks that wait for a person, and those nobody agreed to. Forbidden actions never wait."""

from dataclasses import dataclass, field
from typing import Any

from alerts import wording
from alerts.desk_terms import Command, Moment, Reply, Waiting
from alerts.own_pages import OwnPages, deed
from alerts.signal import Signal, cloudevent, parse, rfc3339
from alerts.tray import bounded


@dataclass(slots=True)
class Approvals:
    """By id. refused: what was rejected or not answered -> whose it was, until its condition ends."""

    own: OwnPages
    waiting: dict[str, Waiting] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def needed(self, signal: Signal) -> bool:
        """Whether a person must agree first."""
        return (
            signal.safety and signal.rule in self.own.terms_of(signal.deployment).approval and not signal.hard
        )

    def ask(self, signal: Signal, at: Moment) -> None:
        """It waits, and a person is told at once."""
        terms = self.own.terms_of(signal.deployment)
        bounded(
            self.waiting,
            signal.id,
            Waiting(cloudevent(signal), at.steady_ms, at.steady_ms + terms.timeout_ms),
        )
        self.own.tray.note(at, "approval_asked", {"signal": signal.id, "reason": signal.reason})
        then = "it is then sent" if terms.unanswered == "send" else "nothing is switched then"
        reason = (
            f"{signal.deployment}: a {deed(signal)} waits for approval for {wording.span(terms.timeout_ms)}; {then}. "
            f"policywatch signals approve (or reject) {signal.id}. {signal.reason}"
        )
        self.own.page(signal, "approval", reason, at, signal.subject)

    def decide(self, command: Command, at: Moment) -> Reply:
        """A person approves or rejects."""
        waiting = self.waiting.pop(command.target, None)
        if waiting is None:
            return Reply(404, f"no signal {command.target} waits for approval")
        signal = parse(waiting.payload)
        done = {"approve": "approved", "reject": "rejected"}[command.do]
        self.own.tray.note(at, done, {"signal": signal.id, "why": command.why}, command.by)
        self._close(signal, at, f"{done} by {command.by}")
        if command.do == "approve":
            self.own.tray.out.append(self.own.fresh(signal, at))
            return Reply(200, f"{signal.kind} of {signal.policy} is on its way", signal.id)
        bounded(self.refused, signal.id, _whose(signal))
        return Reply(200, f"{signal.kind} of {signal.policy} is not sent", signal.id)

    def tick(self, at: Moment) -> None:
        """Deadlines pass."""
        for name in [n for n, waiting in self.waiting.items() if waiting.deadline_ms <= at.steady_ms]:
            self._unanswered(name, at)

    def withdrawn(self, fired_id: str, ended: Signal, at: Moment) -> bool:
        """Whether what waited need not be asked any more, because its condition is over."""
        if self.waiting.pop(fired_id, None) is None:
            return False
        self.own.tray.note(at, "approval_withdrawn", {"signal": fired_id, "why": "the condition is over"})
        self._close(ended, at, "the condition is over, nobody need approve it any more")
        return True

    def was_refused(self, fired_id: str) -> bool:
        """Whether the signal that ends was refused; it is forgotten with that."""
        return self.refused.pop(fired_id, None) is not None

    def asks(self, page: Signal) -> bool:
        """Whether this is the page of something that waits still."""
        waiting = (_whose(parse(waiting.payload)) for waiting in self.waiting.values())
        return page.rule == "approval" and _whose(page) in waiting

    def drops(self, page: Signal, at: Moment) -> bool:
        """Whether a page asks after the effect of something that nobody has agreed to."""
        if page.rule != "closed_loop" or not self._withheld(page):
            return False
        detail = {"signal": page.id, "why": "what it asks after was not agreed to"}
        self.own.tray.note(at, "page_dropped", detail)
        return True

    def view(self, set_ms: int) -> list[dict[str, Any]]:
        """What a person asks: what waits, until when by a wall clock that has been set so far."""
        return [
            {"id": name, "until": rfc3339(w.deadline_ms + set_ms), "reason": parse(w.payload).reason}
            for name, w in self.waiting.items()
        ]

    def find(self, signal_id: str) -> Signal | None:
        """The waiting signal of this id."""
        waiting = self.waiting.get(signal_id)
        return parse(waiting.payload) if waiting is not None else None

    def _withheld(self, page: Signal) -> bool:
        asked = [parse(waiting.payload) for waiting in self.waiting.values()]
        keys = {(s.deployment, s.policy, s.subject) for s in asked}
        return (page.deployment, page.policy, page.subject) in keys or _whose(page) in self.refused.values()

    def _unanswered(self, name: str, at: Moment) -> None:
        signal = parse(self.waiting.pop(name).payload)
        sends = self.own.terms_of(signal.deployment).unanswered == "send"
        self.own.tray.note(at, "approval_unanswered", {"signal": name, "then": "send" if sends else "drop"})
        self._close(signal, at, "nobody answered in time")
        if sends:
            self.own.tray.out.append(self.own.fresh(signal, at))
            return
        bounded(self.refused, signal.id, _whose(signal))
        reason = f"{signal.deployment}: nobody answered, so the {deed(signal)} was NOT sent. {signal.reason}"
        self.own.page(signal, "approval.unanswered", reason, at, signal.subject)

    def _close(self, signal: Signal, at: Moment, how: str) -> None:
        """The page of what waited is over, unless another rule of the same policy waits still: they share it."""
        if any(_whose(parse(waiting.payload)) == _whose(signal) for waiting in self.waiting.values()):
            return
        self.own.page(signal, "approval", f"{signal.deployment}: {how}.", at, signal.subject, "resolved")


def _whose(signal: Signal) -> str:
    return f"{signal.deployment}/{signal.policy}/{signal.subject}"
