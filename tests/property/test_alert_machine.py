"""The whole life of alerts, from what a rule sees to what a pager believes, beside a model that says it a second time.

Real: log, join, judge, closed loop, desk, state file, outbox, delivery. Scripted: what each rule sees at each seal, who
decides, what people say, how receivers answer, when the process dies.
"""

import copy
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alerts.audit import entries
from alerts.desk_terms import Command
from alerts.outbox import Delivered, OutboxEntry, Outcome, Retry
from alerts.signal import Signal, parse
from monitor.control.inbox import Asked, Finished, News, Overdue
from monitor.sealed import Sealed
from tests.integration.traffic import wire
from tests.property.alert_model import ACTS, HOUR_MS, Key, Name, Rules, Said, Terms
from tests.property.alert_world import LATENESS_MS, DeathError, Receiver, World
from tests.property.desk_model import DeskModel
from tests.unit.monitor.worlds import T0, small

OLD, CANARY, SAFE = ("v2", "full"), ("v3", "canary"), ("rules", "fallback")
KEYS = (OLD, CANARY, SAFE)
MINUTE_MS = 60_000
WORDS = ("ok", "ok", "near", "breach", "breach", "unknown")
CALM = dict.fromkeys(("reward", "state", "critic", "latency"), "ok")
names = st.sampled_from(sorted(CALM))
who = st.sets(st.sampled_from(KEYS), min_size=1)
moments = st.sampled_from([0, 1, 4_000, 9_999])
words = st.fixed_dictionaries({name: st.sampled_from(WORDS) for name in sorted(CALM)})


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


