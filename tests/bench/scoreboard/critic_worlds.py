"""Worlds whose critic promises too much or scatters."""

from dataclasses import replace
from functools import partial

import numpy as np

from detectors.arrays import F64
from tests.bench.scoreboard import ratios
from tests.bench.scoreboard.events import Events, Generator, after, ramp
from tests.bench.scoreboard.scenario import Scenario, setting_of


def critics() -> list[Scenario]:
    return [
        Scenario(
            "critic bias grows to 1 sd over 2,000 events",
            partial(_critic, bias=1.0, noise=1.0, length=2_000),
            setting_of("critic", 10),
            "critic",
            1.1,
            [partial(ratios.ramped, shift=s, top=1.0, length=2_000) for s in (0.15, 0.25, 0.4)],
        ),
        Scenario(
            "critic noise x 1.3",
            partial(_critic, bias=0.0, noise=1.3, length=1),
            setting_of("critic", 4),
            "critic",
            2.5,
            [partial(_ratio_noise, factor=1.3)],
            band=(0.8, 1.5),
        ),
        *(
            Scenario(
                f"critic promises 1 of {groups} {kind}s {bias:g} sd too much",
                partial(_critic_of_groups, kind=kind, groups=groups, bias=bias),
                setting_of("critic", 10),
                "critic",
                ratios=[partial(_ratio_of_group, groups=groups, bias=bias)],
            )
            for kind, groups in (("segment", 20), ("action", 20))
            for bias in (1.0, 0.5)
        ),
    ]


def _critic(rng: Generator, n: int, at: int, bias: float, noise: float, length: int) -> Events:
    value = rng.standard_normal(n)
    error = rng.standard_normal(n) * np.where(after(n, at) > 0, noise, 1.0) + bias * ramp(n, at, length)
    return Events(reward=value - error, value=value)


def _critic_of_groups(rng: Generator, n: int, at: int, kind: str, groups: int, bias: float) -> Events:
    """One of many actions or segments is promised too much."""
    group, value = rng.integers(0, groups, n), rng.standard_normal(n)
    error = rng.standard_normal(n) + bias * after(n, at) * (group == 1)
    made = Events(reward=value - error, value=value)
    return replace(made, action=group) if kind == "action" else replace(made, segment=group)


def _ratio_of_group(rng: Generator, paths: int, n: int, changed: bool, groups: int, bias: float) -> F64:
    """Only the errors of the group matter, and which group it is is known."""
    mine = rng.integers(0, groups, (paths, n)) == 1
    return np.where(mine, ratios.normal(rng, paths, n, changed, bias), 0.0)


def _ratio_noise(rng: Generator, paths: int, n: int, changed: bool, factor: float) -> F64:
    return ratios.variance(rng, paths, n, changed, 1, factor**2)
