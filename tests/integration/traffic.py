"""A small bandit's traffic, made up and seeded: decisions, their delayed rewards, and a world that may change."""

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka import KafkaProducer

START_MS = 1_767_225_600_000
DEPLOYMENT = "shop"
PER_S = 40
SITES = ("north", "south", "east", "west", "north")
Event = dict[str, Any]


@dataclass(frozen=True)
class World:
    """What the events say: from `change_s` to `back_s` the reward is lower by `drop`.

    critic: decisions carry a value and the segments they lie in.
    """

    seconds: int
    seed: int = 1
    start_ms: int = START_MS
    change_s: float = float("inf")
    back_s: float = float("inf")
    drop: float = 2.0
    per_s: int = PER_S
    critic: bool = False


def events(world: World) -> list[Event]:
    """Decisions and rewards in the order of event time; the same world gives the same events."""
    rng = random.Random(world.seed)
    made: list[Event] = []
    for number in range(world.seconds * world.per_s):
        at_ms = world.start_ms + number * 1000 // world.per_s
        made += _decision_and_reward(world, rng, number, at_ms)
    return sorted(made, key=lambda event: (event["ts"], event["type"], event["decision_id"]))


def decision(number: int, ts_ms: int, rng: random.Random, **changed: Any) -> Event:
    """One decision; a field given as `...` is left out."""
    action = rng.randrange(4)
    made: Event = {
        "type": "decision",
        "decision_id": f"d{number}",
        "deployment": DEPLOYMENT,
        "policy": "v1",
        "ts": ts_ms,
        "state": [round(rng.gauss(0.0, 1.0), 4) for _ in range(3)],
        "action": action,
        "propensity": 0.25,
    }
    return {name: value for name, value in (made | changed).items() if value is not ...}


def _decision_and_reward(world: World, rng: random.Random, number: int, at_ms: int) -> list[Event]:
    chosen = decision(number, at_ms, rng, decision_id=f"{world.seed}-{number}")
    if world.critic:
        segments = {"site": SITES[number * 7 % len(SITES)], "device": "mobile"}
        chosen |= {"value": 1.0, "segments": segments if number % 3 else {"site": segments["site"]}}
    fell = world.drop if world.change_s <= (at_ms - world.start_ms) / 1000 < world.back_s else 0.0
    reward = {
        "type": "reward",
        "decision_id": chosen["decision_id"],
        "ts": at_ms + rng.randrange(100, 1_500),
        "reward": round(1.0 - fell + rng.gauss(0.0, 0.5), 4),
    }
    return [chosen, reward]


def wire(event: Event) -> bytes:
    """The event's bytes, on the wire and in files."""
    return json.dumps(event, separators=(",", ":")).encode()


def write_file(path: Path, made: Iterable[Event | bytes]) -> Path:
    """JSON lines."""
    path.write_bytes(b"".join((e if isinstance(e, bytes) else wire(e)) + b"\n" for e in made))
    return path


def partition_of(event: Event, partitions: int) -> int:
    """A decision and its rewards go to partitions of the same number."""
    return hashlib.blake2b(event["decision_id"].encode(), digest_size=4).digest()[0] % partitions


def produce(
    producer: KafkaProducer, topics: dict[str, str], made: Sequence[Event], partitions: int = 1
) -> None:
    """Every event to the topic of its type, in the order given."""
    for event in made:
        producer.send(topics[event["type"] + "s"], wire(event), partition=partition_of(event, partitions))
    producer.flush(timeout=30)
