"""The logs that the simulated broker holds: small worlds with everything that a real one does wrong.

Each decisions partition begins with one decision of every policy and action in the same order, so that labels get the
same codes however the partitions are read.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kafka import TopicPartition

from tests.integration.traffic import START_MS, wire
from tests.simulation.broker import Record

Event = dict[str, Any]
Logs = dict[TopicPartition, list[Record]]
LATENESS_MS = 1_000
ACTIONS, POLICIES = range(4), ("v1", "v2")


@dataclass(frozen=True)
class Scene:
    """One kind of traffic; in `harmful` shares of it, by default the middle third, its costs are high.

    returns: as in the config. candidates: whether decisions name one, a policy decides in their shadow, and episodes
    end. slow: so many times slower than usual, with buckets as much longer.
    """

    name: str
    deployments: tuple[str, ...] = ("shop",)
    partitions: int = 2
    seconds: int = 6
    per_s: int = 8
    returns: str = "reward"
    candidates: bool = False
    harmful: tuple[tuple[float, float], ...] = ((0.3, 0.7),)
    slow: int = 1


SCENES = {
    scene.name: scene
    for scene in (
        Scene("one"),
        Scene("two", deployments=("shop", "home"), seconds=5),
        Scene("episodes", returns="episode", seconds=6),
        Scene("single", partitions=1, seconds=7),
        Scene("candidates", candidates=True),
        Scene("candidates of episodes", returns="episode", candidates=True),
    )
}
# Twenty minutes with three bad spells; no seed plays it.
LONG = Scene("long", seconds=24, harmful=((0.1, 0.2), (0.4, 0.5), (0.8, 0.9)), slow=50)


def scene_of(name: str) -> Scene:
    """The scene of a name."""
    return LONG if name == LONG.name else SCENES[name]


def config_text(scene: Scene, folder: Path, urls: tuple[str, ...]) -> str:
    """The config of a scene: cost budgets and forbidden actions signal without a baseline."""
    hooks = "\n".join(
        f'[[webhooks]]\nurl = "{url}"\nsecret_file = "{folder}/secret"\nallow_http = true' for url in urls
    )
    deployments = "\n".join(
        f"""
[deployments.{name}]
fallback_policy = "rules"
reward_horizon = "{2 * scene.slow}s"
returns = "{scene.returns}"
gamma = {0.0 if scene.returns == "reward" else 0.9}
bucket = "{scene.slow}s"
window = "{3 * scene.slow}s"
false_signals = "1 per 1h"
action_envelope = {{ actions = [0, 1, 2, 3] }}
{"reward_range = [-1.0, 3.0]" if scene.candidates else ""}
{"min_samples = 5" if scene.candidates else ""}
{'missing_reward = "zero"' if scene.candidates else ""}
costs = {{ harm = {{ budget = 0.2, per = "decision" }} }}
rules.constraint.keep_firing = "{2 * scene.slow}s"
"""
        for name in scene.deployments
    )
    return f"""
