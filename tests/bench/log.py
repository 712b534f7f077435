"""Made-up events as JSON lines, as they lie in a topic or a file."""

import gzip
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.bench.world import ACTIONS, DELAY_MS, NAME, START_MS


def pairs(
    n: int, features: int, per_second: float, start_ms: int = START_MS
) -> Iterator[tuple[bytes, bytes]]:
    """n decisions with a state, propensity, value and one cost, each with its reward."""
    rng, encode = random.Random(7), msgspec.json.Encoder().encode
    states = [[round(rng.gauss(0, 1), 2) for _ in range(features)] for _ in range(997)]
    for i in range(n):
        ts = start_ms + int(i * 2_000 / per_second)
        decision = {
            "type": "decision", "decision_id": f"d{i:09d}", "deployment": NAME, "policy": "v0", "ts": ts,
            "action": rng.randrange(ACTIONS), "propensity": 1 / ACTIONS, "value": round(rng.gauss(0, 1), 3),
            "costs": {"complaint": float(i % 97 == 0)}, "state": states[i % 997],
        }  # fmt: skip
        reward = {
            "type": "reward",
            "decision_id": f"d{i:09d}",
            "ts": ts + DELAY_MS,
            "reward": round(rng.random(), 3),
        }
        yield encode(decision), encode(reward)


def write_log(path: Path, n: int, features: int, per_second: float) -> None:
    """The same in one gzip file, decisions and rewards in turn."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        for decision, reward in pairs(n, features, per_second):
            file.write(decision + b"\n" + reward + b"\n")
