"""Between the core and the outbox: approval, silence, catching up. What it withholds is remembered and accounted for.

Decides by wall time and by what people say, so that nothing of it is part of a replay: the core's signals are the same
with and without it. Safety signals are never silenced; forbidden actions never wait for anybody.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from msgspec.structs import replace as changed

from alerts import wording
from alerts.audit import Record
from alerts.desk_terms import Command, Moment, Reply, Silence, Terms, Waiting
from alerts.holds import HOLD_MS, TICKS_PER_MS, HoldOrder, hold_signal
from alerts.signal import Signal, cloudevent, parse, rfc3339

MATCHERS = ("deployment", "policy", "rule", "stage", "kind")
MAX_SILENCES = 1_000
MAX_KEPT = 2_000  # open signals, withheld ones, decisions and acknowledgements, each
LONGEST_SILENCE_MS = 90 * 86_400_000
TICK = 550  # behind the seals of a moment, before its violations
SELF = "policywatch"


@dataclass(slots=True)
class Desk:
    """`take` for the core's signals, `tick` in every turn, `obey` for people; then `leaving` is what goes out."""

    terms: Mapping[str, Terms] = field(default_factory=dict)
    silences: dict[str, Silence] = field(default_factory=dict)
    quieted: dict[str, bytes] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    held: dict[str, bytes] = field(default_factory=dict)
    open: dict[str, bytes] = field(default_factory=dict)
    acked: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    late: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    stale: dict[str, bytes] = field(default_factory=dict)
    made: int = 0
    out: list[Signal] = field(default_factory=list)
    raised: list[Signal] = field(default_factory=list)
    again: list[Signal] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    silenced: int = 0

    # what comes in

    def take(self, signals: Iterable[Signal], at: Moment) -> None:
        """Decide about new signals, in their order."""
        for signal in signals:
            self._take(signal, at)

    def take_again(self, signals: Iterable[Signal]) -> None:
        """Signals to be sent once more, unless nobody agreed to them or they have not gone out yet."""
        withheld = self.waiting.keys() | self.refused.keys() | self.held.keys()
        self.again += [signal for signal in signals if signal.id not in withheld]

    def tick(self, at: Moment) -> None:
        """What time alone brings: deadlines, the end of silences, the end of catching up."""
        for name in [n for n, silence in self.silences.items() if silence.until_ms <= at.now_ms]:
            silence = self.silences.pop(name)
            self._note(at, "silence_ended", SELF, {"silence": name, "by": silence.by})
            self._speak_up()
        for name in [n for n, waiting in self.waiting.items() if waiting.deadline_ms <= at.now_ms]:
            self._unanswered(name, at)
        if (self.held or self.stale) and not at.catching_up:
            self._recheck(at)

    def obey(self, command: Command, at: Moment) -> Reply:
        """One command of a person; its effect and its record are saved before it is answered."""
        if not command.by.strip():
            return Reply(400, "say who you are (by)")
        match command.do:
            case "ack":
                return self._ack(command, at)
            case "approve" | "reject":
                return self._decide(command, at)
            case "silence":
                return self._silence(command, at)
            case "unsilence":
                return self._unsilence(command, at)
        return Reply(400, f"{command.do!r} is not one of ack, approve, reject, silence, unsilence")

    def overdue(self, signal_id: str, receiver: str, age_ms: int, at: Moment) -> None:
        """A safety signal has not arrived: a person is told through everybody else."""
        signal = self._known(signal_id)
        name = f"{signal_id} {receiver}"
        if signal is None or name in self.late:
            return
        _bounded(self.late, name, (signal.deployment, signal.policy, at.now_ms))
        reason = (
            f"{signal.deployment}: the {_deed(signal)} has not arrived at {receiver} for {wording.span(age_ms)}; "
            "serving may not know. Switch by hand."
        )
        self._page(signal, "delivery.overdue", reason, at, receiver, at.now_ms)

    def ended(self, signal_id: str, receiver: str, ending: str, at: Moment) -> None:
        """An entry of a safety signal left the outbox: delivered at last, or given up."""
        if ending == "delivered":
            self._arrived(signal_id, receiver, at)
            return
        self._note(
            at, "safety_signal_ended", SELF, {"signal": signal_id, "receiver": receiver, "ending": ending}
        )
        signal = self._known(signal_id)
        if signal is None:
            return
        if ending == "expired" and at.fires(signal) and not at.catching_up:
            self.again.append(self._fresh(signal, at))
            then = "the condition still holds, so it is sent anew"
        else:
            then = "it is not sent any more"
        reason = f"{signal.deployment}: the {_deed(signal)} never arrived at {receiver} ({ending}); {then}."
        self._page(signal, "delivery.expired", reason, at, receiver, at.now_ms)

    # what goes out

    def leaving(self) -> tuple[list[Signal], list[Signal], list[Record]]:
        """New signals for the outbox, signals to send again, audit records: until `left` says that they are saved."""
        return sorted(self.out, key=lambda signal: signal.generation), self.again, self.records

    def left(self) -> list[Signal]:
        """All of it is saved; returns the pages that the desk raised itself."""
        raised, self.raised = self.raised, []
        self.out, self.again, self.records = [], [], []
        return raised

    @property
    def idle(self) -> bool:
        """Whether there is nothing to save."""
        return not (self.out or self.again or self.records)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {name: getattr(self, name) for name in _SAVED}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from it."""
        for name in _SAVED:
            if name in state:
                setattr(self, name, state[name])

    def view(self) -> dict[str, Any]:
        """What a person asks: silences, what waits for approval, what is withheld."""
        return {
            "silences": [
                {
                    "id": s.id,
                    "matchers": dict(s.matchers),
                    "until": rfc3339(s.until_ms),
                    "by": s.by,
                    "why": s.why,
                }
                for s in self.silences.values()
            ],
            "waiting": [
                {"id": name, "until": rfc3339(w.deadline_ms), "reason": parse(w.payload).reason}
                for name, w in self.waiting.items()
            ],
            "acknowledged": [
                {"alert": key, "by": by, "why": why, "at": rfc3339(at_ms)}
                for key, (by, why, at_ms) in self.acked.items()
            ],
            "silenced": sorted(self.quieted),
            "held_back": sorted(self.held),
        }

    # signals

    def _take(self, signal: Signal, at: Moment) -> None:
        if signal.state == "firing":
            _bounded(self.open, signal.alert_key, cloudevent(signal))
        else:
            self.acked.pop(signal.alert_key, None)
            fired = self.open.pop(signal.alert_key, None)
            if fired is not None and self._forgotten(parse(fired).id, signal, at):
                return
        if self._is_stale(signal, at):
            _bounded(self.held, signal.id, cloudevent(signal))
        elif signal.safety and self._must_wait(signal):
            self._ask(signal, at)
        elif signal.rule == "closed_loop" and self._withheld(signal):
            self._note(
                at, "page_dropped", SELF, {"signal": signal.id, "why": "what it asks after was not agreed to"}
            )
        elif not self._is_silenced(signal, at):
            self.out.append(signal)

    def _forgotten(self, fired_id: str, ended: Signal, at: Moment) -> bool:
        """Whether the end belongs to a beginning that never went out: then neither does."""
        if fired_id in self.waiting:
            del self.waiting[fired_id]
            self._note(at, "approval_withdrawn", SELF, {"signal": fired_id, "why": "the condition is over"})
            self._close(ended, at, "the condition is over, nobody need approve it any more")
            return True
        if fired_id in self.held:
            _bounded(self.stale, fired_id, self.held.pop(fired_id))
            return True
        return self.refused.pop(fired_id, None) is not None

    def _is_stale(self, signal: Signal, at: Moment) -> bool:
        old = signal.expires_at_ms is not None and signal.expires_at_ms <= at.now_ms
        return at.catching_up and signal.state == "firing" and old

    def _must_wait(self, signal: Signal) -> bool:
        hard = signal.evidence.statistic == "violations.executed"
        return signal.rule in self.terms.get(signal.deployment, Terms()).approval and not hard

    def _withheld(self, page: Signal) -> bool:
        asked = [parse(waiting.payload) for waiting in self.waiting.values()]
        keys = {(s.deployment, s.policy, s.subject) for s in asked}
        return (page.deployment, page.policy, page.subject) in keys or self._is_refused(page)

    def _is_refused(self, page: Signal) -> bool:
        return any(why == f"{page.deployment}/{page.policy}/{page.subject}" for why in self.refused.values())

    def _is_silenced(self, signal: Signal, at: Moment) -> bool:
        if signal.state == "resolved":
            return self.quieted.pop(signal.alert_key, None) is not None
        if signal.safety or not any(
            s.matches(signal) for s in self.silences.values() if s.until_ms > at.now_ms
        ):
            self.quieted.pop(signal.alert_key, None)
            return False
        _bounded(self.quieted, signal.alert_key, cloudevent(signal))
        self.silenced += 1
        self._note(at, "signal_silenced", SELF, {"signal": signal.id, "alert": signal.alert_key})
        return True

    def _speak_up(self) -> None:
        """What no silence covers any more, and fires still, is said now."""
        for key, payload in list(self.quieted.items()):
            signal = parse(payload)
            if not any(silence.matches(signal) for silence in self.silences.values()):
                del self.quieted[key]
                self.out.append(signal)

    # approval

    def _ask(self, signal: Signal, at: Moment) -> None:
        terms = self.terms[signal.deployment]
        _bounded(
            self.waiting, signal.id, Waiting(cloudevent(signal), at.now_ms, at.now_ms + terms.timeout_ms)
        )
        self._note(at, "approval_asked", SELF, {"signal": signal.id, "reason": signal.reason})
        then = "it is then sent" if terms.unanswered == "send" else "nothing is switched then"
        reason = (
            f"{signal.deployment}: a {_deed(signal)} waits for approval for {wording.span(terms.timeout_ms)}; {then}. "
            f"policywatch signals approve (or reject) {signal.id}. {signal.reason}"
        )
        self._page(signal, "approval", reason, at, signal.subject, at.now_ms)

    def _decide(self, command: Command, at: Moment) -> Reply:
        waiting = self.waiting.pop(command.target, None)
        if waiting is None:
            return Reply(404, f"no signal {command.target} waits for approval")
        signal = parse(waiting.payload)
        done = {"approve": "approved", "reject": "rejected"}[command.do]
        self._note(at, done, command.by, {"signal": signal.id, "why": command.why})
        self._close(signal, at, f"{done} by {command.by}")
        if command.do == "approve":
            self.out.append(self._fresh(signal, at))
            return Reply(200, f"{signal.kind} of {signal.policy} is on its way", signal.id)
        _bounded(self.refused, signal.id, f"{signal.deployment}/{signal.policy}/{signal.subject}")
        return Reply(200, f"{signal.kind} of {signal.policy} is not sent", signal.id)

    def _unanswered(self, name: str, at: Moment) -> None:
        signal = parse(self.waiting.pop(name).payload)
        sends = self.terms.get(signal.deployment, Terms()).unanswered == "send"
        self._note(at, "approval_unanswered", SELF, {"signal": name, "then": "send" if sends else "drop"})
        self._close(signal, at, "nobody answered in time")
        if sends:
            self.out.append(self._fresh(signal, at))
            return
        _bounded(self.refused, signal.id, f"{signal.deployment}/{signal.policy}/{signal.subject}")
        reason = f"{signal.deployment}: nobody answered, so the {_deed(signal)} was NOT sent. {signal.reason}"
        self._page(signal, "approval.unanswered", reason, at, signal.subject, at.now_ms)

    def _close(self, signal: Signal, at: Moment, how: str) -> None:
        self._page(signal, "approval", f"{signal.deployment}: {how}.", at, signal.subject, 0, "resolved")

    # people

    def _ack(self, command: Command, at: Moment) -> Reply:
        signal = self._known(command.target)
        if signal is None:
            return Reply(404, f"no open signal {command.target}")
        _bounded(self.acked, signal.alert_key, (command.by, command.why, at.now_ms))
        self._note(
            at,
            "acknowledged",
            command.by,
            {"signal": signal.id, "alert": signal.alert_key, "why": command.why},
        )
        return Reply(200, f"{signal.rule} of {signal.policy or signal.deployment} is acknowledged", signal.id)

    def _silence(self, command: Command, at: Moment) -> Reply:
        wrong = [name for name in command.matchers if name not in MATCHERS]
        if wrong or not command.matchers:
            no = f", not {', '.join(wrong)}" if wrong else ""
            return Reply(400, f"match by at least one of {', '.join(MATCHERS)}{no}")
        if not 0 < command.for_ms <= LONGEST_SILENCE_MS:
            return Reply(
                400, f"a silence lasts longer than nothing and at most {wording.span(LONGEST_SILENCE_MS)}"
            )
        if not command.why.strip():
            return Reply(400, "say why")
        if len(self.silences) >= MAX_SILENCES:
            return Reply(409, f"there are {MAX_SILENCES} silences; end one first")
        self.made += 1
        name, until_ms = f"sil_{at.now_ms:x}_{self.made}", at.now_ms + command.for_ms
        made = Silence(name, dict(command.matchers), until_ms, command.by, command.why)
        self.silences[made.id] = made
        until = rfc3339(until_ms)
        detail = {"silence": name, "matchers": made.matchers, "why": made.why, "until": until}
        self._note(at, "silenced", command.by, detail)
        return Reply(200, f"pages are silenced until {until}; fallbacks and rollbacks are not", name)

    def _unsilence(self, command: Command, at: Moment) -> Reply:
        if self.silences.pop(command.target, None) is None:
            return Reply(404, f"no silence {command.target}")
        self._note(at, "unsilenced", command.by, {"silence": command.target, "why": command.why})
        self._speak_up()
        return Reply(200, "the silence is over", command.target)

    # catching up

    def _recheck(self, at: Moment) -> None:
        """The backlog is read: what still holds is sent anew, what is over is accounted for and not sent."""
        held, self.held = self.held, {}
        for name, payload in held.items():
            signal = parse(payload)
            if at.fires(signal):
                self._note(at, "sent_anew", SELF, {"signal": name, "raised_at": rfc3339(signal.time_ms)})
                self._take(
                    self._fresh(signal, at, "still so after catching up"), replace(at, catching_up=False)
                )
            else:
                self.open.pop(signal.alert_key, None)
                _bounded(self.stale, name, payload)
        dropped = [parse(payload) for payload in self.stale.values()]
        self.stale = {}
        for signal in dropped:
            self._note(at, "stale_dropped", SELF, {"signal": signal.id, "reason": signal.reason})
        for deployment in dict.fromkeys(signal.deployment for signal in dropped):
            mine = [signal for signal in dropped if signal.deployment == deployment]
            acted = sum(signal.safety for signal in mine)
            reason = (
                f"{deployment}: after an outage {len(mine)} signals of the backlog, {acted} of them safety signals, "
                f"were not sent, because what they say is over: {'; '.join(signal.reason for signal in mine[:3])}"
            )
            self._page(changed(mine[0], policy=""), "catch_up", reason, at, "", at.now_ms)

    # helpers

    def _arrived(self, signal_id: str, receiver: str, at: Moment) -> None:
        late = self.late.pop(f"{signal_id} {receiver}", None)
        if late is None:
            return
        deployment, policy, opened_ms = late
        order = HoldOrder(
            "delivery.overdue", "resolved", f"{deployment}: the signal about {policy} has arrived at {receiver}.",
            opened_ms, at.now_ms, TICK, "page", policy, receiver, at.edge_ms,
        )  # fmt: skip
        self._raise(hold_signal(deployment, self.terms.get(deployment, Terms()).lateness_ms, order), at)

    def _fresh(self, signal: Signal, at: Moment, why: str = "") -> Signal:
        """The same signal under the same id, with a life and a generation that a receiver takes now."""
        lateness_ms = self.terms.get(signal.deployment, Terms()).lateness_ms
        generation = max(signal.generation, (at.edge_ms + lateness_ms) * TICKS_PER_MS + TICK)
        reason = f"{signal.reason} ({why})" if why else signal.reason
        return changed(signal, generation=generation, expires_at_ms=at.now_ms + HOLD_MS, reason=reason)

    def _page(
        self,
        about: Signal,
        rule: str,
        reason: str,
        at: Moment,
        subject: str,
        opened_ms: int,
        state: str = "firing",
    ) -> None:
        order = HoldOrder(
            rule, "firing" if state == "firing" else "resolved", reason, opened_ms or at.now_ms, at.now_ms, TICK,
            "page", about.policy, subject, at.edge_ms,
        )  # fmt: skip
        lateness_ms = self.terms.get(about.deployment, Terms()).lateness_ms
        self._raise(hold_signal(about.deployment, lateness_ms, order, about.dry_run), at)

    def _raise(self, page: Signal, at: Moment) -> None:
        """A page of our own goes the same way as all others: it too can be silenced."""
        self.raised.append(page)
        if page.state == "firing":
            _bounded(self.open, page.alert_key, cloudevent(page))
        else:
            self.open.pop(page.alert_key, None)
        if not self._is_silenced(page, at):
            self.out.append(page)

    def _known(self, signal_id: str) -> Signal | None:
        for payload in (*self.open.values(), *(waiting.payload for waiting in self.waiting.values())):
            signal = parse(payload)
            if signal.id == signal_id:
                return signal
        return None

    def _note(self, at: Moment, what: str, who: str, detail: Mapping[str, Any]) -> None:
        self.records.append(Record(at.now_ms, what, who[:200], detail))


def _deed(signal: Signal) -> str:
    return f"{signal.kind} of {signal.policy} to {signal.to_policy or 'the previous policy'}"


_SAVED = ("silences", "quieted", "waiting", "refused", "held", "open", "acked", "late", "stale", "made")


def _bounded(table: dict[str, Any], key: str, value: Any) -> None:
    """Put at the end; the oldest goes when there are too many."""
    table.pop(key, None)
    table[key] = value
    while len(table) > MAX_KEPT:
        del table[next(iter(table))]
