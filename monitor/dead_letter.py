"""Where unusable records go: a file or a topic, behind a queue that never makes the stream wait."""

import base64
import json
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from monitor.batch import Rejected

_DRAIN_SECONDS = 5.0


class DeadLetters(Protocol):
    """Takes rejected records."""

    def put(self, rejected: Sequence[Rejected]) -> None:
        """Keeps the records, or counts them as dropped."""

    def close(self) -> None:
        """Writes out what is still held."""


class Producer(Protocol):
    """What is asked of a Kafka producer (kafka-python's fits)."""

    def send(self, topic: str, value: bytes) -> Any:
        """Hands a record over."""

    def flush(self, timeout: float | None = None) -> Any:
        """Waits until all is sent."""


def letter(rejected: Rejected) -> bytes:
    """The wire form of a dead letter: one JSON object; the payload as text, or base64 where it is not UTF-8."""
    body: dict[str, object] = {
        "reason": str(rejected.reason),
        "partition": rejected.partition,
        "offset": rejected.offset,
        "detail": rejected.detail,
    }
    try:
        body["payload"] = rejected.payload.decode()
    except UnicodeDecodeError:
        body["payload_base64"] = base64.b64encode(rejected.payload).decode()
    return json.dumps(body, separators=(",", ":")).encode()


class DeadLetterFile:
    """JSON lines in a file of bounded size: when full it becomes `NAME.1`, and so on; the oldest is removed."""

    def __init__(self, path: Path, max_bytes: int = 64 << 20, keep: int = 3) -> None:
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        self.written = 0
        self.dropped = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")

    def put(self, rejected: Sequence[Rejected]) -> None:
        """Appends the records; a disk that refuses them is counted, not raised."""
        done = 0
        try:
            for record in rejected:
                self._append(letter(record) + b"\n")
                done += 1
            self._file.flush()
        except (OSError, ValueError):
            self.dropped += len(rejected) - done
        self.written += done

    def close(self) -> None:
        """Closes the file."""
        try:
            self._file.close()
        except OSError:
            self.dropped += 1

    def _append(self, line: bytes) -> None:
        if self._file.closed:  # a rotation failed half way
            self._file = self._path.open("ab")
        size = self._file.tell()
        if size and size + len(line) > self._max_bytes:
            self._rotate()
        self._file.write(line)

    def _rotate(self) -> None:
        self._file.close()
        for age in range(self._keep - 1, 0, -1):
            older = self._numbered(age)
            if older.exists():
                older.replace(self._numbered(age + 1))
        if self._keep:
            self._path.replace(self._numbered(1))
        self._file = self._path.open("ab" if self._keep else "wb")

    def _numbered(self, age: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{age}")


class DeadLetterTopic:
    """Each dead letter as a record of a Kafka topic."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer, self._topic = producer, topic
        self.written = 0
        self.dropped = 0

    def put(self, rejected: Sequence[Rejected]) -> None:
        """Hands the records to the producer; one that it refuses is counted, not raised."""
        for record in rejected:
            try:
                sent = self._producer.send(self._topic, letter(record))
            except Exception:  # clients' errors share no base, and none may stop the stream
                self.dropped += 1
                continue
            self.written += 1
            if hasattr(sent, "add_errback"):
                sent.add_errback(self._lost)

    def _lost(self, error: BaseException) -> None:
        self.written -= 1
        self.dropped += 1

    def close(self) -> None:
        """Sends what the producer still holds, for a bounded time; the producer stays its owner's."""
        try:
            self._producer.flush(timeout=_DRAIN_SECONDS)
        except Exception:  # as above
            self.dropped += 1


class QueuedDeadLetters:
    """Any dead letters behind a bounded queue and a thread: `put` returns at once, what does not fit is dropped."""

    def __init__(self, inner: DeadLetters, max_records: int = 10_000, max_bytes: int = 16 << 20) -> None:
        self._inner, self._max_records, self._max_bytes = inner, max_records, max_bytes
        self._queue: deque[Rejected] = deque()
        self._bytes = 0
        self._closing = False
        self._changed = threading.Condition()
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="dead-letters", daemon=True)
        self._thread.start()

    def put(self, rejected: Sequence[Rejected]) -> None:
        """Queues what fits."""
        with self._changed:
            for record in rejected:
                size = len(record.payload)
                if (
                    self._closing
                    or len(self._queue) >= self._max_records
                    or self._bytes + size > self._max_bytes
                ):
                    self.dropped += 1
                    continue
                self._queue.append(record)
                self._bytes += size
            self._changed.notify()

    @property
    def lost(self) -> int:
        """What was dropped here and behind the queue."""
        return self.dropped + int(getattr(self._inner, "dropped", 0))

    def close(self) -> None:
        """Writes out the queue for a bounded time; what remains is counted as dropped."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(_DRAIN_SECONDS)
        with self._changed:
            self.dropped += len(self._queue)
            self._queue.clear()
        if not self._thread.is_alive():
            self._inner.close()

    def _run(self) -> None:
        while taken := self._take():
            self._inner.put(taken)

    def _take(self) -> list[Rejected]:
        """The queue's content, once there is any; nothing when it is closing and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            taken = list(self._queue)
            self._queue.clear()
            self._bytes = 0
            return taken
