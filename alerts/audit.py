"""The audit log: rows in the daemon's own SQLite file, each hashed over the one before; nothing is ever changed.

The oldest go when there are more than KEPT, so that the file stays bounded; the chain is then checked from the oldest
row that is left. `append` runs in the caller's transaction, like the outbox's rows.
"""

import hashlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from alerts.record import Record

KEPT = 100_000
FIRST = "0" * 64

_TABLES = (
    """CREATE TABLE IF NOT EXISTS audit (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, what TEXT NOT NULL, who TEXT NOT NULL,
        detail TEXT NOT NULL, before TEXT NOT NULL, hash TEXT NOT NULL) STRICT""",
    """CREATE TRIGGER IF NOT EXISTS audit_is_not_changed BEFORE UPDATE ON audit
       BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    f"""CREATE TRIGGER IF NOT EXISTS audit_is_not_deleted BEFORE DELETE ON audit
       WHEN OLD.seq > (SELECT max(seq) FROM audit) - {KEPT}
       BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as it stands in the log."""

    seq: int
    record: Record
    before: str
    hash: str


def create_audit(conn: sqlite3.Connection) -> None:
    """Make the table and its guards where they are missing; commits nothing."""
    for statement in _TABLES:
        conn.execute(statement)


def append(conn: sqlite3.Connection, records: Iterable[Record]) -> str:
    """Add records; returns the hash of the newest row, which is worth keeping elsewhere."""
    row = conn.execute("SELECT hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    before = row[0] if row else FIRST
    for record in records:
        detail = msgspec.json.encode(record.detail, order="sorted").decode()
        made = _hash(before, record.at_ms, record.what, record.who, detail)
        conn.execute(
            "INSERT INTO audit (at_ms, what, who, detail, before, hash) VALUES (?, ?, ?, ?, ?, ?)",
            (record.at_ms, record.what, record.who, detail, before, made),
        )
        before = made
    conn.execute(f"DELETE FROM audit WHERE seq <= (SELECT max(seq) FROM audit) - {KEPT}")
    return str(before)


def entries(conn: sqlite3.Connection, limit: int = -1) -> list[Entry]:
    """The newest `limit` rows (-1: all), oldest first."""
    rows = conn.execute(
        "SELECT * FROM (SELECT seq, at_ms, what, who, detail, before, hash FROM audit ORDER BY seq DESC LIMIT ?)"
        " ORDER BY seq",
        (limit,),
    )
    return [
        Entry(seq, Record(at_ms, what, who, msgspec.json.decode(detail)), before, made)
        for seq, at_ms, what, who, detail, before, made in rows
    ]


def verify(conn: sqlite3.Connection) -> tuple[int, str, list[str]]:
    """How many rows, the newest hash, and every fault of the chain in words."""
    faults: list[str] = []
    count, last, last_seq = 0, FIRST, 0
    (newest,) = conn.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'audit'").fetchone()
    oldest = max(0, (newest or 0) - KEPT) + 1
    for seq, at_ms, what, who, detail, before, made in conn.execute(
        "SELECT seq, at_ms, what, who, detail, before, hash FROM audit ORDER BY seq"
    ):
        if seq != (last_seq + 1 if count else oldest):
            faults.append(f"rows {last_seq + 1 if count else oldest} to {seq - 1} are missing")
        elif (count or seq == 1) and before != last:
            faults.append(f"row {seq} does not follow the one before it")
        if made != _hash(before, at_ms, what, who, detail):
            faults.append(f"row {seq} was changed")
        count, last, last_seq = count + 1, made, seq
    if newest is not None and newest != last_seq:
        faults.append(f"rows {last_seq + 1} to {newest} are missing at the end")
    return count, last, faults


def _hash(before: str, at_ms: int, what: str, who: str, detail: str) -> str:
    return hashlib.sha256(msgspec.json.encode([before, at_ms, what, who, detail])).hexdigest()
