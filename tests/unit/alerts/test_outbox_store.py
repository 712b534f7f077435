"""The outbox on disk: idempotent, in the caller's transaction, bounded, and it survives."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from alerts.outbox import Delivered, Disabled, Ended, OutboxEntry, Retry
from alerts.outbox_store import SqliteOutbox
from alerts.outbox_table import (
    Enqueued,
    acknowledge,
    counts,
    create_tables,
    disabled_receivers,
    enable,
    end,
    enqueue,
    oldest_age_ms,
    send,
    send_again,
)
from alerts.signal import Signal, cloudevent, parse
from alerts.tray import Again
from tests.unit.alerts.build import NOW_MS, signal


@dataclass(frozen=True)
class Route:
    name: str
    kinds: frozenset[str] = frozenset({"fallback", "page"})

    def accepts(self, signal: Signal) -> bool:
        return signal.kind in self.kinds


@dataclass(frozen=True)
class Knowing(Route):
    """A route that knows acknowledgements."""

    def acknowledges(self, signal: Signal) -> bool:
        return self.accepts(signal)


ROUTES = [Route("serving", frozenset({"fallback"})), Route("pager")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def writer(path: Path) -> sqlite3.Connection:
    """The checkpoint's connection, as the daemon has it."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA journal_mode = WAL")
    create_tables(conn)
    return conn


def pages(n: int, **changes: object) -> list[Signal]:
    return [signal(id=f"page {i}", kind="page", rule=f"rule {i}", **changes) for i in range(n)]


def first(store: SqliteOutbox, receiver: str, now_ms: int = NOW_MS) -> OutboxEntry:
    return store.due(receiver, now_ms).attempts[0]


def test_signal_goes_to_the_routes_that_accept_it(writer: sqlite3.Connection, path: Path) -> None:
    enqueue(writer, [signal(), *pages(1)], ROUTES, NOW_MS)
    store = SqliteOutbox.open(path)
    assert [each.signal_id for each in store.pending("serving")] == [signal().id]
    assert [each.signal_id for each in store.pending("pager")] == [signal().id, "page 0"]


def test_entry_comes_back_as_it_was_put_in(writer: sqlite3.Connection, path: Path) -> None:
    enqueue(writer, [signal()], ROUTES, NOW_MS)
    entry = first(SqliteOutbox.open(path), "serving")
    assert (entry.payload, entry.safety, entry.attempt) == (cloudevent(signal()), True, 0)
    assert (entry.created_ms, entry.expires_ms) == (NOW_MS, NOW_MS + 3_600_000)
    assert entry.alert_key == signal().alert_key


def test_nothing_is_in_the_outbox_when_the_checkpoint_is_rolled_back(
    writer: sqlite3.Connection, path: Path
) -> None:
    writer.execute("BEGIN IMMEDIATE")
    enqueue(writer, [signal()], ROUTES, NOW_MS)
    writer.execute("ROLLBACK")
    assert SqliteOutbox.open(path).pending("pager") == []


def test_nothing_is_seen_before_the_checkpoint_is_committed(writer: sqlite3.Connection, path: Path) -> None:
    store = SqliteOutbox.open(path)
    writer.execute("BEGIN IMMEDIATE")
    enqueue(writer, [signal()], ROUTES, NOW_MS)
    assert store.due("pager", NOW_MS).attempts == ()
    writer.execute("COMMIT")
    assert len(store.due("pager", NOW_MS).attempts) == 1


def test_repeated_signal_is_one_entry_even_after_its_delivery(writer: sqlite3.Connection, path: Path) -> None:
    store = SqliteOutbox.open(path)
    enqueue(writer, [signal(), signal()], ROUTES, NOW_MS)
    store.settle(first(store, "serving"), Delivered(), NOW_MS)
    again = enqueue(writer, [signal()], ROUTES, NOW_MS)
    assert (again.added, again.repeated) == (0, 2)
    assert store.pending("serving") == []


def acknowledging(writer: sqlite3.Connection, path: Path) -> tuple[SqliteOutbox, Knowing]:
    """A fallback that the pager has, and that somebody has acknowledged since."""
    knowing = Knowing("pager")
    store = SqliteOutbox.open(path)
    enqueue(writer, [signal()], [*ROUTES[:1], knowing], NOW_MS)
    store.settle(first(store, "pager"), Delivered(), NOW_MS)
    assert acknowledge(writer, [signal()], [*ROUTES[:1], knowing], NOW_MS + 1) == 1
    return store, knowing


