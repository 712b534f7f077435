"""State, offsets and outgoing signals in one SQLite transaction; the generation before is kept."""

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from alerts.audit import append, create_audit
from alerts.outbox_table import Enqueued, Route, acknowledge, create_tables, enable, send
from alerts.tray import Leaving
from monitor.persistence.returns import CREATE as CREATE_RETURNS
from monitor.persistence.returns import Return, forget_from
from monitor.persistence.returns import append as append_returns

SCHEMA = 1
FILE_NAME = "policywatch.sqlite3"
MARK = FILE_NAME + ".rotten"
ROTTEN = (sqlite3.DatabaseError, UnicodeDecodeError)  # the latter: words of the file in an error's text

_TABLES = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS generations
       (generation INTEGER PRIMARY KEY, digest TEXT NOT NULL, saved_ms INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS parts
       (generation INTEGER NOT NULL, name TEXT NOT NULL, digest BLOB NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (generation, name))""",
)


class CheckpointError(Exception):
    """A state file that cannot be used; not retriable, a person has to decide."""


class StateDamagedError(CheckpointError):
    """The file has rotted; `quarantine.py` sets it aside and goes on with what can still be read."""


class StateNotSavedError(CheckpointError):
    """The disk refuses for now: full, failing or locked by somebody. Nothing was written; retriable."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Why a file was set aside, when, under which name, and what of it goes on here; generation 0: no state did."""

    why: str
    at_ms: int
    moved_to: str
    generation: int
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Restored:
    """parts: name -> bytes of the newest sound generation. damaged: newer generations that were not sound."""

    generation: int
    parts: Mapping[str, bytes]
    damaged: tuple[int, ...]


class Checkpoint:
    """The state file of one daemon. A second daemon on the same file is refused by the generation it expects.

    damage: what befell the file before this one, until a save has told it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE_NAME
        self._conn = sqlite3.connect(self.path, isolation_level=None, timeout=5.0)
        try:
            self._check_schema(self._prepare())
            self._generation = self._sound = self._newest()
            self.damage = self._damage()
        except BaseException as error:
            self._conn.close()
            if isinstance(error, sqlite3.OperationalError):
                raise CheckpointError(f"{self.path}: {error}") from error
            if isinstance(error, sqlite3.DatabaseError | TypeError | ValueError | msgspec.MsgspecError):
                raise StateDamagedError(f"{self.path}: {error}") from error  # a rotten row may hold anything
            raise
        self._inode = self.path.stat().st_ino

    def save(
        self,
        parts: Mapping[str, bytes],
        leaving: Leaving,
        routes: Sequence[Route],
        now_ms: int,
        returns: Sequence[Return] = (),
    ) -> Enqueued:
        """One transaction; CheckpointError if somebody else has written meanwhile, or if the file is damaged."""
        try:
            self._check_place()
            with _transaction(self._conn):
                if self._newest() != self._generation:
                    raise CheckpointError(f"{self.path}: written by another daemon; this one stops")
                self._write(self._generation + 1, parts, now_ms)
                queued = send(self._conn, leaving.signals, leaving.again, routes, now_ms)
                acknowledge(self._conn, leaving.seen, routes, now_ms)
                if leaving.records:
                    append(self._conn, leaving.records)
                if returns:
                    append_returns(self._conn, returns)
                if self.damage is not None:
                    self._conn.execute("DELETE FROM meta WHERE name = 'damage'")
        except sqlite3.OperationalError as error:
            raise StateNotSavedError(f"{self.path}: {error}") from error
        except (
            sqlite3.DatabaseError,
            UnicodeDecodeError,
        ) as error:  # the latter: an error that quotes the file
            self.mark()
            raise StateDamagedError(f"{self.path}: {error}") from error
        self._generation += 1
        self._sound, self.damage = self._generation, None
        return queued

    def load(self) -> Restored | None:
        """The newest generation whose content matches its digest, or None where nothing was saved.

        The next save keeps the one that was read, not a damaged one that is newer.
        """
        damaged: list[int] = []
        for generation, digest in self._generations():
            parts = self._parts(generation)
            if parts is not None and _digest(_hashes(parts)) == digest:
                self._sound = generation
                return Restored(generation, parts, tuple(damaged))
            damaged.append(generation)
        if damaged:
            raise StateDamagedError(f"{self.path}: every generation is damaged: {damaged}")
        return None

    def go_back(self, positions: Mapping[str, int]) -> None:
        """Go on from an older generation: what was noted of the log after its positions will be noted anew."""
        with self._writing():
            forget_from(self._conn, positions)

    def examine(self) -> None:
        """StateDamagedError where the file has rotted: asked when somebody has met a page that no save touches."""
        try:
            (said,) = self._conn.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError:
            return  # the disk refuses for now
        except ROTTEN as error:
            said = str(error)
        if said != "ok":
            self.mark()
            raise StateDamagedError(f"{self.path}: {said}")

    def mark(self) -> None:
        """Say to whoever opens this very file next that it cannot be written, though it can be read."""
        with suppress(OSError):
            (self.path.parent / MARK).write_text(str(self._inode))

    def adopt(self, parts: Mapping[str, bytes], damage: Damage) -> None:
        """Begin with the state of another file, and keep in mind what befell that one."""
        with _transaction(self._conn):
            if parts:
                self._write(damage.generation, parts, damage.at_ms)
            note = msgspec.json.encode(damage).decode()
            self._conn.execute("INSERT INTO meta VALUES ('damage', ?)", (note,))

    def enable(self, receivers: Sequence[str]) -> None:
        """Send again to receivers that had asked for no more."""
        with self._writing():
            for receiver in receivers:
                enable(self._conn, receiver)

    def saved_ms(self) -> int:
        """Wall time of the newest save, 0 before the first."""
        (saved_ms,) = self._conn.execute("SELECT max(saved_ms) FROM generations").fetchone()
        return int(saved_ms or 0)

    @property
    def generation(self) -> int:
        """Grows by one with each save."""
        return self._generation

    def close(self) -> None:
        """Let go of the file."""
        self._conn.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction beside those of `save`."""
        try:
            with _transaction(self._conn):
                yield
        except sqlite3.OperationalError as error:
            raise StateNotSavedError(f"{self.path}: {error}") from error

    def _check_schema(self, found: int) -> None:
        if found != SCHEMA:
            raise CheckpointError(f"{self.path}: schema {found}, this version reads {SCHEMA}")

    def _prepare(self) -> int:
        """Tables where there are none yet; the schema that the file has."""
        self._conn.execute("PRAGMA journal_mode=WAL")
        self._conn.execute("PRAGMA synchronous=FULL")
        with _transaction(self._conn):
            for statement in _TABLES:
                self._conn.execute(statement)
            create_tables(self._conn)
            create_audit(self._conn)
            self._conn.execute(CREATE_RETURNS)
            self._conn.execute("INSERT OR IGNORE INTO meta VALUES ('schema', ?)", (str(SCHEMA),))
        (found,) = self._conn.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
        return int(found)

    def _damage(self) -> Damage | None:
        row = self._conn.execute("SELECT value FROM meta WHERE name = 'damage'").fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=Damage)

    def _check_place(self) -> None:
        """A file that was set aside under our feet is no longer the state: whoever did it goes on."""
        try:
            moved = self.path.stat().st_ino != self._inode
        except FileNotFoundError:
            moved = True
        if moved:
            raise CheckpointError(f"{self.path}: moved away by somebody; this daemon stops")

    def _generations(self) -> list[tuple[int, str]]:
        """Number and digest of what was saved, newest first."""
        query = "SELECT generation, digest FROM generations ORDER BY generation DESC"
        try:
            return self._conn.execute(query).fetchall()
        except ROTTEN as error:
            raise StateDamagedError(f"{self.path}: {error}") from error

    def _parts(self, generation: int) -> dict[str, bytes] | None:
        """What a generation holds; None where a page of it cannot be read."""
        query = "SELECT name, data FROM parts WHERE generation = ? ORDER BY name"
        try:
            return {name: bytes(data) for name, data in self._conn.execute(query, (generation,))}
        except (
            sqlite3.DatabaseError,
            UnicodeDecodeError,
            TypeError,
            AttributeError,
        ):  # a rotten row may hold anything
            return None

    def _write(self, generation: int, parts: Mapping[str, bytes], now_ms: int) -> None:
        for table in ("parts", "generations"):
            self._conn.execute(f"DELETE FROM {table} WHERE generation != ?", (self._sound,))
        hashes = _hashes(parts)
        self._conn.execute("INSERT INTO generations VALUES (?, ?, ?)", (generation, _digest(hashes), now_ms))
        self._conn.executemany(
            "INSERT INTO parts VALUES (?, ?, ?, ?)",
            [(generation, name, hashed, parts[name]) for name, hashed in hashes.items()],
        )

    def _newest(self) -> int:
        (newest,) = self._conn.execute("SELECT max(generation) FROM generations").fetchone()
        return int(newest or 0)


def _hashes(parts: Mapping[str, bytes]) -> dict[str, bytes]:
    """Each part's own hash, in the order of names."""
    return {name: hashlib.blake2b(parts[name], digest_size=16).digest() for name in sorted(parts)}


def _digest(hashes: Mapping[str, bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, hashed in hashes.items():
        digest.update(name.encode())
        digest.update(hashed)
    return digest.hexdigest()


class _transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn

    def __enter__(self) -> None:
        self._conn.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._conn.execute("COMMIT")
        finally:
            if self._conn.in_transaction:  # the body failed, or the disk refused the commit
                self._conn.execute("ROLLBACK")
