"""A serving layer: `python -m tests.bench.feed BOOTSTRAP RATE SECONDS` appends decisions and rewards in real time."""

import random
import sys
import time
from typing import Any

import msgspec
from confluent_kafka import Producer

from tests.bench.world import ACTIONS, NAME

FEATURES = 32
STEP_S = 0.005


def main() -> None:
    """Half of the events are decisions; each is rewarded at once."""
    bootstrap, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    producer: Any = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 2, "queue.buffering.max.messages": 1_000_000}
    )
    rng, encode, made = random.Random(7), msgspec.json.Encoder().encode, 0
    states = [[round(rng.gauss(0, 1), 2) for _ in range(FEATURES)] for _ in range(997)]
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        ts, due = time.time_ns() // 1_000_000, int(now * rate / 2)
        for i in range(made, due):
            decision = {
                "decision_id": f"d{i}", "deployment": NAME, "policy": "v0", "ts": ts, "action": rng.randrange(ACTIONS),
                "propensity": 1 / ACTIONS, "value": 0.1, "costs": {"complaint": float(i % 97 == 0)},
                "state": states[i % 997],
            }  # fmt: skip
            producer.produce("rl.decisions", encode(decision))
            producer.produce("rl.rewards", encode({"decision_id": f"d{i}", "ts": ts, "reward": rng.random()}))
        made = due
        producer.poll(0)
        time.sleep(STEP_S)
    producer.flush(10)


if __name__ == "__main__":
    main()