[source]
bootstrap_servers = ["127.0.0.1:1"]
group_id = "simulated"
lateness = "{LATENESS_MS}ms"
idle_timeout = "{1200 * scene.slow}ms"
max_poll_records = 60
topics = {{ decisions = "decisions", rewards = "rewards", metrics = "metrics", signals = "" , dead_letters = "" }}
[state]
path = "{folder}/disk"
checkpoint = "700ms"
[http]
port = 0
{hooks}
{deployments}
"""


@cache
def logs_of(name: str, seed: int) -> Logs:
    """The log of a scene; the same seed gives the same bytes."""
    scene, rng = scene_of(name), random.Random(seed)
    logs: Logs = {TopicPartition("metrics", 0): []}
    for topic in ("decisions", "rewards"):
        logs |= {TopicPartition(topic, number): [] for number in range(scene.partitions)}
    end_ms = (
        START_MS + 1_000 * scene.seconds * scene.slow
    )  # nothing comes later: a partition that dozes off would be left out
    arriving: dict[TopicPartition, list[tuple[float, bytes]]] = {partition: [] for partition in logs}
    for partition, event in _events(scene, rng):
        delay_ms = rng.uniform(0, 0.9 * LATENESS_MS) if rng.random() < 0.98 else rng.uniform(1_500, 4_000)
        arrives_ms = min(event["ts"] + delay_ms, end_ms)
        arriving[partition].append((arrives_ms, wire(event)))
        if rng.random() < 0.05:  # a producer that sends again
            arriving[partition].append((arrives_ms + rng.uniform(0, 300), wire(event)))
        if rng.random() < 0.02:
            arriving[partition].append((arrives_ms, rng.choice((b"{", b'{"ts":NaN}', b"\xff", b'{"ts":1}'))))
    for partition, found in arriving.items():
        found.sort(key=lambda one: one[0])
        logs[partition] = [Record(at, value, ms) for at, (ms, value) in enumerate(found)]
        if partition.topic == "decisions":
            logs[partition] = _with_roll_call(scene, partition.partition, logs[partition])
    return logs


def _events(scene: Scene, rng: random.Random) -> Iterator[tuple[TopicPartition, Event]]:
    block = 8 if scene.candidates else 40  # decisions of one round of episodes
    for number in range(scene.seconds * scene.per_s * scene.partitions):
        at_s = number / (scene.per_s * scene.partitions)
        ts, where = START_MS + int(at_s * 1000 * scene.slow), number % scene.partitions
        harmful = any(begin <= at_s / scene.seconds < end for begin, end in scene.harmful)
        decision: Event = {
            "type": "decision",
            "decision_id": f"d{number}",
            "deployment": rng.choice(scene.deployments),
            "policy": "v1" if rng.random() < 0.8 else "v2",
            "ts": ts,
            "action": rng.choice(ACTIONS) if rng.random() < 0.99 else 9,
            "state": [round(rng.gauss(0.0, 1.0), 3) for _ in range(2)],
            "propensity": 0.25,
            "value": round(rng.gauss(1.0, 0.3), 3),
            "costs": {"harm": float(rng.random() < (0.9 if harmful else 0.05))},
        }
        if scene.returns == "episode":
            decision |= {"episode": f"e{where}-{number // block}", "step": number % block // scene.partitions}
        if scene.candidates:
            decision["policy"], decision["unit"] = "v1", f"u{number % 13}"
            decision["candidates"] = {"named": {"p": 0.1 + 0.2 * (number % 4)}}
            yield TopicPartition("decisions", number % 2), _in_the_shadow(decision, number)
        yield TopicPartition("decisions", where), decision
        for _ in range(rng.choice((0, 1, 1, 1, 2))):
            reward: Event = {
                "type": "reward",
                "decision_id": decision["decision_id"],
                "ts": ts + rng.randrange(50, 2_300),
                "reward": round(rng.gauss(1.0, 0.5), 3),
            }
            if scene.candidates and decision.get("step") == block // scene.partitions - 1:
                reward["done"] = True
            if reward["ts"] < START_MS + 1_000 * scene.seconds * scene.slow:
                yield TopicPartition("rewards", where), reward
        if number % scene.per_s == 0:
            metric = {"type": "metric", "deployment": scene.deployments[0], "metric": "sales", "ts": ts}
            metric["value"] = 1.0 * number
            yield TopicPartition("metrics", 0), metric


def _in_the_shadow(decision: Event, number: int) -> Event:
    """What another policy would have done: its draw, and two times in three its whole distribution too."""
    shadow = {
        key: value for key, value in decision.items() if key not in ("costs", "candidates", "propensity")
    }
    shadow |= {"decision_id": f"s{number}", "policy": "shadow", "stage": "shadow", "action": number % 4}
    return shadow | ({"action_probs": [0.1, 0.2, 0.3, 0.4]} if number % 3 else {})


def _with_roll_call(scene: Scene, partition: int, records: list[Record]) -> list[Record]:
    """One decision of everything that has a label, and one forbidden one, before all else."""
    seen = [(d, p, a) for d in scene.deployments for p in POLICIES for a in (*ACTIONS, 9)]
    first = [
        wire(
            {
                "type": "decision",
                "decision_id": f"roll-{partition}-{number}",
                "deployment": deployment,
                "policy": policy,
                "ts": START_MS,
                "action": action,
                "state": [0.0, 0.0],
                "propensity": 0.25,
                "value": 0.0,
                "costs": {"harm": 0.0},
            }
        )
        for number, (deployment, policy, action) in enumerate(seen)
    ]
    if scene.candidates:
        first += [
            wire(_in_the_shadow(json.loads(first[0]) | {"decision_id": "", "unit": "nobody"}, -1 - partition))
        ]
    later = [Record(len(first) + record.offset, record.value, record.arrives_ms) for record in records]
    return [Record(at, value, float(START_MS)) for at, value in enumerate(first)] + later
