"""Plays a service that makes decisions: events of the wire form, to a file (the accepted past) or to Kafka (live).

    producer.py history FILE [--hours H]
    producer.py live BOOTSTRAP [--rate N] [--change-after SECONDS] [--seconds SECONDS]

Readers with three features get one of eight shelves; a click is the reward and comes within seconds. After the change
the clicks fall by half, the readers stay as they were: what must be seen is the reward, and not the state.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kafka import KafkaProducer

DEPLOYMENT, POLICY, SHELVES = "home-ranker", "v42", 8
Event = dict[str, Any]


def made(number: int, ts_ms: int, changed: bool, dice: random.Random) -> tuple[Event, Event]:
    """One decision and its reward."""
    state = [round(dice.gauss(0, 1), 4) for _ in range(3)]
    best = int((state[0] + 3) / 6 * SHELVES) % SHELVES
    shelf = best if dice.random() < 0.8 else dice.randrange(SHELVES)
    chance = (0.4 if shelf == best else 0.1) * (0.5 if changed else 1.0)
    name = f"{ts_ms}-{number}"
    decision = {"type": "decision", "decision_id": name, "deployment": DEPLOYMENT, "policy": POLICY, "ts": ts_ms,
                "state": state, "action": shelf, "propensity": 0.8 * (shelf == best) + 0.2 / SHELVES,
                "value": 0.34, "latency_ms": round(dice.lognormvariate(2, 0.4), 2)}  # fmt: skip
    reward = {"type": "reward", "decision_id": name, "ts": ts_ms + int(dice.expovariate(1 / 1500)),
              "reward": float(dice.random() < chance), "final": True}  # fmt: skip
    return decision, reward


def past(hours: float, rate: float, until_ms: int) -> Iterator[Event]:
    """The events of the hours before a moment, in the order of their times; nothing has changed yet."""
    dice, count = random.Random(7), int(hours * 3600 * rate)
    pairs = (made(i, until_ms - int((count - i) * 1000 / rate), False, dice) for i in range(count))
    return iter(sorted((event for pair in pairs for event in pair), key=lambda event: event["ts"]))


def live(bootstrap: str, rate: float, change_after_s: float, seconds: float) -> None:
    """Send decisions now and rewards when they are due, until `seconds` have passed (0: for ever)."""
    send = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20).send
    dice, began, waiting, number = random.Random(), time.time(), [], 0
    while not seconds or time.time() - began < seconds:
        now_ms, changed = int(time.time() * 1000), time.time() - began > change_after_s
        decision, reward = made(number, now_ms, changed, dice)
        number += 1
        send("rl.decisions", json.dumps(decision).encode(), decision["decision_id"].encode())
        waiting.append(reward)
        for due in [r for r in waiting if r["ts"] <= now_ms]:
            send("rl.rewards", json.dumps(due).encode(), due["decision_id"].encode())
        waiting = [r for r in waiting if r["ts"] > now_ms]
        time.sleep(max(0.0, began + number / rate - time.time()))


def main() -> None:
    """Play what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["history", "live"])
    parser.add_argument("where", help="a file, or the address of a broker")
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=20.0, help="decisions a second")
    parser.add_argument("--change-after", type=float, default=300.0, metavar="SECONDS")
    parser.add_argument("--seconds", type=float, default=0.0)
    asked = parser.parse_args()
    if asked.what == "live":
        live(asked.where, asked.rate, asked.change_after, asked.seconds)
        return
    with Path(asked.where).open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(e) + "\n" for e in past(asked.hours, asked.rate, int(time.time() * 1000)))


if __name__ == "__main__":
    main()
