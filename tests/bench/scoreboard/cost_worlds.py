"""Worlds whose costs creep up, or whose proxy parts from the truth."""

from functools import partial

import numpy as np

from tests.bench.scoreboard import ratios
from tests.bench.scoreboard.events import Events, Generator, after, ramp
from tests.bench.scoreboard.scenario import Scenario, setting_of


def costs() -> list[Scenario]:
    return [
        Scenario(
            "cost creeps from .06 to .15, budget .1",
            _costs,
            setting_of("constraint", 10, costs=("unsafe",)),
            "constraint",
            longest=8_000,
        ),
        Scenario(
            "proxy up, truth down by .5 sd",
            _proxy,
            setting_of("proxy", 5),
            "proxy",
            ratios=[partial(ratios.normal, shift=2.0)],
        ),
    ]


def _costs(rng: Generator, n: int, at: int) -> Events:
    chance = 0.06 + 0.09 * ramp(n, at, 2_000)
    return Events(
        reward=rng.standard_normal(n), costs={"unsafe": (rng.random(n) < chance).astype(np.float64)}
    )


def _proxy(rng: Generator, n: int, at: int) -> Events:
    truth = rng.standard_normal(n)
    reward = truth + 0.5 * rng.standard_normal(n) + 0.5 * after(n, at)
    return Events(reward=reward, truth=truth - 0.5 * after(n, at))
