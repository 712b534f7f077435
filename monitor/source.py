"""Where events come from: the small protocol behind which Kafka and files stand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from monitor.batch import Kind
from monitor.event_files import read_blocks


@dataclass(frozen=True, slots=True)
class Records:
    """Raw records of one partition in offset order. kind is None where each record says its own type.

    next_offset: where a reader would go on.
    """

    partition: str
    kind: Kind | None
    offsets: Sequence[int]
    payloads: Sequence[bytes | None]
    next_offset: int


class Source(Protocol):
    """Polled by the one main loop; whatever it holds in flight is bounded."""

    def poll(self, timeout_ms: int) -> Sequence[Records]:
        """What has arrived, at most one Records per partition."""

    def rest(self) -> None:
        """Take nothing for now, but stay where we are; called again and again while there is enough to do."""

    def partitions(self) -> Sequence[str]:
        """The partitions that are ours now."""

    def caught_up(self, partition: str) -> bool:
        """Whether everything that the partition holds has been handed over; may ask the broker."""

    def commit(self, positions: Mapping[str, int]) -> None:
        """Show durably processed positions to the outside; never read back."""

    def close(self) -> None:
        """Leave."""


class Log(Protocol):
    """Partitions that end; read one block at a time, whichever the caller likes next."""

    def open(self) -> list[str]:
        """The partitions that have not ended."""

    def read(self, partition: str) -> Records | None:
        """The next block, or None at the end."""

    def leave(self, partition: str) -> None:
        """Read no more of a partition."""


class Files:
    """Several files, each one partition, read in step so that none runs far ahead in event time."""

    def __init__(self, paths: Sequence[str], max_record_bytes: int) -> None:
        self._readers: dict[str, Iterator[Records]] = {
            path: _records(path, max_record_bytes) for path in paths
        }

    def open(self) -> list[str]:
        """The files that have not ended."""
        return list(self._readers)

    def read(self, partition: str) -> Records | None:
        """The next block of a file, or None at its end; EventFileError where it cannot be read on."""
        block = next(self._readers[partition], None)
        if block is None:
            del self._readers[partition]
        return block

    def leave(self, partition: str) -> None:
        """Read no more of a file."""
        self._readers.pop(partition, None)


def _records(path: str, max_record_bytes: int) -> Iterator[Records]:
    for block in read_blocks(path, max_line_bytes=max_record_bytes):
        offsets = block.offsets
        yield Records(path, None, offsets, block.payloads, offsets[-1] + 1)
