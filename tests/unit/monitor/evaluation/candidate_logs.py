"""Logs in which a candidate is named, shadows, or has episodes; and what the daemon says of it."""

from dataclasses import replace
from typing import Any

import numpy as np

from detectors.measurement import Measurement
from monitor.config import Config
from monitor.judging.watched import Watched
from monitor.persistence.state import restore, snapshot
from monitor.sealed import measurement_lines
from tests.unit.monitor.worlds import World, decision, reward, small

SHADOW = ("v2", "shadow")
CONFIG = small(
    deployments__home__reward_range=[0, 1],
    deployments__home__costs={"complaint": {"budget": 0.1, "per": "decision"}},
)


def events(
    seconds: int, worth: tuple[float, float], seed: int = 0, first: int = 0, policy: str = "v1", **more: Any
) -> list[dict[str, Any]]:
    """Five decisions a second between two actions that earn `worth`; v2 takes the second nine times in ten."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(first * 5, (first + seconds) * 5):
        action, at = int(rng.random() < 0.5), i / 5
        p = (0.1, 0.9)[action]
        made.append(decision(f"d{i}", at, policy=policy, action=action, propensity=0.5, costs={"complaint": 0.0},
                             candidates={"v2": {"p": p, "q": worth[action], "v": 0.1 * worth[0] + 0.9 * worth[1]}},
                             **more))  # fmt: skip
        made.append(reward(f"d{i}", at + 1, float(rng.random() < worth[action])))
    return sorted(made, key=lambda event: event["ts"])


def fed(world: World, log: list[dict[str, Any]], cut: int = 500) -> World:
    for start in range(0, len(log), cut):
        world.feed(*log[start : start + cut])
    return world


def said(world: World, statistic: str) -> Measurement:
    return world.last("candidates", statistic, SHADOW)


def replace_home(**changed: Any) -> Config:
    return replace(CONFIG, deployments={"home": replace(CONFIG.deployments["home"], **changed)})


def watched(world: World) -> Watched:
    home = world.pipeline.core.watched[0]
    assert isinstance(home, Watched)
    return home


def shadowed(
    seconds: int, worth: tuple[float, float], seed: int = 0, says: str = "probs", **named: Any
) -> list[dict[str, Any]]:
    """The same traffic, v2 a shadow that takes the second action nine times in ten, instead of `candidates`.

    says: whether it logs its whole distribution ("probs") or only its own draw ("draw").
    """
    rng = np.random.default_rng(seed + 100)
    made = []
    for i, event in enumerate(events(seconds, worth, seed)):
        if event["type"] == "reward":
            made.append(event)
            continue
        who = {key: value(i) for key, value in named.items()} or {"unit": f"u{i % 97}"}
        event = {key: value for key, value in event.items() if key != "candidates"} | who
        more: dict[str, Any] = {"action_probs": [0.1, 0.9]} if says == "probs" else {}
        shadow = decision(
            f"s{i}", 0, stage="shadow", policy="v2", action=int(rng.random() < 0.9), **who, **more
        )
        made += [event, shadow | {"ts": event["ts"]}]
    return made


EPISODES = small(
    deployments__home__gamma=0.9,
    deployments__home__returns="episode",
    deployments__home__costs={"harm": {"budget": 0.3, "per": "episode"}},
)


def episodes(n: int, gains: tuple[float, float], seed: int = 0, harm: float = 0.0) -> list[dict[str, Any]]:
    """Episodes of four steps, one a second; v2 takes the second action .6 of the time, v1 half."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        for step in range(4):
            action, at = int(rng.random() < 0.5), i + step / 8
            name = f"e{i}.{step}"
            cost = {"harm": float(rng.random() < harm * action)}
            made.append(decision(name, at, action=action, propensity=0.5, episode=f"e{i}", step=step, costs=cost,
                                 candidates={"v2": {"p": (0.4, 0.6)[action]}}))  # fmt: skip
            earned = gains[action] + rng.normal(0, 0.1)
            made.append(reward(name, at + 1, float(earned), done=step == 3))
    return sorted(made, key=lambda event: event["ts"])


def lines_in_any_polls(config: Config, log: list[dict[str, Any]]) -> list[list[bytes]]:
    """Lines of measurements of one log: read at once, in pieces, and by a daemon that died half way."""
    whole, pieces = fed(World(config), log, cut=5_000), fed(World(config), log, cut=37)
    half = fed(World(config), log[: len(log) // 2], cut=101)
    again = World(config)
    again.sealed, again.offsets = half.sealed, half.offsets
    assert restore(again.pipeline, snapshot(half.pipeline)) == []
    fed(again, log[len(log) // 2 :], cut=211)
    return [
        [line for one in world.sealed for line in measurement_lines(one)] for world in (whole, pieces, again)
    ]
