"""The worst megabytes that we can think of, for every target: no exception, bounded time, bounded memory."""

import gzip
import json
import time
import tracemalloc
from collections.abc import Iterator

import msgspec
import pytest

from monitor.persistence.codec import Codec
from tests.fuzz.targets import TARGETS

SIZE = 1 << 20
MANY = 10_000  # records: each costs microseconds, whatever it holds, and a sealed bucket milliseconds
SECONDS = 10.0  # measured 0.01 to 1; a shared machine is slow
MOST_BYTES = 300 << 20


def _worst() -> Iterator[tuple[str, bytes]]:
    """What any reader of bytes may meet, and what readers of JSON, TOML, msgpack or lines do."""
    yield "nothing", b""
    yield "noughts", bytes(SIZE)
    yield "invalid UTF-8", b"\xff" * SIZE
    yield "line ends", b"\n" * MANY
    yield "open lists", b"[" * SIZE
    yield "closed lists", b"[" * (SIZE // 2) + b"]" * (SIZE // 2)
    yield "open objects", b'{"a":' * (SIZE // 5)
    yield "many small records", b"{}\n" * MANY
    yield "a huge number", b"9" * SIZE
    yield (
        "a huge number in a record",
        b'{"do":"silence","by":"a","why":"b","for_ms":' + b"9" * (SIZE - 80) + b"}",
    )
    yield "a tiny exponent", b'{"ts":1e-' + b"9" * (SIZE - 20) + b"}"
    yield "a long key", b'{"' + b"k" * (SIZE - 20) + b'":1}'
    yield "many keys", b"{" + b",".join(b'"k%d":1' % n for n in range(SIZE // 12)) + b"}"
    yield "one key again and again", b"{" + b",".join([b'"do":"ack"'] * (SIZE // 11)) + b"}"
    yield "a long array", b'{"state":[' + b"1," * (SIZE // 2 - 10) + b"1]}"
    yield "lone surrogates", b'{"do":"ack","by":"' + b"\\ud800" * (SIZE // 6 - 10) + b'"}'
    yield "escapes", b'{"do":"silence","by":"' + b"\\u0000" * (SIZE // 6 - 20) + b'","why":"b"}'
    matchers = ",".join(f'"m{n}":"x"' for n in range(SIZE // 14))
    yield (
        "many matchers",
        b'{"do":"silence","by":"a","why":"b","for_ms":1,"matchers":{' + matchers.encode() + b"}}",
    )
    decisions = [
        json.dumps({"type": "decision", "decision_id": f"d{n}", "ts": 1767225600000 + n * 86_400_000, "policy": f"p{n}",
                    "action": f"a{n}"}) for n in range(40)
    ]  # fmt: skip
    yield "a decision a day, each of another policy", "\n".join(decisions).encode()
    yield "dotted keys", b"a." * (SIZE // 2)
    yield "inline tables", b"a={a=" * (SIZE // 5)
    yield "many tables", b"".join(b"[deployments.d%d]\n" % n for n in range(MANY))
    yield "msgpack lists", b"\x91" * SIZE
    yield "a msgpack list that claims to be endless", b"\xdd\xff\xff\xff\xff" + b"\x90" * SIZE
    nested = b"\x90"
    for _ in range(2_000):
        nested = msgspec.msgpack.encode(msgspec.msgpack.Ext(3, nested))
    yield "extensions in extensions", nested
    claim = msgspec.msgpack.encode(("<f8", (1 << 40,), b""))
    yield "an array that claims to be huge", msgspec.msgpack.encode(msgspec.msgpack.Ext(1, claim))
    yield "a state of empty lists", Codec([]).encode([[]] * (SIZE // 2))
    yield "gzip that unpacks to a line of 64 MB", gzip.compress(bytes(64 << 20), mtime=0)
    yield (
        "the head of a database",
        b"SQLite format 3\x00" + b"\x10\x00\x01\x01\x00\x40\x20\x20" + bytes(SIZE - 30),
    )


WORST = dict(_worst())


@pytest.mark.parametrize("target", sorted(TARGETS))
@pytest.mark.parametrize("name", WORST)
def test_one_megabyte_of_malice_breaks_no_promise(name: str, target: str) -> None:
    began = time.process_time()
    tracemalloc.start()
    try:
        TARGETS[target](WORST[name])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < SECONDS
    assert peak < MOST_BYTES
