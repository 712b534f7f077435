"""Seeded logs made to hurt: every field that the wire form has, with names and numbers that nobody sends by chance."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.unit.monitor.worlds import T0, decision, reward

Event = dict[str, Any]
NUMBERS = (0, 1, -1, 0.5, 1e308, -1e308, 1e-308, 5e-324, -0.0, 1e15, 2**53, 2**63 - 1, -(2**63))
NAMES = (
    "a",
    "b",
    "*",
    "(other)",
    "",
    "\0",
    "\n",
    "é" * 50,
    "a/b",
    "full",
    "a=b",
    "\U0001f600",
    "__name__",
    '"}',
)
STAGES = ("full", "canary", "shadow", "fallback", *(f"s{i}" for i in range(20)))
LATE_S = (0, 0, 0, -1, -3, -8, -40, 2)


@dataclass
class HostileLog:
    """Polls of two partitions; at_s: seconds after T0."""

    dice: random.Random
    at_s: float = 0.0
    fields: dict[str, Callable[[], Any]] = field(init=False)

    def __post_init__(self) -> None:
        dice = self.dice
        self.fields = {
            "state": lambda: [self.number() for _ in range(dice.choice((3, 3, 3, 1)))],
            "value": self.number,
            "propensity": lambda: dice.choice((1e-300, 0.5, 1.0)),
            "unit": self.name,
            "episode": self.name,
            "step": lambda: dice.choice((0, 1, 2, 3, 2**63 - 1)),
            "segments": lambda: {self.name(): self.name() for _ in range(dice.randrange(10))},
            "candidates": lambda: {self.name(): {"p": dice.random(), "q": self.number(), "v": self.number()}},
            "costs": lambda: {self.name(): self.number(), "a": self.number()},
            "action_probs": lambda: dice.choice(([0.5, 0.5], {"0": 0.5, "1": 0.5}, {self.name(): 1.0})),
            "masked": lambda: [dice.choice((0, 1, self.name()))],
            "latency_ms": self.number,
            "confidence": self.number,
        }

    def polls(self, count: int) -> Iterator[tuple[str, list[Event]]]:
        """(partition, events) of each; both partitions speak in the beginning."""
        for poll in range(count):
            partition = self.dice.choice("pq") if poll > 5 else "pq"[poll % 2]
            yield partition, [self._event() for _ in range(self.dice.randrange(1, 60))]

    def number(self) -> float:
        return self.dice.choice((*NUMBERS, self.dice.gauss(0, 1), self.dice.gauss(0, 1)))

    def name(self) -> str:
        return self.dice.choice((*NAMES, f"x{self.dice.randrange(60)}"))

    def _event(self) -> Event:
        self.at_s += self.dice.choice((0, 0, 0.05, 0.1, 0.5))
        kind = self.dice.random()
        if kind < 0.55:
            return self._decision()
        return self._reward() if kind < 0.9 else self._metric()

    def _ts(self) -> float:
        """Mostly about now, late or early; rarely anything."""
        if self.dice.random() < 0.003:
            return self.number()
        return T0 + round(1000 * (self.at_s + self.dice.choice(LATE_S)))

    def _decision(self) -> Event:
        dice = self.dice
        action = dice.choice((0, 1, 2, 7, self.name(), [self.number(), self.number()]))
        more = {name: make() for name, make in self.fields.items() if dice.random() < 0.3}
        return decision(f"d{dice.randrange(2_000)}", 0, policy=self.name(), stage=dice.choice(STAGES)) | {
            "ts": self._ts(), "deployment": dice.choice(("home", "home", "shop")), "action": action, **more,
        }  # fmt: skip

    def _reward(self) -> Event:
        dice = self.dice
        parts = {"truth": self.number(), "components": {self.name(): self.number(), "a": self.number()}}
        parts |= {"costs": {"b": self.number(), self.name(): self.number()}}
        parts |= dict.fromkeys(("done", "truncated", "final"), True)
        more = {name: part for name, part in parts.items() if dice.random() < 0.2}
        return reward(f"d{dice.randrange(2_000)}", 0, self.number()) | {"ts": self._ts(), **more}

    def _metric(self) -> Event:
        event = {"type": "metric", "metric": self.name(), "ts": T0 + round(1000 * self.at_s)}
        whose = {"policy": self.name()} if self.dice.random() < 0.5 else {}
        return event | whose | {"value": self.number(), "deployment": self.dice.choice(("home", "shop"))}


def hostile_deployment(dice: random.Random) -> dict[str, Any]:
    """A deployment that judges soon and uses what others leave alone."""
    made: dict[str, Any] = {
        "bucket": dice.choice(("1s", "5s", "10s")),
        "window": "30s",
        "reward_horizon": dice.choice(("5s", "30s")),
        "fallback_policy": dice.choice(("", "rules")),
        "metrics": ["a"],
        "returns": dice.choice(("reward", "episode", "n-step", "td")),
        "gamma": dice.choice((0.0, 0.9, 1.0)),
        "min_samples": 2,
        "max_policies": dice.choice((2, 5, 100)),
        "latch": dice.choice((True, False)),
        "costs": {"a": {"budget": dice.choice((0.0, 0.5)), "per": "decision"}, "b": {"budget": 1.0, "per": "episode"}},
        "action_envelope": dice.choice(({}, {"actions": [0, 1, "a"]})),
        "components": ["a"],
        "combine": dice.choice(("sum", "mean", "last")),
        "missing_reward": dice.choice(("ignore", "zero")),
        "season": dice.choice(("none", "hour-of-day")),
    }  # fmt: skip
    return made | dice.choice(({}, {"reward_range": [0, 1]}))
