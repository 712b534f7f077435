"""A disk that fails on command, under the real SQLite: a VFS around the machine's own, made with ctypes.

Only files below a folder that was given to `FaultyDisk` are touched; every other database of the process is left
alone. What counts as durable is what SQLite has synced; a power cut keeps that, and any part of the rest, torn at
sectors. A kill keeps all of it, but what was not synced is no more durable for that. Files are told apart by inode, as
the machine does: one that is renamed takes along what it has not synced.
"""

import atexit
import ctypes
import ctypes.util
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OK, IOERR, FULL = 0, 10, 13
IOERR_FSYNC, IOERR_WRITE = IOERR | (4 << 8), IOERR | (3 << 8)
SECTOR = 512
_NAME = b"faulty"

_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_METHODS = (
    "xClose", "xRead", "xWrite", "xTruncate", "xSync", "xFileSize", "xLock", "xUnlock", "xCheckReservedLock",
    "xFileControl", "xSectorSize", "xDeviceCharacteristics", "xShmMap", "xShmLock", "xShmBarrier", "xShmUnmap",
    "xFetch", "xUnfetch",
)  # fmt: skip


class _IoMethods(ctypes.Structure):
    _fields_ = (("iVersion", _I), *((name, _P) for name in _METHODS))


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("iVersion", _I), ("szOsFile", _I), ("mxPathname", _I), ("pNext", _P), ("zName", ctypes.c_char_p),
        ("pAppData", _P), ("xOpen", _P), ("xDelete", _P), *((f"x{n}", _P) for n in range(14)),
    )  # fmt: skip


_OPEN = ctypes.CFUNCTYPE(_I, _P, _P, _P, _I, _P)
_DELETE = ctypes.CFUNCTYPE(_I, _P, ctypes.c_char_p, _I)
_CLOSE = ctypes.CFUNCTYPE(_I, _P)
_WRITE = ctypes.CFUNCTYPE(_I, _P, _P, _I, _L)
_TRUNCATE = ctypes.CFUNCTYPE(_I, _P, _L)
_SYNC = ctypes.CFUNCTYPE(_I, _P, _I)


class NoFaultyDiskError(Exception):
    """This Python brings an SQLite of its own that cannot be reached from here."""


@dataclass
class _Content:
    """One file: what survives a power cut for sure, and what was written since the last sync."""

    durable: bytearray
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()


@dataclass
class FaultyDisk:
    """One folder. full, failing_sync: faults that last while they are set. dead: the machine is off.

    on_write is called before each write or sync, and may cut the power.
    """

    folder: Path
    full: bool = False
    failing_sync: bool = False
    dead: bool = False
    on_write: Callable[[], None] = lambda: None
    contents: dict[int, _Content] = field(default_factory=dict)  # by inode

    def __post_init__(self) -> None:
        _install()
        self.folder.mkdir(parents=True, exist_ok=True)
        _DISKS[f"{self.folder.resolve()}/"] = self

    def forget(self) -> None:
        """The folder is an ordinary one again."""
        _DISKS.pop(f"{self.folder.resolve()}/", None)

    def boot(self, rng: random.Random | None) -> None:
        """After a death: on again. With a generator the power was cut, and what was not synced is partly lost."""
        left = [file.name for file in _OPENED.values() if file.disk is self]
        # SQLite would go on from a dead machine's index of the log, which no real one hands over to the next
        assert not left, f"still open after a death: {left}"
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        for path in files:
            if path.name.endswith("-shm"):
                path.unlink()
            elif rng is not None and path.stat().st_ino in self.contents:
                self._cut(path, self.contents[path.stat().st_ino], rng)
        if rng is not None:
            self.contents.clear()
        self.dead = self.full = self.failing_sync = False

    def _cut(self, path: Path, content: _Content, rng: random.Random) -> None:
        kept = bytearray(content.durable)
        share = rng.choice((0.0, 0.5, 0.9, 1.0))
        for change in content.pending:
            if rng.random() < share:
                _apply(kept, _torn(change, rng))
        path.write_bytes(kept)

    def refused(self, *, sync: bool) -> int:
        """The error that an operation meets, or OK."""
        if not self.dead:
            self.on_write()
        if self.dead:
            return IOERR_WRITE
        if sync:
            return IOERR_FSYNC if self.failing_sync else OK
        return FULL if self.full else OK


@dataclass(frozen=True)
class _File:
    """An open file; methods: address of the machine's own."""

    disk: FaultyDisk
    content: _Content
    name: str
    methods: int


_DISKS: dict[str, FaultyDisk] = {}
_OPENED: dict[int, _File] = {}  # by address
_KEEP: list[Any] = []  # what C code points to must not be collected


