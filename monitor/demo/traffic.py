"""The demo's events: decisions of a policy in the world and the rewards that follow, as the wire form has them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from detectors.arrays import I64, Bool
from monitor.demo.policies import Learned, Policy, Rules, learn
from monitor.demo.world import World, make_world

DEPLOYMENT = "home-ranker"
DECISIONS_PER_S = 100
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Made:
    """One decision with the reward that will follow it."""

    decision: Event
    reward: Event


@dataclass(slots=True)
class Traffic:
    """A world, its policies, and the randomness of one stream of readers; the same seed and calls, the same events."""

    world: World
    learned: Learned
    rules: Rules
    rng: np.random.Generator
    prefix: str
    count: int = field(default=0)

    def make(self, policy: Policy, stage: str, ts_ms: I64, changed: bool | Bool) -> list[Made]:
        """Decisions at the given times. changed: whether the world is already the other one, for each or for all."""
        states = self.world.readers(len(ts_ms), self.rng)
        choice = policy.choose(states, self.rng)
        clicks = self.world.clicks(states, choice.shelves, changed, self.rng)
        known_ms = ts_ms + self.world.delays_ms(len(ts_ms), self.rng)
        values = choice.value if choice.value is not None else np.full(len(ts_ms), np.nan)
        made = []
        columns = (states, choice.shelves, np.round(choice.share, 6), values, ts_ms, clicks, known_ms)
        for state, shelf, share, value, at, click, known in zip(*(c.tolist() for c in columns), strict=True):
            self.count += 1
            name = f"{self.prefix}-{self.count}"
            decision = {"type": "decision", "decision_id": name, "deployment": DEPLOYMENT, "policy": policy.name,
                        "stage": stage, "ts": at, "state": state, "action": shelf,
                        "propensity": max(share[shelf], 1e-6), "action_probs": share}  # fmt: skip
            if not isnan(value):  # a policy without a critic has none
                decision["value"] = round(value, 4)
            made.append(Made(decision, {"type": "reward", "decision_id": name, "ts": known, "reward": click}))
        return made


def make_traffic(seed: int, stream: str, prefix: str) -> Traffic:
    """World and policies follow from the seed alone; `stream` names one of its independent streams of readers."""
    of_world, of_learning, *of_streams = np.random.SeedSequence(seed).spawn(2 + len(STREAMS))
    world = make_world(np.random.default_rng(of_world))
    learned, rules = learn(world, np.random.default_rng(of_learning))
    return Traffic(world, learned, rules, np.random.default_rng(of_streams[STREAMS.index(stream)]), prefix)


STREAMS = ("accepted", "live")


def log_of(traffic: Traffic, start_ms: int, seconds: int, change_s: float = float("inf")) -> Iterator[Event]:
    """A log of the learned policy, in the order of event time; the world changes after `change_s`."""
    waiting: list[Event] = []
    for second in range(seconds):
        at_ms = start_ms + second * 1000
        ts_ms = at_ms + np.arange(DECISIONS_PER_S, dtype=np.int64) * 1000 // DECISIONS_PER_S
        for made in traffic.make(traffic.learned, "full", ts_ms, (ts_ms - start_ms) / 1000 >= change_s):
            waiting += [made.decision, made.reward]
        waiting.sort(key=lambda event: int(event["ts"]))
        ready = sum(event["ts"] < at_ms + 1000 for event in waiting)
        yield from waiting[:ready]
        del waiting[:ready]
    yield from waiting


def write_log(path: Path, events: Iterator[Event]) -> int:
    """JSON lines; the number of events."""
    count = 0
    with path.open("wb") as file:
        for event in events:
            file.write(wire(event) + b"\n")
            count += 1
    return count


def wire(event: Event) -> bytes:
    """The event's bytes, on the topic and in files."""
    return msgspec.json.encode(event)
