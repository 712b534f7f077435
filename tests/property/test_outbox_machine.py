"""The outbox under any sequence of signals, answers, waits and restarts."""

import sqlite3
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from alerts.outbox import Delivered, Disabled, OutboxEntry, Outcome, Refused, Retry
from alerts.outbox_store import SqliteOutbox
from alerts.outbox_table import counts, create_tables, enable, enqueue
from alerts.signal import Signal, parse
from tests.unit.alerts.build import NOW_MS, signal

MAX_PENDING = 6
OUTCOMES: list[Outcome] = [
    Delivered(),
    Retry(None, "HTTP 500"),
    Retry(90_000, "HTTP 429"),
    Refused("HTTP 400", permanent=True),
    Refused("HTTP 403", permanent=False),
    Disabled("HTTP 410"),
]


class Everything:
    name = "serving"

    def accepts(self, signal: Signal) -> bool:
        return True


class OutboxMachine(RuleBasedStateMachine):
    """A model beside the real thing: what came in, what was sent when, what was delivered."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "state.db"
        self.writer = sqlite3.connect(self.path, isolation_level=None)
        self.writer.execute("PRAGMA journal_mode = WAL")
        self.writer.execute("PRAGMA synchronous = OFF")
        create_tables(self.writer)
        self.store = SqliteOutbox.open(self.path)
        self.now_ms = NOW_MS
        self.known: dict[str, Signal] = {}
        self.delivered: list[str] = []
        self.dropped: list[OutboxEntry] = []
        self.payloads: dict[str, bytes] = {}
        self.failed: set[str] = set()

    @rule(
        kind=st.sampled_from(["fallback", "page"]),
        state=st.sampled_from(["firing", "resolved"]),
        deployment=st.sampled_from(["a", "b"]),
        name=st.sampled_from(["reward", "state"]),
        ttl_ms=st.none() | st.integers(1, 600_000),
        committed=st.booleans(),
    )
    def checkpoint(
        self, kind: str, state: str, deployment: str, name: str, ttl_ms: int | None, committed: bool
    ) -> None:
        """A new signal in a transaction that commits, or in one that a crash rolls back."""
        new = signal(
            id=f"sig {len(self.known)}",
            kind=kind,
            state=state,
            deployment=deployment,
            rule=name,
            generation=len(self.known),
            expires_at_ms=None if ttl_ms is None else self.now_ms + ttl_ms,
        )
        self.writer.execute("BEGIN IMMEDIATE")
        result = enqueue(self.writer, [new], [Everything()], self.now_ms, MAX_PENDING)
        self.writer.execute("COMMIT" if committed else "ROLLBACK")
        if committed:
            self.known[new.id] = new
            self.dropped += result.dropped

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """A replay says again what was said before."""
        if self.known:
            old = data.draw(st.sampled_from(sorted(self.known)))
            assert (
                enqueue(self.writer, [self.known[old]], [Everything()], self.now_ms, MAX_PENDING).added == 0
            )

    @rule(wait_ms=st.sampled_from([10, 1_000, 5_500, 61_000, 330_000, 86_400_000]))
    def wait(self, wait_ms: int) -> None:
        self.now_ms += wait_ms

    @rule(outcome=st.sampled_from(OUTCOMES), settled=st.booleans())
    def attempt(self, outcome: Outcome, settled: bool) -> None:
        """One attempt; `settled` False is a crash between the receiver's answer and our writing it down."""
        pending = {each.signal_id: each for each in self.store.pending("serving")}
        attempts = self.store.due("serving", self.now_ms).attempts
        if not attempts:
            return
        entry = attempts[0]
        self.check_attempt(entry, pending)
        self.failed.add(entry.signal_id)
        if isinstance(outcome, Delivered):
            self.delivered.append(entry.signal_id)
        if settled:
            self.store.settle(entry, outcome, self.now_ms)

    def check_attempt(self, entry: OutboxEntry, pending: dict[str, OutboxEntry]) -> None:
        assert parse(entry.payload) == self.known[entry.signal_id]
        assert self.payloads.setdefault(entry.signal_id, entry.payload) == entry.payload
        assert entry.expires_ms is None or self.now_ms < entry.expires_ms
        assert entry.next_attempt_ms <= self.now_ms
        still = {each.signal_id for each in self.store.pending("serving")}
        before = [
            each
            for key, each in pending.items()
            if key in still and each.deployment == entry.deployment and each.seq < entry.seq
        ]
        passed = all(not each.safety and each.attempt > 0 for each in before)
        assert not before or (entry.safety and passed), "only a safety signal passes, and only failed pages"

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = SqliteOutbox.open(self.path)

    @rule()
    def enabled_again(self) -> None:
        enable(self.writer, "serving")

    @invariant()
    def nothing_is_lost(self) -> None:
        """Every signal that was committed is pending or has ended with a counted reason."""
        assert sum(counts(self.writer).values()) == len(self.known)

    @invariant()
    def outbox_is_bounded(self) -> None:
        assert len(self.store.pending("serving")) <= MAX_PENDING

    @invariant()
    def safety_signals_are_dropped_last(self) -> None:
        for gone in self.dropped:
            if gone.safety:
                others = [e for e in self.store.pending("serving") if not e.safety and e.seq < gone.seq]
                assert not others

    def teardown(self) -> None:
        """With a receiver that works, what remains is delivered within a bounded number of attempts."""
        enable(self.writer, "serving")
        for _ in range(4 * MAX_PENDING):
            planned = self.store.due("serving", self.now_ms)
            if planned.attempts:
                self.store.settle(planned.attempts[0], Delivered(), self.now_ms)
            elif planned.next_ms is not None:
                self.now_ms = max(self.now_ms, planned.next_ms)
        assert self.store.pending("serving") == []
        self.store.close()
        self.writer.close()
        self.folder.cleanup()


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