def _torn(change: tuple[int, bytes | None], rng: random.Random) -> tuple[int, bytes | None]:
    """A write of which only some of the first sectors arrived."""
    at, data = change
    if data is None or rng.random() < 0.7:
        return change
    return at, data[: SECTOR * rng.randrange(len(data) // SECTOR + 1)]


def _apply(content: bytearray, change: tuple[int, bytes | None]) -> None:
    at, data = change
    if data is None:
        del content[at:]
        return
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def _disk_of(name: str) -> FaultyDisk | None:
    return next((disk for root, disk in _DISKS.items() if name.startswith(root)), None)


def _tracked(disk: FaultyDisk, path: Path) -> _Content:
    """What is known of an existing file; an empty one that nobody has open is new, whatever had its inode before."""
    status = path.stat()
    known = disk.contents.get(status.st_ino)
    if known is None or not (status.st_size or any(file.content is known for file in _OPENED.values())):
        known = disk.contents[status.st_ino] = _Content(bytearray(path.read_bytes()))
    return known


def _install() -> None:
    """Once per process: the machine's VFS with our open, write, truncate, sync and delete."""
    if _KEEP:
        return
    library = _library()
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    real = library.sqlite3_vfs_find(None)
    ours = _Vfs()
    ctypes.memmove(ctypes.byref(ours), real, ctypes.sizeof(_Vfs))
    ours.pNext, ours.zName = None, _NAME
    real_open, real_delete = _OPEN(real.contents.xOpen), _DELETE(real.contents.xDelete)
    tables: dict[int, _IoMethods] = {}

    def opened(vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        code: int = real_open(ctypes.cast(real, _P).value, name, file, flags, out)
        path = ctypes.string_at(name).decode() if name else ""
        disk = _disk_of(path)
        if code != OK or disk is None:
            return code
        slot = ctypes.cast(file, ctypes.POINTER(_P))
        methods = slot[0]
        if methods is None:
            return code
        if methods not in tables:
            tables[methods] = _faulty(methods)
        slot[0] = ctypes.addressof(tables[methods])
        _OPENED[file] = _File(disk, _tracked(disk, Path(path)), path, methods)
        return code

    def deleted(vfs: int, name: bytes, sync: int) -> int:
        disk = _disk_of(name.decode())
        if disk is not None and disk.refused(sync=False):
            return IOERR_WRITE
        path = Path(name.decode())
        if disk is not None and path.exists():
            disk.contents.pop(path.stat().st_ino, None)
        return int(real_delete(vfs, name, sync))

    callbacks = _OPEN(opened), _DELETE(deleted)
    ours.xOpen, ours.xDelete = (ctypes.cast(callback, _P).value for callback in callbacks)
    _KEEP.extend((library, ours, callbacks, tables))
    if library.sqlite3_vfs_register(ctypes.byref(ours), 1) != OK:
        raise NoFaultyDiskError("SQLite took no VFS")

    def let_go() -> None:
        """The interpreter ends: a connection that is still open is closed later, when no callback can be called."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(_KEEP))  # nor may SQLite's pointers lead to what is freed
        for address, file in _OPENED.items():
            ctypes.cast(address, ctypes.POINTER(_P))[0] = file.methods
        ours.xOpen, ours.xDelete = real.contents.xOpen, real.contents.xDelete

    atexit.register(let_go)


def _faulty(address: int) -> _IoMethods:
    """The file methods at an address, with faults in those that change the file."""
    methods = _IoMethods()
    ctypes.memmove(ctypes.byref(methods), address, ctypes.sizeof(_IoMethods))
    close, write, truncate = _CLOSE(methods.xClose), _WRITE(methods.xWrite), _TRUNCATE(methods.xTruncate)

    def closed(file: int) -> int:
        _OPENED.pop(file, None)
        return int(close(file))

    def written(file: int, data: int, size: int, at: int) -> int:
        opened = _OPENED[file]
        refused = opened.disk.refused(sync=False)
        if refused:
            return refused
        opened.content.pending.append((at, ctypes.string_at(data, size)))
        return int(write(file, data, size, at))

    def truncated(file: int, size: int) -> int:
        opened = _OPENED[file]
        refused = opened.disk.refused(sync=False)
        if refused:
            return refused
        opened.content.pending.append((size, None))
        return int(truncate(file, size))

    def synced(file: int, flags: int) -> int:
        opened = _OPENED[file]
        refused = opened.disk.refused(sync=True)
        if not refused:
            opened.content.sync()  # the machine's own sync would only cost time
        return refused

    callbacks = _CLOSE(closed), _WRITE(written), _TRUNCATE(truncated), _SYNC(synced)
    methods.xClose, methods.xWrite, methods.xTruncate, methods.xSync = (
        ctypes.cast(callback, _P).value for callback in callbacks
    )
    _KEEP.append(callbacks)
    return methods


def _library() -> Any:
    """The very SQLite that Python's module has loaded."""
    import sqlite3

    for name in (None, "libsqlite3.so.0", ctypes.util.find_library("sqlite3")):
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(name)
            library.sqlite3_libversion.restype = ctypes.c_char_p
            if library.sqlite3_libversion().decode() == sqlite3.sqlite_version:
                return library
    raise NoFaultyDiskError("the SQLite inside this Python cannot be reached")
