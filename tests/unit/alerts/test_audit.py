"""The audit log: append-only, and a change anywhere shows."""

import sqlite3

import pytest

from alerts.audit import KEPT, append, create_audit, entries, verify
from alerts.record import Record


@pytest.fixture
def conn() -> sqlite3.Connection:
    made = sqlite3.connect(":memory:", isolation_level=None)
    create_audit(made)
    append(made, [Record(i, "acknowledged", "ann", {"signal": f"s{i}"}) for i in range(5)])
    append(made, [Record(9, "approved", "bob", {"signal": "s9", "why": "yes"})])
    return made


def test_a_sound_log_verifies_and_names_its_newest_hash(conn: sqlite3.Connection) -> None:
    count, newest, faults = verify(conn)
    assert (count, faults) == (6, [])
    last = entries(conn, 1)[0]
    assert (last.hash, last.record) == (newest, Record(9, "approved", "bob", {"signal": "s9", "why": "yes"}))
    assert [entry.seq for entry in entries(conn)] == [1, 2, 3, 4, 5, 6]


def test_a_row_can_be_neither_changed_nor_deleted(conn: sqlite3.Connection) -> None:
    for statement in ("UPDATE audit SET who = 'eve'", "DELETE FROM audit WHERE seq = 3"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            conn.execute(statement)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit SET who = 'eve' WHERE seq = 3", "row 3 was changed"),
        ("UPDATE audit SET at_ms = 7 WHERE seq = 1", "row 1 was changed"),
        ("UPDATE audit SET detail = '{}' WHERE seq = 6", "row 6 was changed"),
        ("DELETE FROM audit WHERE seq = 3", "rows 3 to 3 are missing"),
        ("DELETE FROM audit WHERE seq < 3", "rows 1 to 2 are missing"),
        ("DELETE FROM audit WHERE seq = 6", "rows 6 to 6 are missing at the end"),
        (f"UPDATE audit SET before = '{'1' * 64}' WHERE seq = 4", "row 4 does not follow"),
    ],
)
def test_whoever_goes_around_the_guards_is_seen(conn: sqlite3.Connection, statement: str, fault: str) -> None:
    conn.execute("DROP TRIGGER audit_is_not_changed")
    conn.execute("DROP TRIGGER audit_is_not_deleted")
    conn.execute(statement)
    assert any(fault in found for found in verify(conn)[2])


def test_a_rewritten_row_with_its_own_hash_breaks_the_next_one(conn: sqlite3.Connection) -> None:
    other = sqlite3.connect(":memory:", isolation_level=None)
    create_audit(other)
    append(
        other, [Record(i, "acknowledged", "eve" if i == 2 else "ann", {"signal": f"s{i}"}) for i in range(5)]
    )
    forged = entries(other)[2]
    conn.execute("DROP TRIGGER audit_is_not_changed")
    conn.execute("UPDATE audit SET who = 'eve', hash = ? WHERE seq = 3", (forged.hash,))
    assert verify(conn)[2] == ["row 4 does not follow the one before it"]


def test_the_oldest_go_and_the_rest_still_verifies(
    conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(conn, [Record(i, "x", "y", {}) for i in range(KEPT)])
    count, _, faults = verify(conn)
    assert (count, faults) == (KEPT, [])
