"""A state file that has rotted is set aside whole, and what can still be read of it goes on in a new one.

Of the state that is the newest sound generation: the log is read again from there, which ends in the same state and the
same signal ids. Of the rows it is every one that can be read. With no sound generation the daemon starts anew.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from monitor.persistence.checkpoint import (
    FILE_NAME,
    MARK,
    ROTTEN,
    Checkpoint,
    CheckpointError,
    Damage,
    Restored,
    StateDamagedError,
)

MOST_KEPT = 3  # damaged files; a disk that spoils more of them is for a person to look at
TABLES = ("outbox", "outbox_receivers", "outbox_totals", "audit", "returns")
NEW = FILE_NAME + ".new"


def opened(folder: Path, now_ms: int) -> tuple[Checkpoint, Restored | None]:
    """The state file and what it holds; one that is damaged is set aside first."""
    _finish(folder)
    try:
        return _sound(folder)
    except StateDamagedError as error:
        _set_aside(folder, now_ms, str(error))
    return _sound(folder)


def _sound(folder: Path) -> tuple[Checkpoint, Restored | None]:
    path, mark = folder / FILE_NAME, folder / MARK
    if mark.exists() and path.exists() and mark.read_text() == str(path.stat().st_ino):
        raise StateDamagedError(f"{path}: it could not be written")
    checkpoint = Checkpoint(folder)
    try:
        return checkpoint, checkpoint.load()
    except BaseException:
        checkpoint.close()
        raise


def _set_aside(folder: Path, now_ms: int, why: str) -> None:
    """The new file is whole before the damaged one moves; a death in between is made up for by `_finish`."""
    place = _place(folder)
    restored, rows = _readable(folder)
    _remove(folder / NEW)
    making = folder / "making"
    _remove(making / FILE_NAME)
    checkpoint = Checkpoint(making)
    checkpoint.close()
    kept = _copy(making / FILE_NAME, rows)
    generation, parts = (restored.generation, restored.parts) if restored is not None else (0, {})
    checkpoint = Checkpoint(making)
    checkpoint.adopt(parts, Damage(why, now_ms, place.name, generation, kept))
    checkpoint.close()
    (making / FILE_NAME).rename(folder / NEW)
    making.rmdir()
    path = folder / FILE_NAME
    with suppress(FileNotFoundError):  # first: a log must never meet another file than its own
        Path(f"{path}-wal").rename(f"{place}-wal")
    Path(f"{path}-shm").unlink(missing_ok=True)
    path.rename(place)
    _finish(folder)


def _finish(folder: Path) -> None:
    """The last step of a setting aside, also of one that a death has cut short."""
    if (folder / NEW).exists() and not (folder / FILE_NAME).exists():
        (folder / NEW).rename(folder / FILE_NAME)
        (folder / MARK).unlink(missing_ok=True)
        entries = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(entries)
        finally:
            os.close(entries)


def _place(folder: Path) -> Path:
    for number in range(1, MOST_KEPT + 1):
        place = folder / f"{FILE_NAME}.damaged-{number}"
        if not place.exists():
            return place
    raise CheckpointError(
        f"{folder / FILE_NAME}: damaged, as {MOST_KEPT} before it that were set aside; "
        "look at the disk, then remove them"
    )


def _readable(folder: Path) -> tuple[Restored | None, Mapping[str, list[tuple[Any, ...]]]]:
    """The newest sound generation, and the rows of each table."""
    restored = None
    with suppress(CheckpointError, *ROTTEN), closing(Checkpoint(folder)) as checkpoint:
        restored = checkpoint.load()
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in TABLES}
    with suppress(*ROTTEN), closing(sqlite3.connect(folder / FILE_NAME)) as conn:
        for name in TABLES:
            rows[name] = list(_rows(conn, name))
    return restored, rows


def _rows(conn: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """From the front up to the first page that cannot be read, and from the back down to it."""
    seen: set[int] = set()
    for order in ("", " DESC"):
        with suppress(*ROTTEN):
            for number, *row in conn.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid{order}"):
                if number in seen:
                    break
                seen.add(number)
                yield tuple(row)


def _copy(path: Path, rows: Mapping[str, list[tuple[Any, ...]]]) -> dict[str, int]:
    """How many rows of each table the new file took; one that is rotten is left."""
    kept = dict.fromkeys(rows, 0)
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        for table, found in rows.items():
            for row in found:
                with suppress(sqlite3.Error):
                    conn.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
                    kept[table] += 1
        conn.execute("COMMIT")
    return kept


def _remove(path: Path) -> None:
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink(missing_ok=True)
