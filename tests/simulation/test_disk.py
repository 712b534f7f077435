"""The simulated disk takes what a real one may take, and no more."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.simulation.disk import FaultyDisk

AT_EXIT = """
import sqlite3, sys
from pathlib import Path
from tests.simulation.disk import FaultyDisk
disk = FaultyDisk(Path(sys.argv[1]))
sys.kept = sqlite3.connect(disk.folder / "open.sqlite3", isolation_level=None)
sys.kept.execute("PRAGMA journal_mode = WAL")
sys.kept.execute("CREATE TABLE t (x)")
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FaultyDisk]:
    made = FaultyDisk(tmp_path / "disk")
    yield made
    made.forget()


def connected(disk: FaultyDisk, name: str = "rows.sqlite3", sync: str = "FULL") -> sqlite3.Connection:
    conn = sqlite3.connect(disk.folder / name, isolation_level=None)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute(f"PRAGMA synchronous = {sync}")
    conn.execute("CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY, filling BLOB)")
    return conn


def died(disk: FaultyDisk, conn: sqlite3.Connection, rng: random.Random | None) -> None:
    disk.dead = True
    conn.close()
    disk.boot(rng)


def rows(disk: FaultyDisk, name: str = "rows.sqlite3") -> list[int]:
    with closing(sqlite3.connect(disk.folder / name)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [number for (number,) in conn.execute("SELECT number FROM rows ORDER BY 1")]


@pytest.mark.parametrize("seed", range(20))
def test_what_was_committed_with_full_sync_survives_every_power_cut(disk: FaultyDisk, seed: int) -> None:
    """Cut in the middle of a transaction or of a checkpoint, several times over, on one growing file."""
    rng, expected = random.Random(seed), 0
    for _ in range(8):
        conn = connected(disk)
        conn.execute("PRAGMA wal_autocheckpoint = 7")
        disk.on_write = Countdown(disk, rng.randrange(1, 60))
        try:
            while True:
                conn.execute("INSERT INTO rows VALUES (?, ?)", (expected, rng.randbytes(3_000)))
                expected += 1
        except sqlite3.Error:
            disk.on_write = lambda: None
        died(disk, conn, rng)
        found = rows(disk)
        assert found in (
            list(range(expected)),
            list(range(expected + 1)),
        )  # dying in a commit may leave it done
        expected = len(found)


class Countdown:
    """Cuts the power after so many writes and syncs."""

    def __init__(self, disk: FaultyDisk, moments: int) -> None:
        self.disk, self.left = disk, moments

    def __call__(self) -> None:
        self.left -= 1
        self.disk.dead = self.left <= 0


def test_what_was_not_synced_may_be_lost_even_when_a_kill_came_between(disk: FaultyDisk) -> None:
    lost = 0
    for seed in range(20):
        name = f"{seed}.sqlite3"
        conn = connected(disk, name, "NORMAL")
        conn.execute("INSERT INTO rows VALUES (1, x'')")
        died(disk, conn, None)
        disk.boot(random.Random(seed))
        lost += rows_or_none(disk, name) != [1]
    assert 0 < lost < 20


def rows_or_none(disk: FaultyDisk, name: str) -> list[int] | None:
    try:
        return rows(disk, name)
    except sqlite3.OperationalError:  # the table was not synced either
        return None


def test_file_that_is_renamed_takes_its_content_along(disk: FaultyDisk) -> None:
    """As a damaged state file that is set aside does, and the new one in its place."""
    for number, name in ((1, "first"), (2, "second")):
        conn = connected(disk)
        conn.execute("INSERT INTO rows VALUES (?, x'')", (number,))
        conn.close()
        if name == "first":
            (disk.folder / "rows.sqlite3").rename(disk.folder / "aside.sqlite3")
    disk.boot(random.Random(0))
    assert (rows(disk, "aside.sqlite3"), rows(disk)) == ([1], [2])


def test_two_connections_to_one_file_write_one_file(disk: FaultyDisk) -> None:
    """Both opened the log while it was empty."""
    connected(disk).close()
    first, second = connected(disk), connected(disk)
    for number in range(4):
        (first, second)[number % 2].execute("INSERT INTO rows VALUES (?, x'')", (number,))
    second.close()
    died(disk, first, random.Random(0))
    assert rows(disk) == [0, 1, 2, 3]


def test_connection_that_outlives_its_machine_is_found(disk: FaultyDisk) -> None:
    """It would hand the dead machine's index of the log over to the next: pages would then seem to rot."""
    with closing(connected(disk)):
        disk.dead = True
        with pytest.raises(AssertionError, match=r"rows\.sqlite3"):
            disk.boot(random.Random(0))


def test_connection_that_is_open_when_python_ends_does_no_harm(tmp_path: Path) -> None:
    """SQLite closes it when nothing of Python can be called any more: seen as a segmentation fault."""
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, str(tmp_path)], cwd=ROOT, check=False, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
