"""Where a partition spoke again after time had gone on without it: what a replay needs to repeat a silence."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from monitor.pipeline import Pipeline
from monitor.source import Log, Records

KEPT = 100_000  # the newest; older ones the broker has mostly deleted the records of
CREATE = """CREATE TABLE IF NOT EXISTS returns
    (seq INTEGER PRIMARY KEY AUTOINCREMENT, partition TEXT NOT NULL, at INTEGER NOT NULL, edge_ms INTEGER NOT NULL,
     UNIQUE (partition, at))"""


@dataclass(frozen=True, slots=True)
class Return:
    """The partition's record at `offset` was read when everything before `edge_ms` was sealed."""

    partition: str
    offset: int
    edge_ms: int


@dataclass(slots=True)
class Returns:
    """Notes those returns that matter: time was sealed further than the partition's own clock allowed."""

    unsaved: list[Return] = field(default_factory=list)
    last_ms: dict[str, int] = field(default_factory=dict)

    def note(self, pipeline: Pipeline, records: Records) -> None:
        """To be called before the records are fed."""
        edge_ms, clock = pipeline.core.edge_ms, pipeline.clocks.get(records.partition)
        if edge_ms is None or not records.offsets or self.last_ms.get(records.partition) == edge_ms:
            return
        complete_ms = clock.watermark_ms if clock is not None else None
        if complete_ms is None or complete_ms < edge_ms:
            self.unsaved.append(Return(records.partition, records.offsets[0], edge_ms))
            self.last_ms[records.partition] = edge_ms


@dataclass(slots=True)
class Paced:
    """A log that is read as it was read live: a partition that was silent is silent until time has come as far again.

    A partition that stands before one of its returns is out of the watermark, which goes no further than that return's
    edge; it is read on when the core has sealed up to there.
    """

    log: Log
    pipeline: Pipeline
    returns: Mapping[str, list[Return]]
    kept: dict[str, Records] = field(default_factory=dict)
    waiting: dict[str, Return] = field(default_factory=dict)

    @classmethod
    def by(cls, returns: Sequence[Return], log: Log, pipeline: Pipeline) -> "Paced":
        """The returns in any order."""
        mine: dict[str, list[Return]] = {}
        for one in sorted(returns, key=lambda one: one.offset):
            mine.setdefault(one.partition, []).append(one)
        return cls(log, pipeline, mine)

    def open(self) -> list[str]:
        """The partitions that may be read now; none where all that are left wait."""
        self._go_on(self.pipeline.core.edge_ms)
        return [partition for partition in self.log.open() if partition not in self.waiting]

    def read(self, partition: str) -> Records | None:
        """The next records up to the partition's next return; an empty piece where it stands before it."""
        records = self.kept.pop(partition, None) or self.log.read(partition)
        ahead = self.returns.get(partition)
        if records is None or not ahead or records.next_offset <= ahead[0].offset:
            return records
        cut = sum(offset < ahead[0].offset for offset in records.offsets)
        before, rest = _cut(records, cut)
        self.kept[partition] = rest
        self._wait(ahead.pop(0))
        return before

    def leave(self, partition: str) -> None:
        """Read no more of a partition."""
        self.kept.pop(partition, None)
        self.waiting.pop(partition, None)
        self.log.leave(partition)

    def ceiling_ms(self) -> int | None:
        """How far time may go while somebody waits, or None where nobody does."""
        return min((one.edge_ms for one in self.waiting.values()), default=None)

    def wake(self) -> None:
        """Nothing else is left to read and what has begun is sealed: the first that waits goes on."""
        self._go_on(self.ceiling_ms())

    def _wait(self, until: Return) -> None:
        self.waiting[until.partition] = until
        self.pipeline.watermark.set_idle(until.partition)
        self.pipeline.watermark.ceiling_ms = self.ceiling_ms()

    def _go_on(self, edge_ms: int | None) -> None:
        for partition, until in list(self.waiting.items()):
            if edge_ms is not None and edge_ms >= until.edge_ms:
                del self.waiting[partition]
                self.pipeline.watermark.idle.discard(partition)
        self.pipeline.watermark.ceiling_ms = self.ceiling_ms()


def _cut(records: Records, at: int) -> tuple[Records, Records]:
    def part(rows: slice, next_offset: int) -> Records:
        return Records(
            records.partition, records.kind, records.offsets[rows], records.payloads[rows], next_offset
        )

    return part(slice(None, at), records.offsets[at]), part(slice(at, None), records.next_offset)


def append(conn: sqlite3.Connection, returns: Sequence[Return]) -> None:
    """Within the caller's transaction; the oldest beyond KEPT go."""
    conn.executemany(
        "INSERT OR REPLACE INTO returns (partition, at, edge_ms) VALUES (?, ?, ?)",
        [(one.partition, one.offset, one.edge_ms) for one in returns],
    )
    conn.execute(f"DELETE FROM returns WHERE seq <= (SELECT max(seq) FROM returns) - {KEPT}")


def forget_from(conn: sqlite3.Connection, positions: Mapping[str, int]) -> None:
    """What was noted after these positions will be noted anew."""
    conn.executemany("DELETE FROM returns WHERE partition = ? AND at >= ?", list(positions.items()))


def returns_of(state_file: Path) -> list[Return]:
    """What a daemon has noted in its state file; none where there is no file, or one from before they were kept."""
    if not state_file.exists():
        return []
    with closing(sqlite3.connect(f"file:{state_file}?mode=ro", uri=True, timeout=5.0)) as conn:
        if not conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'returns'").fetchone():
            return []
        return [Return(*row) for row in conn.execute("SELECT partition, at, edge_ms FROM returns")]
