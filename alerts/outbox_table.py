"""The outbox's rows in the daemon's own SQLite file, so that state and signals are saved as one.

The writer calls `enqueue` inside its checkpoint transaction (`BEGIN IMMEDIATE`, WAL, synchronous FULL) and
commits it itself: nothing here commits.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from itertools import groupby
from typing import Any, Protocol, runtime_checkable

from alerts.outbox import Ending, OutboxEntry, surplus
from alerts.signal import Signal, cloudevent
from alerts.tray import Again

MAX_PENDING = 1_000
"""Entries per receiver; more are dropped, oldest first and safety signals last, and counted as `dropped`."""

KEPT_SEQS = 10_000
"""Ended entries are remembered (without payload) this far back, so that a repeated signal is seen as one."""

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


@runtime_checkable
class Acknowledging(Protocol):
    """A route that is told, too, that somebody has acknowledged a signal."""

    def acknowledges(self, signal: Signal) -> bool: ...


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


def send(
    conn: sqlite3.Connection,
    signals: Iterable[Signal],
    again: Iterable[Again],
    routes: Sequence[Route],
    now_ms: int,
) -> Enqueued:
    """New signals and those to send once more, in the order of generations: who has a newer one refuses the older."""
    both: tuple[Iterable[Signal | Again], ...] = signals, sorted(again, key=_generation)
    sent = Enqueued(0, 0, ())
    for kind, group in groupby(merge(*both, key=_generation), key=type):
        if kind is Again:
            send_again(conn, group, routes, now_ms)  # type: ignore[arg-type]
        else:
            queued = enqueue(conn, group, routes, now_ms)  # type: ignore[arg-type]
            added, repeated = sent.added + queued.added, sent.repeated + queued.repeated
            sent = Enqueued(added, repeated, sent.dropped + queued.dropped)
    return sent


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
            new = _insert(conn, signal, route.name, payload, now_ms, signal.id, signal.safety)
            added, repeated = added + new, repeated + (not new)
            touched.add(route.name)
    dropped = tuple(entry for name in sorted(touched) for entry in _make_room(conn, name, max_pending))
    return Enqueued(added, repeated, dropped)


def send_again(conn: sqlite3.Connection, again: Iterable[Again], routes: Sequence[Route], now_ms: int) -> int:
    """Put signals on their way once more under their own ids, delivered before or not; counts entries.

    Behind all that waits: with the newest generation, they would make a receiver refuse what came after them. An
    attempt that is under way counts for nothing, since it carries the old one.
    """
    opened = 0
    for signal, receiver in again:
        payload = cloudevent(signal)
        for route in routes:
            if receiver not in ("", route.name) or not route.accepts(signal):
                continue
            opened += 1
            if not _insert(conn, signal, route.name, payload, now_ms, signal.id, signal.safety):
                conn.execute(
                    "UPDATE outbox SET seq = (SELECT max(seq) + 1 FROM outbox), payload = ?1,"
                    " attempt = iif(ending IS NULL, attempt, 0), next_attempt_ms = ?2,"
                    " created_ms = iif(ending IS NULL, created_ms, ?2), expires_ms = ?3, ending = NULL, reason = NULL"
                    " WHERE signal_id = ?4 AND receiver = ?5",
                    (payload, now_ms, _expires_ms(signal, now_ms), signal.id, route.name),
                )
    return opened


def acknowledge(
    conn: sqlite3.Connection, signals: Iterable[Signal], routes: Sequence[Route], now_ms: int
) -> int:
    """Tell the routes that know acknowledgements, behind the signal itself; counts entries.

    Retried like a page, and left out once its alert has fired or ended anew: it could quieten the next incident.
    """
    added = 0
    for signal in signals:
        for route in routes:
            if isinstance(route, Acknowledging) and route.acknowledges(signal):
                entry_id, payload = signal.acknowledgement, cloudevent(signal)
                added += _insert(conn, signal, route.name, payload, now_ms, entry_id, safety=False)
    return added


def pending(conn: sqlite3.Connection, receiver: str) -> list[OutboxEntry]:
    """All undelivered entries of a receiver, without payloads, oldest first."""
    query = f"SELECT {_WITHOUT_PAYLOAD} FROM outbox WHERE receiver = ? AND ending IS NULL ORDER BY seq"
    return [_entry(row) for row in conn.execute(query, (receiver,))]


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


def _generation(one: Signal | Again) -> int:
    return (one.signal if isinstance(one, Again) else one).generation


def _insert(
    conn: sqlite3.Connection,
    signal: Signal,
    receiver: str,
    payload: bytes,
    now_ms: int,
    entry_id: str,
    safety: bool,
) -> bool:
    """Add one entry. It lives as long as the signal does, counted from now: event time may be last year's."""
    cursor = conn.execute(
        "INSERT INTO outbox (signal_id, receiver, deployment, alert_key, payload, attempt, next_attempt_ms,"
        " expires_ms, safety, created_ms) VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?)"
        " ON CONFLICT (signal_id, receiver) DO NOTHING",
        (
            entry_id,
            receiver,
            signal.deployment,
            signal.alert_key,
            payload,
            now_ms,
            _expires_ms(signal, now_ms),
            safety,
            now_ms,
        ),
    )
    return cursor.rowcount == 1


def _expires_ms(signal: Signal, now_ms: int) -> int | None:
    return None if signal.expires_at_ms is None else now_ms + signal.expires_at_ms - signal.time_ms


def _make_room(conn: sqlite3.Connection, receiver: str, max_pending: int) -> list[OutboxEntry]:
    waiting = conn.execute(
        "SELECT count(*) FROM outbox WHERE receiver = ? AND ending IS NULL", (receiver,)
    ).fetchone()[0]
    if waiting <= max_pending:
        return []
    gone = surplus(pending(conn, receiver), max_pending)
    for entry in gone:
        end(conn, entry, "dropped", "outbox full")
    return gone


def end(conn: sqlite3.Connection, entry: OutboxEntry, ending: Ending, reason: str) -> None:
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


def _entry(row: Sequence[Any]) -> OutboxEntry:
    entry = OutboxEntry(*row)
    return replace(entry, safety=bool(entry.safety))
