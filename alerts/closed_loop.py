"""Whether a fallback or rollback was really acted on: the decisions after it tell, in event time."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from msgspec.structs import replace as changed

from alerts import wording
from alerts.holds import HOLD_MS, TICKS_PER_MS, HoldOrder, hold_signal
from alerts.signal import VIOLATION, Signal, cloudevent, parse

Key = tuple[str, str]  # policy, stage
AlertName = tuple[str, str, str]  # rule (and what of it), policy, stage
RULE = "closed_loop"
ESCALATES_AT = 3  # deadlines missed before the page is raised a second time
MOST_AGAIN = 30
MAX_LOOPS = 1_000


@dataclass(frozen=True, slots=True)
class Served:
    """Decisions of one policy and stage in one sealed bucket; times of the first and the last."""

    decisions: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Loop:
    """One action that was asked for. bad_ms, good_ms: last decision of what must stop and of what must serve, or -1.

    missed: deadlines that have passed. payload: the signal as it was sent, to be sent again.
    """

    policy: str
    stage: str
    rule: str
    kind: str
    to_policy: str
    fired_ms: int
    deadline_ms: int
    payload: bytes
    bad_ms: int = -1
    good_ms: int = -1
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Safe:
    """An action that is being served. took_ms: from the signal to the last decision of what had to stop."""

    policy: str
    stage: str
    rule: str
    kind: str
    took_ms: int


@dataclass(frozen=True, slots=True)
class LoopNews:
    """What one seal has shown: pages, signals to send once more under their own id, and what has become safe."""

    signals: tuple[Signal, ...] = ()
    again: tuple[Signal, ...] = ()
    safe: tuple[Safe, ...] = ()


@dataclass(slots=True)
class ClosedLoops:
    """open: signal id -> what is not yet known to be served. within_ms 0: nothing is watched. safe_ms: rule and key of
    an alert -> time to safe, until it resolves. waits_ms: by rule, how long an approval may take.
    """

    deployment: str
    within_ms: int
    lateness_ms: int
    dry_run: bool = False
    waits_ms: Mapping[str, int] = field(default_factory=dict)
    open: dict[str, Loop] = field(default_factory=dict)
    safe_ms: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def follow(self, signals: Iterable[Signal]) -> None:
        """Watch every action among these signals from now on."""
        for signal in signals:
            if signal.safety and self.within_ms and len(self.open) < MAX_LOOPS:
                wait_ms = self.within_ms + self.waits_ms.get(signal.rule, 0)
                self.open[signal.id] = Loop(
                    signal.policy, signal.subject, signal.rule, signal.kind, signal.to_policy or "",
                    signal.time_ms, signal.time_ms + wait_ms, cloudevent(signal),
                )  # fmt: skip

    def at_seal(
        self, now_ms: int, served: Mapping[Key, Served], index: int, ended: Collection[AlertName] = ()
    ) -> LoopNews:
        """What the sealed bucket shows of every action that was asked for before its end. ended: what resolves."""
        pages = self._end(now_ms, index, ended)
        again: list[Signal] = []
        safe: list[Safe] = []
        leaders: set[Key] = set()
        before = [(loop.fired_ms, name) for name, loop in self.open.items() if loop.fired_ms < now_ms]
        for _, name in sorted(before):
            loop = _seen(self.open[name], served)
            key = (loop.policy, loop.stage)
            leads = key not in leaders
            leaders.add(key)
            if self._is_safe(loop, served.get(key), now_ms):
                del self.open[name]
                took_ms = max(0, loop.bad_ms - loop.fired_ms)
                self.safe_ms[alert_name(parse(loop.payload))] = took_ms
                safe.append(Safe(*key, loop.rule, loop.kind, took_ms))
                if loop.missed and leads:
                    pages.append(self._page(loop, now_ms, index + len(pages), "resolved", ""))
                continue
            if _overdue(loop, now_ms):
                loop = replace(loop, missed=loop.missed + 1, deadline_ms=now_ms + self.within_ms)
                if leads:
                    pages += self._missed(loop, served, now_ms, index + len(pages))
                    again += self._again(loop, now_ms, index + len(pages))
            self.open[name] = loop
        return LoopNews(tuple(pages), tuple(again), tuple(safe))

    def told(self, signal: Signal) -> Signal:
        """The end of an alert says how long it took until serving was safe."""
        took_ms = self.safe_ms.pop(alert_name(signal), None)
        if took_ms is None or signal.state != "resolved":
            return signal
        return changed(
            signal, reason=f"{signal.reason} Serving was safe {wording.span(took_ms)} after the signal."
        )

    def forget(self, key: Key) -> None:
        """A policy that is gone is served no more."""
        self.open = {n: loop for n, loop in self.open.items() if (loop.policy, loop.stage) != key}
        self.safe_ms = {name: ms for name, ms in self.safe_ms.items() if name[1:] != key}

    def _end(self, now_ms: int, index: int, ended: Collection[AlertName]) -> list[Signal]:
        """An action whose condition is over is asked for no more: to send it again would raise what has resolved."""
        before = {name: loop for name, loop in self.open.items() if loop.fired_ms < now_ms}
        over = {n: loop for n, loop in before.items() if ended and alert_name(parse(loop.payload)) in ended}
        for name in over:
            del self.open[name]
        raised = [loop for loop in (before[name] for name in sorted(over)) if loop.missed]
        still = {(loop.policy, loop.stage) for loop in self.open.values() if loop.missed}
        last = {(loop.policy, loop.stage): loop for loop in raised if (loop.policy, loop.stage) not in still}
        return [
            self._page(loop, now_ms, index + at, "resolved", self._over(loop))
            for at, (_, loop) in enumerate(sorted(last.items()))
        ]

    def _over(self, loop: Loop) -> str:
        what = f"the condition of the {loop.kind} of {loop.policy} is over"
        return f"{self.deployment}: {what}; nothing else was seen to serve."

    def _is_safe(self, loop: Loop, bad: Served | None, now_ms: int) -> bool:
        """What must serve has come after the last of what must stop, and that has been gone for a bucket or a while."""
        gone = bad is None or now_ms - loop.bad_ms >= self.within_ms
        return loop.good_ms > max(loop.bad_ms, loop.fired_ms) and gone

    def _missed(self, loop: Loop, served: Mapping[Key, Served], now_ms: int, index: int) -> list[Signal]:
        if loop.missed not in (1, ESCALATES_AT):
            return []
        everybody = sum(one.decisions for one in served.values())
        still = served.get((loop.policy, loop.stage))
        what = (
            f"{loop.policy} ({loop.stage}) still made {still.decisions} of the last {everybody} decisions"
            if still is not None
            else f"no decision of {loop.to_policy or 'another policy'} has been seen"
        )
        often = f"; asked for {loop.missed} times, escalated" if loop.missed > 1 else ""
        reason = (
            f"{self.deployment}: {wording.span(now_ms - loop.fired_ms)} after the {loop.kind} to "
            f"{loop.to_policy or 'the previous policy'} {what}{often}; serving is NOT safe. The signal is sent "
            "again under its id; switch by hand."
        )
        return [self._page(loop, now_ms, index, "firing", reason)]

    def _again(self, loop: Loop, now_ms: int, index: int) -> list[Signal]:
        """The signal under its own id, with a life and a generation that a receiver still takes."""
        if loop.missed > MOST_AGAIN:
            return []
        generation = (now_ms + self.lateness_ms) * TICKS_PER_MS + index
        return [changed(parse(loop.payload), generation=generation, expires_at_ms=now_ms + HOLD_MS)]

    def _page(self, loop: Loop, now_ms: int, index: int, state: str, reason: str) -> Signal:
        took = wording.span(max(0, loop.bad_ms - loop.fired_ms))
        end = f"{self.deployment}: {loop.to_policy or 'another policy'} serves; safe {took} after the {loop.kind}."
        order = HoldOrder(
            rule=RULE, state="firing" if state == "firing" else "resolved", reason=reason or end,
            opened_ms=loop.fired_ms * 10 + (loop.missed if state == "firing" else 0), time_ms=now_ms, index=index,
            kind="page", policy=loop.policy, subject=loop.stage,
        )  # fmt: skip
        return hold_signal(self.deployment, self.lateness_ms, order, self.dry_run)


def alert_name(signal: Signal) -> AlertName:
    """What a beginning and its end share: forbidden actions and cost budgets, both `constraint`, end each by itself."""
    return (f"{signal.rule}/{VIOLATION}" if signal.hard else signal.rule, signal.policy, signal.subject)


def _seen(loop: Loop, served: Mapping[Key, Served]) -> Loop:
    mine = served.get((loop.policy, loop.stage))
    bad_ms = mine.last_ms if mine is not None and mine.last_ms > loop.fired_ms else loop.bad_ms
    good = [one.last_ms for key, one in served.items() if _serves(key, loop) and one.last_ms > loop.fired_ms]
    return replace(loop, bad_ms=bad_ms, good_ms=max([loop.good_ms, *good]))


def _serves(key: Key, loop: Loop) -> bool:
    """Whether decisions of this key are what was asked for."""
    if key == (loop.policy, loop.stage):
        return False
    if loop.kind == "rollback":
        return key[0] != loop.policy
    return key[1] == "fallback" or not loop.to_policy or key[0] == loop.to_policy


def _overdue(loop: Loop, now_ms: int) -> bool:
    """A decision was made after the deadline by what must stop, or the deadline is over and nothing else has served."""
    return now_ms >= loop.deadline_ms and (loop.bad_ms > loop.deadline_ms or loop.good_ms < 0)