def test_acknowledgement_goes_to_who_knows_it_under_an_id_of_its_own_and_once(
    writer: sqlite3.Connection, path: Path
) -> None:
    store, knowing = acknowledging(writer, path)
    (told,) = store.pending("pager")
    assert (told.signal_id, told.safety) == (signal().acknowledgement, False)
    assert told.signal_id != signal().id
    assert [each.signal_id for each in store.pending("serving")] == [signal().id]
    store.settle(first(store, "pager", NOW_MS + 1), Delivered(), NOW_MS + 1)
    assert acknowledge(writer, [signal()], [knowing], NOW_MS + 2) == 0
    assert store.pending("pager") == []


def test_acknowledgement_that_could_not_be_told_never_quietens_the_next_incident(
    writer: sqlite3.Connection, path: Path
) -> None:
    store, knowing = acknowledging(writer, path)
    store.settle(first(store, "pager", NOW_MS + 1), Retry(None, "no answer"), NOW_MS + 1)
    enqueue(writer, [signal(id="sig_next", generation=9)], [knowing], NOW_MS + 2)
    planned = store.due("pager", NOW_MS + 2)
    assert [entry.signal_id for entry in planned.attempts] == ["sig_next"]
    assert [(entry.signal_id, why) for entry, why in planned.endings] == [
        (signal().acknowledgement, "superseded")
    ]


def test_failed_attempt_survives_a_restart(writer: sqlite3.Connection, path: Path) -> None:
    enqueue(writer, [signal()], ROUTES, NOW_MS)
    store = SqliteOutbox.open(path)
    store.settle(first(store, "serving"), Retry(None, "refused"), NOW_MS)
    store.close()
    entry = SqliteOutbox.open(path).pending("serving")[0]
    assert entry.attempt == 1
    assert entry.next_attempt_ms > NOW_MS


def test_410_disables_the_receiver_keeps_its_entries_and_leaves_others_alone(
    writer: sqlite3.Connection, path: Path
) -> None:
    enqueue(writer, [signal()], ROUTES, NOW_MS)
    store = SqliteOutbox.open(path)
    store.settle(first(store, "serving"), Disabled("HTTP 410"), NOW_MS)
    assert disabled_receivers(writer) == {"serving": "HTTP 410"}
    assert store.due("serving", NOW_MS + 60_000).attempts == ()
    assert len(store.due("pager", NOW_MS).attempts) == 1
    enable(writer, "serving")
    assert first(store, "serving").attempt == 1


def test_retry_after_pauses_the_whole_receiver(writer: sqlite3.Connection, path: Path) -> None:
    enqueue(writer, [signal(), *pages(1, deployment="other")], ROUTES, NOW_MS)
    store = SqliteOutbox.open(path)
    store.settle(first(store, "pager"), Retry(30_000, "HTTP 429"), NOW_MS)
    assert store.due("pager", NOW_MS + 29_999).attempts == ()
    assert len(store.due("pager", NOW_MS + 30_000).attempts) == 2


def test_full_outbox_drops_the_oldest_page_counts_it_and_keeps_the_safety_signal(
    writer: sqlite3.Connection, path: Path
) -> None:
    result = enqueue(writer, [signal(), *pages(5)], ROUTES, NOW_MS, max_pending=3)
    assert [each.signal_id for each in result.dropped] == ["page 0", "page 1", "page 2"]
    kept = [each.signal_id for each in SqliteOutbox.open(path).pending("pager")]
    assert kept == [signal().id, "page 3", "page 4"]
    assert counts(writer)[("pager", "dropped")] == 3


def test_entry_dropped_while_it_is_being_sent_stays_dropped(writer: sqlite3.Connection, path: Path) -> None:
    enqueue(writer, pages(1), ROUTES, NOW_MS)
    store = SqliteOutbox.open(path)
    sending = first(store, "pager")
    enqueue(writer, [signal()], ROUTES, NOW_MS, max_pending=1)
    assert store.settle(sending, Retry(None, "late"), NOW_MS) is None
    assert counts(writer)[("pager", "dropped")] == 1


def test_entry_that_two_sides_end_is_ended_and_counted_once(writer: sqlite3.Connection, path: Path) -> None:
    enqueue(writer, [signal()], ROUTES[:1], NOW_MS)
    entry = first(SqliteOutbox.open(path), "serving")
    end(writer, entry, "dropped", "by the writer")
    end(writer, entry, "expired", "by a delivery thread that had read it before")
    assert counts(writer) == {("serving", "dropped"): 1}


def test_expired_entry_is_ended_and_counted(writer: sqlite3.Connection, path: Path) -> None:
    enqueue(writer, [signal(expires_at_ms=NOW_MS)], ROUTES, NOW_MS)
    assert SqliteOutbox.open(path).due("serving", NOW_MS).attempts == ()
    assert counts(writer)[("serving", "expired")] == 1


