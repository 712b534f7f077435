"""The state file: all or nothing, one generation back where the newest is damaged, one writer only."""

import sqlite3
from pathlib import Path

import pytest

from alerts.outbox_store import SqliteOutbox
from alerts.outbox_table import Route
from alerts.tray import Leaving
from monitor.persistence.checkpoint import FILE_NAME, Checkpoint, CheckpointError
from tests.unit.alerts.build import NOW_MS, signal


class Everything:
    """A receiver that takes every signal."""

    name = "serving"

    def accepts(self, of: object) -> bool:
        return True

    def acknowledges(self, of: object) -> bool:
        return True


ROUTES: list[Route] = [Everything()]


def save(to: Checkpoint, **parts: bytes) -> None:
    to.save(parts, Leaving(), [], NOW_MS)


def spoil(folder: Path, generation: int) -> None:
    """One bit of one part."""
    with sqlite3.connect(folder / FILE_NAME) as conn:
        conn.execute("UPDATE parts SET data = ? WHERE generation = ?", (b"rotten", generation))


def test_nothing_was_saved_in_a_new_folder(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "new" / "state")
    assert (checkpoint.load(), checkpoint.generation) == (None, 0)


def test_the_newest_generation_comes_back_after_a_restart(tmp_path: Path) -> None:
    first = Checkpoint(tmp_path)
    save(first, shell=b"1")
    save(first, shell=b"2", **{"deployment/home": b"x"})
    first.close()
    restored = Checkpoint(tmp_path).load()
    assert restored is not None
    assert (restored.generation, restored.damaged) == (2, ())
    assert restored.parts == {"shell": b"2", "deployment/home": b"x"}


def test_the_generation_before_is_used_where_the_newest_is_damaged(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    for content in (b"1", b"2", b"3"):
        save(checkpoint, shell=content)
    spoil(tmp_path, 3)
    restored = Checkpoint(tmp_path).load()
    assert restored is not None
    assert (restored.generation, restored.parts["shell"], restored.damaged) == (2, b"2", (3,))


def test_a_part_that_is_missing_is_damage_too(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    save(checkpoint, shell=b"1", more=b"x")
    save(checkpoint, shell=b"2", more=b"y")
    with sqlite3.connect(tmp_path / FILE_NAME) as conn:
        conn.execute("DELETE FROM parts WHERE generation = 2 AND name = 'more'")
    restored = checkpoint.load()
    assert restored is not None
    assert restored.damaged == (2,)


def test_when_every_generation_is_damaged_a_person_has_to_decide(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    save(checkpoint, shell=b"1")
    save(checkpoint, shell=b"2")
    spoil(tmp_path, 1)
    spoil(tmp_path, 2)
    with pytest.raises(CheckpointError, match=r"every generation is damaged: \[2, 1\]"):
        checkpoint.load()


def test_saving_goes_on_after_damage(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    save(checkpoint, shell=b"1")
    save(checkpoint, shell=b"2")
    spoil(tmp_path, 2)
    again = Checkpoint(tmp_path)
    again.load()
    save(again, shell=b"3")
    restored = again.load()
    assert restored is not None
    assert (restored.generation, restored.parts["shell"]) == (3, b"3")
    spoil(tmp_path, 3)
    before = Checkpoint(tmp_path).load()
    assert before is not None
    assert (before.generation, before.parts["shell"]) == (
        1,
        b"1",
    )  # the sound one was kept, not the damaged second


def test_two_generations_are_kept_and_no_more(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    for content in (b"1", b"2", b"3", b"4"):
        save(checkpoint, shell=content)
    with sqlite3.connect(tmp_path / FILE_NAME) as conn:
        kept = conn.execute("SELECT DISTINCT generation FROM parts ORDER BY 1").fetchall()
    assert kept == [(3,), (4,)]


def test_a_second_writer_is_refused_and_the_first_ones_state_stays(tmp_path: Path) -> None:
    first, second = Checkpoint(tmp_path), Checkpoint(tmp_path)
    save(first, shell=b"first")
    with pytest.raises(CheckpointError, match="another daemon"):
        save(second, shell=b"second")
    restored = first.load()
    assert restored is not None
    assert restored.parts == {"shell": b"first"}
    save(first, shell=b"goes on")


def test_state_signals_and_acknowledgements_are_saved_together(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"shell": b"1"}, Leaving([signal()], seen=[signal()]), ROUTES, NOW_MS)
    pending = SqliteOutbox.open(checkpoint.path).pending("serving")
    assert [entry.signal_id for entry in pending] == [signal().id, signal().acknowledgement]


def test_a_save_that_fails_leaves_neither_state_nor_signals(tmp_path: Path) -> None:
    class Broken(Everything):
        def accepts(self, of: object) -> bool:
            raise RuntimeError("half way")

    checkpoint = Checkpoint(tmp_path)
    save(checkpoint, shell=b"1")
    with pytest.raises(RuntimeError):
        checkpoint.save({"shell": b"2"}, Leaving([signal()]), [Everything(), Broken()], NOW_MS)
    restored = checkpoint.load()
    assert restored is not None
    assert (restored.parts, checkpoint.generation) == ({"shell": b"1"}, 1)
    assert SqliteOutbox.open(checkpoint.path).pending("serving") == []
    save(checkpoint, shell=b"3")


def test_a_state_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    Checkpoint(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as conn:
        conn.execute("UPDATE meta SET value = '99' WHERE name = 'schema'")
    with pytest.raises(CheckpointError, match="schema 99"):
        Checkpoint(tmp_path)


def test_a_file_that_is_no_state_file_is_a_plain_error(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database, by far" * 100)
    with pytest.raises(CheckpointError, match="not a database"):
        Checkpoint(tmp_path)
