"""The whole life of alerts, from what a rule sees to what a pager believes, beside a model that says it a second time.

Real: log, join, judge, closed loop, desk, state file, outbox, delivery. Scripted: what each rule sees at each seal, who
decides, what people say, how receivers answer, when the process dies.
"""

import copy
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alerts.audit import entries
from alerts.desk_terms import Command
from alerts.outbox import Delivered, Retry
from alerts.signal import parse
from tests.property.alert_model import ACTS, HOUR_MS, Key, Name, Rules, Terms
from tests.property.alert_stage import Model, Stage, said_by
from tests.property.alert_world import Receiver, World
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


class AlertMachine(Stage, RuleBasedStateMachine):
    """What may happen, in any order, and what must hold of all that was said."""

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

    @rule(set_ms=st.sampled_from([0, 3_599_993, -3_599_993]))
    def wall_clock_is_set(self, set_ms: int) -> None:
        """Which ends and answers nothing."""
        self.world.clock.set_ms = set_ms

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

    # what must hold of everything that was said, whatever the model thinks

    @invariant()
    def a_policy_is_acted_on_so_often_an_hour_and_no_oftener(self) -> None:
        acts = [s for s in self.told.values() if said_by(s).acts and not s.hard and s.rule != "closed_loop"]
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
                assert states.get(said_by(signal).name, "resolved") != signal.state, signal
                states[said_by(signal).name] = signal.state

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
            if said_by(signal).acts and signal.id not in {name for name, _, _ in ends}:
                assert self.asks(signal), "a safety signal went nowhere"
                assert signal.id in written, "a safety signal was withheld without a record"


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
