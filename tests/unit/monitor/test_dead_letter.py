"""Dead letters: kept with reason and place, bounded, and never in the way of the stream."""

import base64
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka.future import Future

from monitor.batch import Rejected
from monitor.dead_letter import DeadLetterFile, DeadLetters, DeadLetterTopic, QueuedDeadLetters


def rejected(offset: int = 7, payload: bytes = b"{") -> Rejected:
    return Rejected("bad_json", "rl.rewards-0", offset, "truncated", payload)


class FakeProducer:
    """Keeps what it is sent; refuses while told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.futures: list[Future] = []
        self.refuse = False
        self.flushed = False

    def send(self, topic: str, value: bytes) -> Future:
        if self.refuse:
            raise RuntimeError("the buffer is full")
        self.sent.append((topic, value))
        self.futures.append(Future())
        return self.futures[-1]

    def flush(self, timeout: float | None = None) -> None:
        self.flushed = True


class Stuck:
    """Dead letters that block until released."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.got: list[Rejected] = []
        self.closed = False

    def put(self, rejected: Sequence[Rejected]) -> None:
        self.release.wait(10)
        self.got += rejected

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("kind", ["file", "topic", "queued"])
def test_a_dead_letter_says_why_and_where_and_keeps_the_bytes(kind: str, tmp_path: Path) -> None:
    producer = FakeProducer()
    letters: DeadLetters = DeadLetterTopic(producer, "rl.dead-letters")
    if kind != "topic":
        letters = DeadLetterFile(tmp_path / "deep" / "dead.jsonl")
    if kind == "queued":
        letters = QueuedDeadLetters(letters)
    letters.put([rejected(payload='{"é'.encode()), rejected(offset=8, payload=b"\xff\n\x00")])
    letters.close()
    raw = [value for _, value in producer.sent]
    if kind != "topic":
        raw = (tmp_path / "deep" / "dead.jsonl").read_bytes().splitlines()
    text, binary = (json.loads(line) for line in raw)
    assert text == {
        "reason": "bad_json", "partition": "rl.rewards-0", "offset": 7, "detail": "truncated", "payload": '{"é',
    }  # fmt: skip
    assert base64.b64decode(binary["payload_base64"]) == b"\xff\n\x00"


def test_a_full_file_is_put_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    letters = DeadLetterFile(tmp_path / "dead.jsonl", max_bytes=1_000, keep=2)
    for offset in range(60):
        letters.put([rejected(offset)])
    letters.close()
    names = ["dead.jsonl", "dead.jsonl.1", "dead.jsonl.2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    offsets = [
        [json.loads(line)["offset"] for line in (tmp_path / name).read_text().splitlines()] for name in names
    ]
    assert offsets[2] + offsets[1] + offsets[0] == list(range(offsets[2][0], 60))
    assert all((tmp_path / name).stat().st_size <= 1_000 for name in names)
    assert (letters.written, letters.dropped) == (60, 0)


def test_a_restart_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for offset in (1, 2):
        letters = DeadLetterFile(tmp_path / "dead.jsonl")
        letters.put([rejected(offset)])
        letters.close()
    assert len((tmp_path / "dead.jsonl").read_text().splitlines()) == 2


def test_a_file_that_takes_no_more_counts_what_is_lost_and_raises_nothing(tmp_path: Path) -> None:
    letters = DeadLetterFile(tmp_path / "dead.jsonl", max_bytes=100, keep=1)
    (tmp_path / "dead.jsonl.1").mkdir()
    (tmp_path / "dead.jsonl.1" / "in the way").touch()
    letters.put([rejected(1)])
    letters.put([rejected(2)])
    letters.put([rejected(3)])
    assert (letters.written, letters.dropped) == (1, 2)
    (tmp_path / "dead.jsonl.1" / "in the way").unlink()
    (tmp_path / "dead.jsonl.1").rmdir()
    letters.put([rejected(4)])
    letters.close()
    assert (letters.written, letters.dropped) == (2, 2)


def test_a_producer_that_refuses_is_counted_and_raises_nothing() -> None:
    producer = FakeProducer()
    letters = DeadLetterTopic(producer, "dead")
    producer.refuse = True
    letters.put([rejected(), rejected()])
    producer.refuse = False
    letters.put([rejected()])
    letters.close()
    assert (letters.written, letters.dropped, producer.flushed) == (1, 2, True)


def test_a_record_that_the_broker_refuses_later_is_counted_as_dropped() -> None:
    producer = FakeProducer()
    letters = DeadLetterTopic(producer, "dead")
    letters.put([rejected(), rejected()])
    producer.futures[1].failure(RuntimeError("too large"))
    assert (letters.written, letters.dropped) == (1, 1)


@pytest.mark.parametrize(("limits", "kept"), [({"max_records": 10}, 10), ({"max_bytes": 55}, 5)])
def test_a_stuck_receiver_never_makes_the_stream_wait(limits: dict[str, Any], kept: int) -> None:
    stuck = Stuck()
    letters = QueuedDeadLetters(stuck, **limits)
    letters.put([rejected(0, b"0123456789")])
    while letters._queue:
        time.sleep(0.001)
    start = time.monotonic()
    for offset in range(100):
        letters.put([rejected(offset, b"0123456789")])
    assert time.monotonic() - start < 1.0
    assert letters.dropped == 100 - kept
    stuck.release.set()
    letters.close()
    assert [one.offset for one in stuck.got] == [0, *range(kept)]
    assert stuck.closed


def test_what_comes_after_the_end_is_dropped_and_counted() -> None:
    stuck = Stuck()
    stuck.release.set()
    letters = QueuedDeadLetters(stuck)
    letters.close()
    letters.put([rejected()])
    assert (letters.dropped, stuck.got) == (1, [])
