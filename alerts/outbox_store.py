"""The outbox, kept: rows in the daemon's own SQLite file, so that state and signals are saved as one.

The writer enqueues inside its checkpoint transaction (`BEGIN IMMEDIATE`, WAL, synchronous FULL) and commits
it itself. Each delivery thread has a store, that is a connection, of its own.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

from alerts.outbox import (
    Again,
    Disabled,
    Ended,
    Ending,
    OutboxEntry,
    Outcome,
    Plan,
    Refused,
    Retry,
    plan,
    settle,
    surplus,
)
from alerts.signal import Signal, cloudevent

MAX_PENDING = 1_000
"""Entries per receiver; more are dropped, oldest first and safety signals last, and counted as `dropped`."""

KEPT_SEQS = 10_000
"""Ended entries are remembered (without payload) this far back, so that a repeated signal is seen as one."""

BUSY_TIMEOUT_S = 1.0

_TABLES = (
    """CREATE TABLE IF NOT EXISTS outbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, signal_id TEXT NOT NULL, receiver TEXT NOT NULL,
        deployment TEXT NOT NULL, alert_key TEXT NOT NULL, payload BLOB NOT NULL, attempt INTEGER NOT NULL,
        next_attempt_ms INTEGER NOT NULL, expires_ms INTEGER, safety INTEGER NOT NULL,
        created_ms INTEGER NOT NULL, ending TEXT, reason TEXT, UNIQUE (signal_id, receiver)) STRICT""",
    "CREATE INDEX IF NOT EXISTS outbox_pending ON outbox (receiver, seq) WHERE ending IS NULL",
    """CREATE TABLE IF NOT EXISTS outbox_receivers (
        receiver TEXT PRIMARY KEY, paused_until_ms INTEGER NOT NULL DEFAULT 0, disabled TEXT) STRICT""",
    """CREATE TABLE IF NOT EXISTS outbox_totals (
        receiver TEXT NOT NULL, ending TEXT NOT NULL, n INTEGER NOT NULL,
        PRIMARY KEY (receiver, ending)) STRICT""",
)
_WITHOUT_PAYLOAD = (
    "seq, signal_id, receiver, deployment, alert_key, x'', attempt, next_attempt_ms, expires_ms,"
    " safety, created_ms"
)


class Route(Protocol):
    """Where a signal may go."""

    @property
    def name(self) -> str: ...

    def accepts(self, signal: Signal) -> bool: ...


class OutboxStore(Protocol):
    """What a delivery thread needs of the outbox; used by one thread only."""

    def due(self, receiver: str, now_ms: int) -> Plan: ...

    def settle(self, entry: OutboxEntry, outcome: Outcome, now_ms: int) -> Ended | Again | None: ...

    def pending(self, receiver: str) -> list[OutboxEntry]: ...

    def step_back(self, receiver: str, by_ms: int) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What became of a batch: new entries, repeats of known ones, and what had to make room."""

    added: int
    repeated: int
    dropped: tuple[OutboxEntry, ...]


def create_tables(conn: sqlite3.Connection) -> None:
    """Make the outbox's tables where they are missing; commits nothing."""
    for statement in _TABLES:
        conn.execute(statement)


def enqueue(
    conn: sqlite3.Connection,
    signals: Iterable[Signal],
    routes: Sequence[Route],
    now_ms: int,
    max_pending: int = MAX_PENDING,
) -> Enqueued:
    """Put signals on their way to every route that accepts them, in the caller's transaction."""
    added = repeated = 0
    touched: set[str] = set()
    for signal in signals:
        payload = cloudevent(signal)
        for route in routes:
            if not route.accepts(signal):
                continue
            new = _insert(conn, signal, route.name, payload, now_ms)
            added, repeated = added + new, repeated + (not new)
            touched.add(route.name)
    dropped = tuple(entry for name in sorted(touched) for entry in _make_room(conn, name, max_pending))
    return Enqueued(added, repeated, dropped)