def test_counts_and_ages_tell_each_receiver_apart(writer: sqlite3.Connection, path: Path) -> None:
    enqueue(writer, [signal()], ROUTES, NOW_MS)
    enqueue(writer, pages(1), ROUTES, NOW_MS + 5_000)
    store = SqliteOutbox.open(path)
    assert store.settle(first(store, "pager"), Delivered(), NOW_MS) == Ended("delivered")
    assert counts(writer) == {("serving", "pending"): 1, ("pager", "pending"): 1, ("pager", "delivered"): 1}
    assert oldest_age_ms(writer, NOW_MS + 7_000) == {"serving": 7_000, "pager": 2_000}


def test_ended_entries_are_forgotten_after_a_while(
    writer: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alerts.outbox_table.KEPT_SEQS", 10)
    store = SqliteOutbox.open(path)
    for i in range(50):
        enqueue(writer, [signal(id=f"sig {i}")], ROUTES[:1], NOW_MS)
        store.settle(first(store, "serving"), Delivered(), NOW_MS)
    assert writer.execute("SELECT count(*) FROM outbox").fetchone()[0] <= 11
    assert counts(writer) == {("serving", "delivered"): 50}


def test_a_signal_sent_again_goes_out_under_its_id_whether_it_had_arrived_or_not(
    path: Path, writer: sqlite3.Connection
) -> None:
    enqueue(writer, [signal()], ROUTES, NOW_MS)
    outbox = SqliteOutbox.open(path)
    (delivered,) = outbox.due("serving", NOW_MS).attempts
    outbox.settle(delivered, Delivered(), NOW_MS)
    (waiting,) = outbox.due("pager", NOW_MS).attempts
    outbox.settle(waiting, Retry(None, "HTTP 503"), NOW_MS)
    later = NOW_MS + 120_000
    again = replace(signal(), generation=99, expires_at_ms=NOW_MS + 3_720_000)
    assert send_again(writer, [Again(again)], ROUTES, later) == 2
    for receiver in ("serving", "pager"):
        (entry,) = outbox.due(receiver, later).attempts
        assert (entry.signal_id, entry.payload) == (signal().id, cloudevent(again))
        assert entry.expires_ms == later + 3_720_000
    assert outbox.pending("pager")[0].created_ms == NOW_MS  # still as overdue as it was
    assert outbox.pending("serving")[0].created_ms == later


def test_new_signals_and_those_sent_again_leave_in_the_order_of_their_generations(
    writer: sqlite3.Connection, path: Path
) -> None:
    known = [signal(id=f"sig {n}", policy=f"v{n}", generation=n) for n in (1, 2)]
    assert send(writer, known, [], ROUTES[:1], NOW_MS) == Enqueued(2, 0, ())
    again = [Again(replace(known[1], generation=14)), Again(replace(known[0], generation=12))]
    new = [signal(id=f"sig {n}", policy=f"v{n}", generation=n) for n in (11, 13, 15)]
    assert send(writer, new, again, ROUTES[:1], NOW_MS) == Enqueued(3, 0, ())
    outbox = SqliteOutbox.open(path)
    found = [outbox._loaded(entry) for entry in outbox.pending("serving")]
    assert [parse(entry.payload).generation for entry in found] == [11, 12, 13, 14, 15]


def test_signal_sent_anew_to_one_receiver_is_not_told_again_to_another(
    writer: sqlite3.Connection, path: Path
) -> None:
    enqueue(writer, [signal()], ROUTES, NOW_MS)
    outbox = SqliteOutbox.open(path)
    outbox.settle(first(outbox, "pager"), Delivered(), NOW_MS)
    assert send_again(writer, [Again(replace(signal(), generation=99), "serving")], ROUTES, NOW_MS) == 1
    assert outbox.pending("pager") == []
    assert parse(first(outbox, "serving").payload).generation == 99


def test_signal_sent_again_goes_behind_what_came_after_it(writer: sqlite3.Connection, path: Path) -> None:
    """Or its newest generation would make the receiver refuse the others as old."""
    first_one, second = signal(), signal(id="sig 2", policy="v2", generation=8)
    enqueue(writer, [first_one, second], ROUTES[:1], NOW_MS)
    outbox = SqliteOutbox.open(path)
    (trying,) = outbox.due("serving", NOW_MS).attempts
    again = replace(first_one, generation=99)
    send_again(writer, [Again(again)], ROUTES[:1], NOW_MS)
    assert (
        outbox.settle(trying, Delivered(), NOW_MS) is None
    )  # what has just arrived was not what is sent now
    enqueue(writer, [signal(id="sig 3", policy="v3", generation=100)], ROUTES[:1], NOW_MS)
    got = []
    while outbox.pending("serving"):
        (entry, *_) = outbox.due("serving", NOW_MS).attempts
        got.append(entry.payload)
        outbox.settle(entry, Delivered(), NOW_MS)
    assert [parse(payload).generation for payload in got] == [8, 99, 100]
