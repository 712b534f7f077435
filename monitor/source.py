"""Where events come from: the small protocol behind which Kafka and files stand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from monitor.batch import Kind


@dataclass(frozen=True, slots=True)
class Records:
    """Raw records of one partition in offset order. kind is None where each record says its own type.

    next_offset: where a reader would go on. ended: nothing follows (the end of a file).
    """

    partition: str
    kind: Kind | None
    offsets: Sequence[int]
    payloads: Sequence[bytes | None]
    next_offset: int
    ended: bool = False


class Source(Protocol):
    """Polled by the one main loop; whatever it holds in flight is bounded."""

    def poll(self, timeout_ms: int) -> Sequence[Records]:
        """What has arrived, at most one Records per partition."""

    def partitions(self) -> Sequence[str]:
        """The partitions that are ours now."""

    def close(self) -> None:
        """Leave."""


class FileSource:
    """Several files, each one partition, read in step so that none runs far ahead in event time."""

    def __init__(self, readers: dict[str, Iterator[Records]]) -> None:
        self._readers = dict(readers)

    def partitions(self) -> Sequence[str]:
        """The files that have not ended."""
        return list(self._readers)

    def next_of(self, partition: str) -> Records:
        """The next block of a file; an empty block with `ended` after its last."""
        block = next(self._readers[partition], None)
        if block is None:
            del self._readers[partition]
            return Records(partition, None, (), (), 0, ended=True)
        return block
