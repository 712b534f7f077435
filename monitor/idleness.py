"""How long each partition has been silent, in time that the shell has spent listening."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Idleness:
    """Since when nothing was heard.

    A partition is idle when it is read to its end and `timeout_ms` have passed since its last record; all are silent
    when the longest bucket has passed besides. Time spent evaluating is no silence: nobody listened.
    """

    timeout_ms: int
    longest_bucket_ms: int
    heard_ms: dict[str, float] = field(default_factory=dict)
    idle: set[str] = field(default_factory=set)
    flushed: bool = False

    def heard(self, partition: str, now_ms: float) -> None:
        """A record came."""
        self.heard_ms[partition] = now_ms
        self.idle.discard(partition)
        self.flushed = False

    def forget(self, partition: str) -> None:
        """The partition is no longer ours."""
        self.heard_ms.pop(partition, None)
        self.idle.discard(partition)

    def falls_idle(self, partition: str, now_ms: float, caught_up: Callable[[str], bool]) -> bool:
        """Whether the partition becomes idle now; where it is not read to its end, its silence begins anew."""
        since = self.heard_ms.setdefault(partition, now_ms)
        if partition in self.idle or now_ms - since < self.timeout_ms:
            return False
        if not caught_up(partition):
            self.heard_ms[partition] = now_ms
            return False
        self.idle.add(partition)
        return True

    def all_silent(self, partitions: Sequence[str], now_ms: float) -> bool:
        """True once per silence: every partition idle, and so long that the open bucket is over."""
        if self.flushed or not partitions or any(p not in self.idle for p in partitions):
            return False
        last = max(self.heard_ms.values(), default=now_ms)
        self.flushed = now_ms - last >= self.timeout_ms + self.longest_bucket_ms
        return self.flushed