def withdraw(conn: sqlite3.Connection, signal_id: str) -> int:
    """Take back a signal that no longer holds after catching up; counts the entries not yet delivered."""
    rows = conn.execute(
        f"SELECT {_WITHOUT_PAYLOAD} FROM outbox WHERE signal_id = ? AND ending IS NULL", (signal_id,)
    ).fetchall()
    for row in rows:
        _end(conn, _entry(row), "withdrawn", "no longer holds")
    return len(rows)


def counts(conn: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """Entries by (receiver, ending) since the state file was made, and those now `pending`."""
    totals = conn.execute("SELECT receiver, ending, n FROM outbox_totals")
    waiting = conn.execute(
        "SELECT receiver, 'pending', count(*) FROM outbox WHERE ending IS NULL GROUP BY receiver"
    )
    return {(receiver, ending): n for receiver, ending, n in (*totals, *waiting)}


def oldest_age_ms(conn: sqlite3.Connection, now_ms: int) -> dict[str, int]:
    """Age of each receiver's oldest undelivered entry."""
    rows = conn.execute("SELECT receiver, min(created_ms) FROM outbox WHERE ending IS NULL GROUP BY receiver")
    return {receiver: max(0, now_ms - created_ms) for receiver, created_ms in rows}


def disabled_receivers(conn: sqlite3.Connection) -> dict[str, str]:
    """Receivers that answered 410, with the reason; nothing is sent to them until `enable`."""
    return dict(conn.execute("SELECT receiver, disabled FROM outbox_receivers WHERE disabled IS NOT NULL"))


def enable(conn: sqlite3.Connection, receiver: str) -> None:
    """Send to this receiver again: what has not expired meanwhile goes out."""
    conn.execute(
        "UPDATE outbox_receivers SET disabled = NULL, paused_until_ms = 0 WHERE receiver = ?", (receiver,)
    )


class SqliteOutbox:
    """The outbox as one delivery thread sees it."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self.conn = conn

    @classmethod
    def open(cls, path: Path) -> Self:
        """A connection of its own; NORMAL, because a lost settlement only means one more delivery of an id."""
        conn = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
        conn.execute("PRAGMA synchronous = NORMAL")
        return cls(conn)

    def due(self, receiver: str, now_ms: int) -> Plan:
        """What may be tried now, only the first with its payload; ends what has expired or been superseded."""
        paused_until_ms, disabled = self._receiver(receiver)
        decided = plan(self.pending(receiver), now_ms, paused_until_ms)
        for entry, ending in decided.endings:
            with _transaction(self.conn):
                _end(self.conn, entry, ending, ending)
        if disabled is not None:
            return Plan((), decided.endings, None)
        attempts = tuple(self._loaded(entry) for entry in decided.attempts[:1]) + decided.attempts[1:]
        return Plan(attempts, decided.endings, decided.next_ms)

    def settle(self, entry: OutboxEntry, outcome: Outcome, now_ms: int) -> Ended | Again | None:
        """Write down what followed from an attempt; None if the entry was dropped or withdrawn meanwhile."""
        with _transaction(self.conn):
            if isinstance(outcome, Disabled):
                self._set_receiver(entry.receiver, "disabled", outcome.reason)
            alive = self.conn.execute(
                "SELECT 1 FROM outbox WHERE seq = ? AND ending IS NULL", (entry.seq,)
            ).fetchone()
            if alive is None:
                return None
            result = settle(entry, outcome, now_ms)
            if isinstance(result, Ended):
                _end(self.conn, entry, result.ending, _reason(outcome))
            else:
                self._postpone(result, _reason(outcome))
            return result

    def pending(self, receiver: str) -> list[OutboxEntry]:
        """All undelivered entries of a receiver, without payloads, oldest first."""
        query = f"SELECT {_WITHOUT_PAYLOAD} FROM outbox WHERE receiver = ? AND ending IS NULL ORDER BY seq"
        return [_entry(row) for row in self.conn.execute(query, (receiver,))]

    def step_back(self, receiver: str, by_ms: int) -> None:
        """The wall clock was set back: what was planned on the old one moves with it, or would wait as long."""
        with _transaction(self.conn):
            self.conn.execute(
                "UPDATE outbox SET next_attempt_ms = next_attempt_ms - ?1, created_ms = created_ms - ?1"
                " WHERE receiver = ?2 AND ending IS NULL",
                (by_ms, receiver),
            )
            self.conn.execute(
                "UPDATE outbox_receivers SET paused_until_ms = paused_until_ms - ? WHERE receiver = ?",
                (by_ms, receiver),
            )

    def close(self) -> None:
        self.conn.close()

    def _postpone(self, again: Again, reason: str) -> None:
        self.conn.execute(
            "UPDATE outbox SET attempt = ?, next_attempt_ms = ?, reason = ? WHERE seq = ?",
            (again.entry.attempt, again.entry.next_attempt_ms, reason, again.entry.seq),
        )
        if again.paused_until_ms is not None:
            self._set_receiver(again.entry.receiver, "paused_until_ms", again.paused_until_ms)

    def _loaded(self, entry: OutboxEntry) -> OutboxEntry:
        row = self.conn.execute("SELECT payload FROM outbox WHERE seq = ?", (entry.seq,)).fetchone()
        return entry if row is None else replace(entry, payload=row[0])

    def _receiver(self, receiver: str) -> tuple[int, str | None]:
        row = self.conn.execute(
            "SELECT paused_until_ms, disabled FROM outbox_receivers WHERE receiver = ?", (receiver,)
        ).fetchone()
        return (0, None) if row is None else (row[0], row[1])

    def _set_receiver(self, receiver: str, column: str, value: int | str) -> None:
        self.conn.execute(
            f"INSERT INTO outbox_receivers (receiver, {column}) VALUES (?1, ?2)"
            f" ON CONFLICT (receiver) DO UPDATE SET {column} = ?2",
            (receiver, value),
        )


class _transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when the body raises."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self.conn = conn

    def __enter__(self) -> None:
        self.conn.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.conn.execute("COMMIT" if kind is None else "ROLLBACK")


def _insert(conn: sqlite3.Connection, signal: Signal, receiver: str, payload: bytes, now_ms: int) -> bool:
    cursor = conn.execute(
        "INSERT INTO outbox (signal_id, receiver, deployment, alert_key, payload, attempt, next_attempt_ms,"
        " expires_ms, safety, created_ms) VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?)"
        " ON CONFLICT (signal_id, receiver) DO NOTHING",
        (
            signal.id,
            receiver,
            signal.deployment,
            signal.alert_key,
            payload,
            now_ms,
            signal.expires_at_ms,
            signal.safety,
            now_ms,
        ),
    )
    return cursor.rowcount == 1


def _make_room(conn: sqlite3.Connection, receiver: str, max_pending: int) -> list[OutboxEntry]:
    waiting = conn.execute(
        "SELECT count(*) FROM outbox WHERE receiver = ? AND ending IS NULL", (receiver,)
    ).fetchone()[0]
    if waiting <= max_pending:
        return []
    gone = surplus(SqliteOutbox(conn).pending(receiver), max_pending)
    for entry in gone:
        _end(conn, entry, "dropped", "outbox full")
    return gone


def _end(conn: sqlite3.Connection, entry: OutboxEntry, ending: Ending, reason: str) -> None:
    """End an entry once, whoever else ends it, and count it."""
    changed = conn.execute(
        "UPDATE outbox SET ending = ?, reason = ?, attempt = attempt + ?, payload = x''"
        " WHERE seq = ? AND ending IS NULL",
        (ending, reason, ending in ("delivered", "refused", "exhausted"), entry.seq),
    )
    if changed.rowcount == 0:
        return
    conn.execute(
        "INSERT INTO outbox_totals VALUES (?1, ?2, 1) ON CONFLICT (receiver, ending) DO UPDATE SET n = n + 1",
        (entry.receiver, ending),
    )
    conn.execute("DELETE FROM outbox WHERE ending IS NOT NULL AND seq <= ?", (entry.seq - KEPT_SEQS,))


def _reason(outcome: Outcome) -> str:
    return outcome.reason if isinstance(outcome, Retry | Refused | Disabled) else "delivered"


def _entry(row: Sequence[Any]) -> OutboxEntry:
    *head, expires_ms, safety, created_ms = row
    return OutboxEntry(*head, expires_ms, bool(safety), created_ms)
