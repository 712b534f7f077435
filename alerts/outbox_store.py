"""The outbox as a delivery thread sees it: each has a store, that is a connection, of its own."""

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Protocol, Self

from alerts.outbox import Again, Disabled, Ended, OutboxEntry, Outcome, Plan, Refused, Retry, plan, settle
from alerts.outbox_table import end, pending

BUSY_TIMEOUT_S = 1.0


class OutboxStore(Protocol):
    """What a delivery thread needs of the outbox; used by one thread only."""

    def due(self, receiver: str, now_ms: int) -> Plan: ...

    def settle(self, entry: OutboxEntry, outcome: Outcome, now_ms: int) -> Ended | Again | None: ...

    def pending(self, receiver: str) -> list[OutboxEntry]: ...

    def close(self) -> None: ...


class SqliteOutbox:
    """The outbox as one delivery thread sees it."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self.conn = conn

    @classmethod
    def open(cls, path: Path) -> Self:
        """A connection of its own; NORMAL, because a lost settlement means one more delivery at worst."""
        conn = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
        try:
            conn.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            conn.close()
            raise
        return cls(conn)

    def due(self, receiver: str, now_ms: int) -> Plan:
        """What may be tried now, the first with its payload; ends what has expired or been superseded."""
        paused_until_ms, disabled = self._receiver(receiver)
        decided = plan(self.pending(receiver), now_ms, paused_until_ms)
        for entry, ending in decided.endings:
            with _transaction(self.conn):
                end(self.conn, entry, ending, ending)
        if disabled is not None:
            return Plan((), decided.endings, None)
        attempts = tuple(self._loaded(entry) for entry in decided.attempts[:1]) + decided.attempts[1:]
        return Plan(attempts, decided.endings, decided.next_ms)

    def settle(self, entry: OutboxEntry, outcome: Outcome, now_ms: int) -> Ended | Again | None:
        """Write down what followed from an attempt; None if the entry was dropped meanwhile."""
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
                end(self.conn, entry, result.ending, _reason(outcome))
            else:
                self._postpone(result, _reason(outcome))
            return result

    def pending(self, receiver: str) -> list[OutboxEntry]:
        """All undelivered entries of a receiver, without payloads, oldest first."""
        return pending(self.conn, receiver)

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
        try:
            if kind is None:
                self.conn.execute("COMMIT")
        finally:
            if self.conn.in_transaction:  # the body failed, or the disk refused the commit
                self.conn.execute("ROLLBACK")


def _reason(outcome: Outcome) -> str:
    return outcome.reason if isinstance(outcome, Retry | Refused | Disabled) else "delivered"