class AlertMachine(RuleBasedStateMachine):
    """Implements the hooks of the world: the model is moved on whenever the daemon says that it has moved."""

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

    @initialize(
        latch=st.booleans(), inhibit=st.booleans(), max_actions=st.integers(1, 2),
        unanswered=st.sampled_from(["drop", "send"]),
        approval=st.sampled_from([(), ("reward",), ("reward", "state")]), dry=st.sampled_from([(), (), ("state",)]),
    )  # fmt: skip
    def start(
        self,
        latch: bool,
        inhibit: bool,
        max_actions: int,
        unanswered: str,
        approval: Sequence[str],
        dry: Sequence[str],
    ) -> None:
        self.terms = Terms(latch=latch, inhibit=inhibit, max_actions=max_actions, unanswered=unanswered,
                           approval=frozenset(approval), dry=frozenset(dry))  # fmt: skip
        rules: dict[str, dict[str, Any]] = {
            name: {"keep_firing": "20s"} for name in ("reward", "state", "critic", "latency", "constraint")
        }
        for name in approval:
            rules[name] |= {"approval": True}
        for name in dry:
            rules[name] |= {"dry_run": True}
        home = {
            "bucket": "10s", "window": "30s", "reward_horizon": "10s", "fallback_policy": "rules",
            "rollback_policy": "v1", "latch": latch, "inhibit": inhibit, "max_actions": max_actions,
            "unanswered": unanswered, "closed_loop": "30s", "rules": rules,
        }  # fmt: skip
        self.model = Model(Rules(self.terms), DeskModel(self.terms))
        self.saved_model = copy.deepcopy(self.model)
        receivers = [
            Receiver(
                "serving", lambda signal: signal.kind in ACTS, lambda entry: self.answer("serving", entry)
            ),
            Receiver("pager", lambda signal: not signal.dry_run, lambda entry: self.answer("pager", entry)),
        ]
        config = small(deployments__home=home, source__lateness="5s")
        self.world = World(Path(self.folder.name), config, receivers, self)
        self.world.hold = self.terms.hold

    # what happens

    @rule(
        old=words,
        canary=words,
        serves=who,
        forbidden=st.sampled_from([None, None, OLD, CANARY]),
        at_ms=moments,
    )
    def ten_seconds(
        self, old: dict[str, str], canary: dict[str, str], serves: set[Key], forbidden: Key | None, at_ms: int
    ) -> None:
        self.bucket({OLD: old, CANARY: canary}, serves, forbidden, at_ms)

    @rule(
        key=st.sampled_from([OLD, CANARY]),
        trips=st.sets(names, min_size=1),
        serves=who,
        times=st.integers(1, 4),
    )
    def trouble(self, key: Key, trips: set[str], serves: set[Key], times: int) -> None:
        """Some rules of one policy are in breach, all else is well."""
        for _ in range(times):
            sights = {OLD: CALM, CANARY: CALM} | {key: CALM | dict.fromkeys(trips, "breach")}
            self.bucket(sights, serves | {key})

    @rule(serves=who, times=st.integers(2, 6))
    def calm(self, serves: set[Key], times: int) -> None:
        for _ in range(times):
            self.bucket({OLD: CALM, CANARY: CALM}, serves)

    @rule(ms=st.sampled_from([1, 1_000, 61_000, 5 * MINUTE_MS, 11 * MINUTE_MS]))
    def pass_time(self, ms: int) -> None:
        self.turn(ms)

    @rule(receiver=st.sampled_from(["serving", "pager"]), works=st.booleans())
    def receiver_changes(self, receiver: str, works: bool) -> None:
        self.answers[receiver] = Delivered() if works else Retry(None, "HTTP 503")

    @rule(times=st.integers(1, 4))
    def deliver(self, times: int) -> None:
        """What the delivery threads do, and the one that looks at them."""
        for _ in range(times):
            for loop in self.world.loops.values():
                loop.step()
        self.world.watch.step()
        self.turn(1)

    @rule(
        matchers=st.sampled_from([{"policy": "v2"}, {"kind": "page"}, {"rule": "reward"}, {"stage": "canary"},
                                  {"rule": "approval"}, {"deployment": "home"}, {"kind": "fallback"}]),
        for_ms=st.sampled_from([1_000, MINUTE_MS, HOUR_MS]),
    )  # fmt: skip
    def silence(self, matchers: dict[str, str], for_ms: int) -> None:
        self.say(Command("silence", "ann", "deploying", "", matchers, for_ms))

    @rule(which=st.integers(0, 5))
    def unsilence(self, which: int) -> None:
        self.say(Command("unsilence", "ann", "", _pick(self.model.desk.silences, which)))

    @rule(which=st.integers(0, 5))
    def acknowledge(self, which: int) -> None:
        names = [one.id for one in self.model.desk.open.values() if one.id]
        self.say(Command("ack", "bob", "on it", _pick(names, which)))

    @rule(which=st.integers(0, 2), agreed=st.booleans())
    def answer_approval(self, which: int, agreed: bool) -> None:
        self.say(Command("approve" if agreed else "reject", "eve", "", _pick(self.model.desk.waiting, which)))

    @rule()
    def save(self) -> None:
        self.guarded(self.world.daemon.save)

    @rule(when=st.sampled_from(["before", "after"]))
    def die_at_the_next_commit(self, when: str) -> None:
        self.world.checkpoint.dies = when

    @rule()
    def die_now(self) -> None:
        self.restart()

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
                _, policy, rule, subject = one.alert_key.split("/")
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
        assert Counter(map(_said, signals)) == Counter(model.desk.out)
        assert sorted(signal.id for signal in again) == sorted(model.desk.again)
        for one in model.desk.out + [_said(signal) for signal in again]:
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
                desk.silence(command.matchers, now_ms, command.for_ms)
                return True
            case "unsilence":
                return desk.unsilence(command.target)
            case "ack":
                return desk.ack(command.target)
        return desk.decide(command.target, now_ms, agreed=command.do == "approve")

    def same(self, expected: Sequence[Said], signals: Sequence[Signal]) -> list[Said]:
        """The signals are those expected; the expected ones with their ids, and put on their way."""
        assert Counter(map(_said, signals)) == Counter(expected), f"{signals} beside {expected}"
        named = []
        for one in expected:
            signal = next(signal for signal in signals if _said(signal) == one)
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
        return _said(signal).acts and signal.rule in self.terms.approval and not signal.hard

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

    # what must hold of everything that was said, whatever the model thinks

    @invariant()
    def a_policy_is_acted_on_so_often_an_hour_and_no_oftener(self) -> None:
        acts = [s for s in self.told.values() if _said(s).acts and not s.hard and s.rule != "closed_loop"]
        for one in acts:
            hour = [
                s for s in acts if s.policy == one.policy and one.time_ms - HOUR_MS < s.time_ms <= one.time_ms
            ]
            assert len(hour) <= self.terms.max_actions

    @invariant()
    def an_alert_fires_and_resolves_by_turns(self) -> None:
        states: dict[Name, str] = {}
        for signal in sorted(
            self.told.values(), key=lambda signal: (signal.time_ms, signal.state == "firing")
        ):
            if signal.rule not in ("closed_loop", "constraint"):  # which escalate, and follow each other
                assert states.get(_said(signal).name, "resolved") != signal.state, signal
                states[_said(signal).name] = signal.state

    @invariant()
    def the_end_of_a_fallback_puts_nothing_back_by_itself(self) -> None:
        for signal in self.told.values():
            if signal.state == "resolved" and signal.kind in ACTS:
                assert (signal.to_policy == signal.policy) == (not self.terms.latch)

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.world.checkpoint.dies = ""
                self.all_arrives()
        finally:
            if hasattr(self, "world"):
                self.world.close()
            self.folder.cleanup()

    def all_arrives(self) -> None:
        """With receivers that work, all that is owed arrives; then a pager shows what fires, and nothing else."""
        self.answers = dict.fromkeys(self.answers, Delivered())
        self.turn(1)
        for _ in range(300):
            waits = [loop.step() for loop in self.world.loops.values()]
            self.turn(max(1, min(waits)))
            if (
                not any(self.world.store.pending(name) for name in self.answers)
                and self.world.daemon.desk.idle
            ):
                break
        assert not any(self.world.store.pending(name) for name in self.answers)
        self.world.daemon.save()
        with closing(sqlite3.connect(self.world.checkpoint.path)) as conn:
            ends = conn.execute("SELECT signal_id, alert_key, ending FROM outbox").fetchall()
            audit = entries(conn)
        lost = {alert for _, alert, ending in ends if ending == "expired"}
        shown: dict[str, str] = {}
        for signal in self.got["pager"]:
            shown[signal.alert_key] = signal.state
        desk = self.world.daemon.desk
        withheld = desk.approvals.waiting.keys() | desk.approvals.refused.keys()
        fires = {one.alert_key for one in map(parse, desk.opened.open.values()) if one.id not in withheld}
        silencing = desk.silencing
        fires -= silencing.quieted.keys() - silencing.shown.keys()
        wrong = {alert for alert, state in shown.items() if (state == "firing") != (alert in fires)} - lost
        assert not wrong, [
            (s.alert_key, s.id[4:8], s.state, s.time_ms - T0)
            for s in self.got["pager"]
            if s.alert_key in wrong
        ]
        written = " ".join(str(entry.record.detail) for entry in audit)
        for signal in self.told.values():
            if _said(signal).acts and signal.id not in {name for name, _, _ in ends}:
                assert self.asks(signal), "a safety signal went nowhere"
                assert signal.id in written, "a safety signal was withheld without a record"


def _said(signal: Signal) -> Said:
    return Said(signal.rule, signal.policy, signal.subject, signal.kind, signal.state, signal.to_policy or "",
                signal.dry_run)  # fmt: skip


def _pick(names: Any, which: int) -> str:
    known = list(names)
    return known[which % len(known)] if known else "none"


TestAlertMachine = AlertMachine.TestCase
TestAlertMachine.settings = settings(
    max_examples=50,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
)
