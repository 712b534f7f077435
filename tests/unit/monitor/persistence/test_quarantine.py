"""A state file that a disk has spoilt: set aside whole, and what can be read of it goes on."""

import random
import sqlite3
from pathlib import Path

import pytest

from alerts.audit import verify
from alerts.outbox_store import SqliteOutbox
from alerts.record import Record
from alerts.tray import Leaving
from monitor.persistence.checkpoint import FILE_NAME, Checkpoint, CheckpointError, StateDamagedError
from monitor.persistence.quarantine import MOST_KEPT, NEW, opened
from monitor.persistence.returns import Return
from tests.unit.alerts.build import NOW_MS, signal
from tests.unit.monitor.persistence.test_checkpoint import ROUTES
from tests.unit.monitor.persistence.test_checkpoint_damage import PAGE

RECORDS = [Record(NOW_MS, "silenced", "ann", {"why": "x" * 900, "n": n}) for n in range(40)]
DAMAGED = f"{FILE_NAME}.damaged-1"


def filled(folder: Path) -> dict[int, dict[str, bytes]]:
    """Three saves with an undelivered signal and an audit log over many pages."""
    rng, held = random.Random(1), {}
    checkpoint = Checkpoint(folder)
    for generation in (1, 2, 3):
        held[generation] = {"shell": rng.randbytes(9_000), "deployment/home": rng.randbytes(30_000)}
        signals = [signal(id=f"sig {generation}")]
        checkpoint.save(
            held[generation], Leaving(signals, records=RECORDS), ROUTES, NOW_MS, [Return("p", generation, 5)]
        )
    checkpoint.close()
    return held


def undelivered(folder: Path) -> list[str]:
    return [entry.signal_id for entry in SqliteOutbox.open(folder / FILE_NAME).pending("serving")]


def test_a_sound_file_is_opened_as_it_is(tmp_path: Path) -> None:
    held = filled(tmp_path)
    checkpoint, restored = opened(tmp_path, NOW_MS)
    assert restored is not None
    assert (restored.parts, checkpoint.damage) == (held[3], None)
    assert not (tmp_path / DAMAGED).exists()


