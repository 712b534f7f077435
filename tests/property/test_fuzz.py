"""Input made to hurt: whatever a record or a config file holds, it is refused in words, soon and in little memory."""

import json
import random
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.config_file import load_config
from monitor.config_reader import ConfigError
from monitor.source import Records
from tests.unit.monitor.worlds import T0, World, decision, reward

SIZE = 1 << 20
SECONDS = 5.0  # measured 0.02 to 0.3; a shared machine is slow
MOST_BYTES = 200 << 20


def _hurtful() -> Iterator[tuple[str, bytes]]:
    """Records just below the largest that is taken, each bad in its own way."""
    nested = SIZE // 2 - 200
    head = b'{"type":"decision","decision_id":"d","policy":"v1","ts":%d,"action":1,' % T0
    yield "nested lists", head + b'"extra":' + b"[" * nested + b"]" * nested + b"}"
    yield (
        "nested objects",
        head + b'"extra":' + b'{"a":' * (SIZE // 6 - 100) + b"1" + b"}" * (SIZE // 6 - 100) + b"}",
    )
    yield "nested and never closed", b"[" * (SIZE - 1)
    yield "a number of a million digits", head + b'"value":' + b"9" * (SIZE - 300) + b"}"
    yield "a tiny number", head + b'"value":1e-' + b"9" * (SIZE - 300) + b"}"
    yield "a huge exponent", head + b'"value":1e999999999}'
    yield (
        "a time beyond all calendars",
        b'{"type":"decision","decision_id":"d","policy":"v","action":1,"ts":1e300}',
    )
    yield "an endless id", b'{"type":"decision","decision_id":"' + b"x" * (SIZE - 300) + b'"}'
    yield "an endless policy", head.replace(b'"v1"', b'"' + b"p" * (SIZE - 300) + b'"') + b'"value":1}'
    segments = b",".join(b'"s%d":"x"' % n for n in range(SIZE // 14 - 100))
    yield "many segments", head + b'"segments":{' + segments + b"}}"
    costs = b",".join(b'"c%d":1' % n for n in range(SIZE // 14 - 100))
    yield "many costs", head + b'"costs":{' + costs + b"}}"
    yield "a wide state", head + b'"state":[' + b"1," * (SIZE // 2 - 200) + b"1]}"
    yield (
        "a wide action",
        head.replace(b'"action":1', b'"action":[' + b"1," * (SIZE // 2 - 200) + b"1]") + b'"value":1}',
    )
    yield "escapes", b'{"decision_id":"' + b"\\ud800" * (SIZE // 6 - 50) + b'"}'
    yield "one key again and again", b"{" + b",".join([b'"ts":1'] * (SIZE // 7 - 10)) + b"}"
    yield "noughts", bytes(SIZE)
    yield "invalid UTF-8", b"\xff" * SIZE


HURTFUL = dict(_hurtful())


@pytest.mark.parametrize("name", HURTFUL)
def test_one_megabyte_of_malice_stops_nothing(name: str) -> None:
    """The record is counted or refused, what follows it goes on, in bounded time and memory."""
    world = World()
    good = [json.dumps(event).encode() for event in (decision("a", 0), reward("a", 1))]
    began = time.process_time()
    tracemalloc.start()
    fed = _feed(world, [good[0], HURTFUL[name], good[1]])
    world.flush()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - began < SECONDS
    assert peak < MOST_BYTES
    assert fed + len(world.rejected) == 3
    assert sum(sealed.decisions for sealed in world.sealed) >= 1


def test_records_torn_and_mixed_at_random_stop_nothing() -> None:
    """Bytes of real records cut, swapped and overwritten; seeded, 2,000 of them."""
    rng, world = random.Random(4), World()
    whole = [
        json.dumps(decision(f"d{n}", n / 10, state=[0.5, n], segments={"a": "b"})).encode() for n in range(40)
    ]
    whole += [json.dumps(reward(f"d{n}", n / 10 + 1)).encode() for n in range(40)]
    torn = [_torn(rng.choice(whole), rng) for _ in range(2_000)]
    fed = _feed(world, torn)
    world.flush()
    assert fed > 0
    assert len({r.offset for r in world.rejected}) > 200


@pytest.mark.parametrize("seed", range(40))
def test_config_torn_at_random_is_read_or_refused_in_words(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    text = (Path(__file__).parents[2] / "deploy/examples/policywatch.toml").read_bytes()
    path = tmp_path / "policywatch.toml"
    for _ in range(10):
        path.write_bytes(_torn(_torn(text, rng), rng))
        try:
            load_config(path)
        except ConfigError as error:
            assert error.faults  # noqa: PT017 - either answer is right


@pytest.mark.parametrize(
    "text",
    [
        b"a=" + b"[" * 100_000, b'a="' + b"x" * SIZE + b'"', b"[" * SIZE,
        b"a." * 100_000 + b"a = 1", b'"a" . ' * 40_000 + b"a = 1", b"a={a=" * 40_000,
    ],
    ids=["nested", "long", "open", "dotted", "quoted", "tables"],
)  # fmt: skip
def test_config_made_to_hurt_is_refused_in_words(text: bytes, tmp_path: Path) -> None:
    path, began = tmp_path / "policywatch.toml", time.process_time()
    path.write_bytes(text)
    with pytest.raises(ConfigError):
        load_config(path)
    assert time.process_time() - began < 5


def _feed(world: World, payloads: list[bytes]) -> int:
    fed = world.pipeline.feed(Records("p", None, range(len(payloads)), payloads, len(payloads)))
    world.rejected += fed.rejected
    return fed.events


def _torn(data: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(data)), rng.randrange(1, 12)
    match rng.randrange(4):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + rng.randbytes(size) + data[at + size :]
        case 2:
            return data[:at] + data[at + size :]
        case _:
            return data[:at] + data[at : at + size] * rng.randrange(2, 50) + data[at:]
