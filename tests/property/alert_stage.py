"""Where the model of alerts walks beside the daemon: it is moved on whenever the daemon says that it has moved."""

import copy
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alerts.desk_terms import Command
from alerts.outbox import Delivered, OutboxEntry, Outcome
from alerts.signal import Signal, parse
from monitor.control.inbox import Asked, Finished, News, Overdue
from monitor.sealed import Sealed
from tests.integration.traffic import wire
from tests.property.alert_model import Key, Name, Rules, Said, Terms
from tests.property.alert_world import LATENESS_MS, DeathError, World
from tests.property.desk_model import DeskModel
from tests.unit.monitor.worlds import T0


@dataclass
class Model:
    """Everything that a saved state stands for. position: records of the log that were read."""

    rules: Rules
    desk: DeskModel
    position: int = 0
    unsent: list[tuple[int, Said]] = field(default_factory=list)  # by generation
    again: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Bucket:
    """What was written to the log about ten seconds."""

    sights: Mapping[Key, Mapping[str, str]]
    served: Mapping[Key, int]


class Stage:
    """Implements the hooks of the world; `bucket`, `say`, `turn` and `restart` are what can happen to it."""

    terms: Terms
    model: Model
    saved_model: Model
    world: World

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self.end_ms, self.decisions = T0, 0
        self.buckets: dict[int, Bucket] = {}
        self.forbidden: dict[int, tuple[Key, int]] = {}  # by offset
        self.answers: dict[str, Outcome] = {"serving": Delivered(), "pager": Delivered()}
        self.got: dict[str, list[Signal]] = {"serving": [], "pager": []}
        self.told: dict[str, Signal] = {}  # what the log says, by id, as it came first
        self.agreed: set[str] = set()
        self.last: dict[Name, Said] = {}  # what went out last about each alert
        self.newest = 0  # generation that serving has heard
        self.replies: list[tuple[Asked, bool]] = []

    # the daemon says what it does, the model does it too

    def fed(self, position: int, signals: Sequence[Signal]) -> None:
        rules = self.model.rules
        places = sorted(at for at in self.forbidden if self.model.position <= at < position)
        expected = []
        for place in places:
            key, at_ms = self.forbidden[place]
            opened = rules.forbidden(key, at_ms)
            expected += [(one, at_ms) for one in opened]
        self.model.position = position
        named = self.same([one for one, _ in expected], signals)
        for one, (_, at_ms) in zip(named, expected, strict=True):
            rules.follow([one], at_ms)

    def sealed(self, sealed: Sealed) -> None:
        bucket, rules = self.buckets[sealed.end_ms], self.model.rules
        said = rules.seal(sealed.end_ms, bucket.sights, bucket.served)
        pages, again = rules.loops(sealed.end_ms, bucket.served, said)
        named = self.same([*said, *pages], sealed.signals)
        rules.follow(named, sealed.end_ms)
        assert sorted(signal.id for signal in sealed.again) == sorted(again)
        self.model.again += again

    def hearing(self, news: Sequence[News]) -> None:
        desk, now_ms = self.model.desk, self.world.clock.ms
        for one in news:
            if isinstance(one, Overdue):
                _, policy, rule, subject, *_ = one.alert_key.split("/")
                desk.overdue(one.signal_id, one.receiver, now_ms, (rule, policy, subject))
            elif isinstance(one, Finished) and one.ending == "delivered":
                desk.arrived(one.signal_id, one.receiver, now_ms)
            elif isinstance(one, Finished):
                about = next((said for said in desk.open.values() if said.id == one.signal_id), None)
                fires = about is not None and self.model.rules.fires(about)
                desk.given_up(one.signal_id, one.receiver, one.ending, now_ms, fires=fires)
            elif isinstance(one, Asked):
                self.replies.append((one, self.obeyed(one.command, now_ms)))
        desk.tick(now_ms)

    def saved(self, signals: Sequence[Signal], again: Sequence[Signal]) -> None:
        model, now_ms = self.model, self.world.clock.ms
        model.desk.take([said for _, said in sorted(model.unsent, key=lambda pair: pair[0])], now_ms)
        model.desk.take_again(model.again)
        assert Counter(map(said_by, signals)) == Counter(model.desk.out)
        assert sorted(signal.id for signal in again) == sorted(model.desk.again)
        for one in model.desk.out + [said_by(signal) for signal in again]:
            self.last[one.name] = one
        self.agreed |= {signal.id for signal in signals if self.asks(signal)}
        generations = [signal.generation for signal in signals]
        assert generations == sorted(generations)
        model.unsent, model.again, model.desk.out, model.desk.again = [], [], [], []
        self.saved_model = copy.deepcopy(model)

    def obeyed(self, command: Command, now_ms: int) -> bool:
        desk = self.model.desk
        match command.do:
            case "silence":
                desk.silence(command.matchers, now_ms, command.for_ms, self.world.clock.set_ms)
                return True
            case "unsilence":
                return desk.unsilence(command.target)
            case "ack":
                return desk.ack(command.target)
        return desk.decide(command.target, now_ms, agreed=command.do == "approve")

    def same(self, expected: Sequence[Said], signals: Sequence[Signal]) -> list[Said]:
        """The signals are those expected; the expected ones with their ids, and put on their way."""
        assert Counter(map(said_by, signals)) == Counter(expected), f"{signals} beside {expected}"
        named = []
        for one in expected:
            signal = next(signal for signal in signals if said_by(signal) == one)
            assert self.told.setdefault(signal.id, signal) == signal, (
                "said again after a death, and differently"
            )
            named.append(replace(one, id=signal.id, at_ms=signal.time_ms))
            self.model.unsent.append((signal.generation, named[-1]))
        return named

    # helpers

    def bucket(
        self,
        sights: Mapping[Key, Mapping[str, str]],
        serves: set[Key],
        forbidden: Key | None = None,
        at_ms: int = 0,
    ) -> None:
        """Ten seconds of the log, read as soon as they are over."""
        start_ms, self.end_ms = self.end_ms, self.end_ms + self.terms.bucket_ms
        served = dict.fromkeys(serves, start_ms + 9000)
        records: list[tuple[int, Key, dict[str, Any]]]
        records = [(start_ms + at, key, {}) for key in sorted(serves) for at in (1_000, 9_000)]
        if forbidden is not None:
            records.append((start_ms + at_ms, forbidden, {"masked": [1]}))
            served[forbidden] = max(served.get(forbidden, 0), start_ms + at_ms)
        for ts_ms, key, more in sorted(records, key=lambda record: record[0]):
            if more:
                self.forbidden[len(self.world.log.payloads)] = (key, ts_ms)
            self.decide(ts_ms, key, **more)
        self.buckets[self.end_ms] = Bucket(sights, served)
        self.world.script |= {(self.end_ms, key): words for key, words in sights.items()}
        heartbeat = {"type": "metric", "deployment": "home", "metric": "load", "value": 1.0}
        self.world.log.payloads.append(wire(heartbeat | {"ts": self.end_ms + LATENESS_MS}))
        self.turn(10)

    def decide(self, ts_ms: int, key: Key, **more: Any) -> None:
        self.decisions += 1
        record = {"type": "decision", "decision_id": f"d{self.decisions}", "deployment": "home", "policy": key[0],
                  "stage": key[1], "ts": ts_ms, "action": 1} | more  # fmt: skip
        self.world.log.payloads.append(wire(record))

    def answer(self, receiver: str, entry: OutboxEntry) -> Outcome:
        outcome, signal = self.answers[receiver], parse(entry.payload)
        assert not self.asks(signal) or signal.id in self.agreed, "nobody has agreed to it"
        if isinstance(outcome, Delivered):
            known = {one.id for one in self.got[receiver]}
            self.got[receiver].append(signal)
            if receiver == "serving" and signal.id not in known:
                assert not signal.safety or signal.generation > self.newest, "refused as old"
                self.newest = max(self.newest, signal.generation)
        return outcome

    def asks(self, signal: Signal) -> bool:
        """Whether a person must agree to it."""
        return said_by(signal).acts and signal.rule in self.terms.approval and not signal.hard

    def say(self, command: Command) -> None:
        asked = Asked(command)
        self.world.daemon.inbox.put(asked)
        self.turn(1)

    def turn(self, ms: int) -> None:
        self.world.clock.ms += ms
        self.guarded(self.world.daemon.step)

    def guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except DeathError:
            self.restart()
            return
        for asked, done in self.replies:
            assert asked.reply is not None
            assert (asked.reply.status == 200) == done, asked
        self.replies = []

    def restart(self) -> None:
        self.replies = []
        self.world.bury()
        self.model = copy.deepcopy(self.saved_model)
        self.world.begin()
        self.turn(1)


def said_by(signal: Signal) -> Said:
    """A signal, as far as the model cares."""
    return Said(signal.rule, signal.policy, signal.subject, signal.kind, signal.state, signal.to_policy or "",
                signal.dry_run)  # fmt: skip