def test_a_file_whose_schema_has_rotted_is_set_aside_though_the_error_quotes_it(tmp_path: Path) -> None:
    """Found by fuzzing: SQLite's message holds the rotten bytes, which are no text."""
    filled(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE outbox ", b"CRE\xaaTE TABLE outbox "))
    checkpoint, restored = opened(tmp_path, NOW_MS)
    assert restored is None
    assert checkpoint.damage is not None
    assert (tmp_path / DAMAGED).exists()
    checkpoint.close()


def test_a_page_that_only_deliveries_read_is_found_when_one_of_them_meets_it(tmp_path: Path) -> None:
    """Or its signals would wait for ever behind a file that every save still finds in order."""
    filled(tmp_path)
    checkpoint = Checkpoint(tmp_path)
    checkpoint.examine()
    (root,) = checkpoint._conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 'outbox'").fetchone()
    checkpoint.close()
    path = tmp_path / FILE_NAME
    raw = bytearray(path.read_bytes())
    raw[(root - 1) * PAGE : (root - 1) * PAGE + 64] = b"\xff" * 64
    path.write_bytes(raw)
    checkpoint = Checkpoint(tmp_path)
    with pytest.raises(sqlite3.DatabaseError):
        SqliteOutbox(checkpoint._conn).pending("serving")
    with pytest.raises(StateDamagedError):
        checkpoint.examine()
    checkpoint.close()
    checkpoint, restored = opened(tmp_path, NOW_MS)
    assert restored is not None
    assert (checkpoint.damage is not None, restored.generation) == (True, 3)
    checkpoint.close()


def test_a_file_that_cannot_be_written_goes_on_in_a_new_one_with_all_that_it_held(tmp_path: Path) -> None:
    held = filled(tmp_path)
    Checkpoint(tmp_path).mark()
    checkpoint, restored = opened(tmp_path, NOW_MS)
    assert restored is not None
    assert restored.parts == held[3]
    assert undelivered(tmp_path) == ["sig 1", "sig 2", "sig 3"]
    with sqlite3.connect(tmp_path / FILE_NAME) as conn:
        count, _, faults = verify(conn)
    assert (count, faults) == (120, [])
    assert checkpoint.damage is not None
    assert (checkpoint.damage.generation, checkpoint.damage.moved_to) == (3, DAMAGED)
    assert checkpoint.damage.rows["outbox"] == 3
    checkpoint.save({"shell": b"4"}, Leaving(), ROUTES, NOW_MS)
    checkpoint.close()
    again, after = opened(tmp_path, NOW_MS)
    assert after is not None
    assert (after.generation, after.parts, again.damage) == (4, {"shell": b"4"}, None)


def test_what_befell_a_file_is_remembered_until_a_save_has_told_it(tmp_path: Path) -> None:
    filled(tmp_path)
    Checkpoint(tmp_path).mark()
    first, _ = opened(tmp_path, NOW_MS)
    first.close()
    second, _ = opened(tmp_path, NOW_MS + 1)
    assert second.damage == first.damage
    assert second.damage is not None


def test_a_save_that_meets_a_rotten_page_leads_to_a_new_file_at_the_next_start(tmp_path: Path) -> None:
    """The page of the audit log that a save must read: what is loaded never sees it."""
    held = filled(tmp_path)
    _spoil_table(tmp_path, "audit")
    checkpoint, restored = opened(tmp_path, NOW_MS)
    assert restored is not None
    with pytest.raises(StateDamagedError):
        checkpoint.save({"shell": b"4"}, Leaving(records=RECORDS), ROUTES, NOW_MS)
    checkpoint.close()
    checkpoint, restored = opened(tmp_path, NOW_MS)
    assert restored is not None
    assert restored.parts == held[3]
    assert undelivered(tmp_path) == ["sig 1", "sig 2", "sig 3"]
    checkpoint.save({"shell": b"4"}, Leaving(records=RECORDS), ROUTES, NOW_MS)
    with sqlite3.connect(tmp_path / FILE_NAME) as conn:
        _, _, faults = verify(conn)
    assert [fault for fault in faults if "changed" in fault] == []


def test_with_no_sound_generation_it_starts_anew_and_keeps_the_rows(tmp_path: Path) -> None:
    filled(tmp_path)
    with sqlite3.connect(tmp_path / FILE_NAME) as conn:
        conn.execute("UPDATE parts SET data = x'00'")
    checkpoint, restored = opened(tmp_path, NOW_MS)
    assert restored is None
    assert checkpoint.damage is not None
    assert checkpoint.damage.generation == 0
    assert undelivered(tmp_path) == ["sig 1", "sig 2", "sig 3"]


def test_a_file_that_is_no_database_is_set_aside_with_nothing_saved(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database, by far" * 100)
    checkpoint, restored = opened(tmp_path, NOW_MS)
    assert restored is None
    assert checkpoint.damage is not None
    assert set(checkpoint.damage.rows.values()) == {0}
    assert (tmp_path / DAMAGED).read_bytes() == b"not a database, by far" * 100


@pytest.mark.parametrize("seed", range(60))
def test_any_torn_page_leaves_a_daemon_that_reads_and_writes(tmp_path: Path, seed: int) -> None:
    """Opened, saved, and once more where that meets the damage: at the second start it works, with a state it held."""
    held = filled(tmp_path)
    path, rng = tmp_path / FILE_NAME, random.Random(seed)
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content) // PAGE) * PAGE + rng.choice((0, 512, 2048))
    content[at : at + 512] = rng.choice((bytes(512), rng.randbytes(512)))
    path.write_bytes(content)
    for _ in range(2):
        checkpoint, restored = opened(tmp_path, NOW_MS)
        if restored is not None:
            assert restored.parts == held[restored.generation]
        try:
            checkpoint.save({"shell": b"4"}, Leaving([signal(id="sig 4")], records=RECORDS), ROUTES, NOW_MS)
        except StateDamagedError:
            checkpoint.close()
            continue
        checkpoint.close()
        break
    else:
        pytest.fail("damaged still, after it was set aside")
    checkpoint, restored = opened(tmp_path, NOW_MS)
    assert restored is not None
    assert restored.parts == {"shell": b"4"}


def test_a_death_before_the_last_step_is_made_up_for(tmp_path: Path) -> None:
    held = filled(tmp_path)
    (tmp_path / FILE_NAME).rename(tmp_path / NEW)
    _, restored = opened(tmp_path, NOW_MS)
    assert restored is not None
    assert restored.parts == held[3]


def test_a_disk_that_spoils_file_after_file_is_for_a_person(tmp_path: Path) -> None:
    filled(tmp_path)
    for _ in range(MOST_KEPT):
        Checkpoint(tmp_path).mark()
        opened(tmp_path, NOW_MS)[0].close()
    Checkpoint(tmp_path).mark()
    with pytest.raises(CheckpointError, match="look at the disk"):
        opened(tmp_path, NOW_MS)


def test_a_daemon_whose_file_was_set_aside_under_it_stops(tmp_path: Path) -> None:
    filled(tmp_path)
    first = Checkpoint(tmp_path)
    first.load()
    first.mark()
    second, _ = opened(tmp_path, NOW_MS)
    with pytest.raises(CheckpointError, match="moved away"):
        first.save({"shell": b"4"}, Leaving(), [], NOW_MS)
    second.save({"shell": b"4"}, Leaving(), [], NOW_MS)


def test_a_file_of_another_schema_is_not_touched(tmp_path: Path) -> None:
    Checkpoint(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as conn:
        conn.execute("UPDATE meta SET value = '99' WHERE name = 'schema'")
    with pytest.raises(CheckpointError, match="schema 99"):
        opened(tmp_path, NOW_MS)
    assert not (tmp_path / DAMAGED).exists()


def _spoil_table(folder: Path, table: str) -> None:
    """Every page of a table but the first becomes noise."""
    with sqlite3.connect(folder / FILE_NAME) as conn:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    content = bytearray((folder / FILE_NAME).read_bytes())
    content[(root - 1) * PAGE : root * PAGE] = random.Random(2).randbytes(PAGE)
    (folder / FILE_NAME).write_bytes(content)
