"""Worlds whose rewards fall, come later or are lost."""

from functools import partial

import numpy as np

from tests.bench.scoreboard import ratios
from tests.bench.scoreboard.events import Events, Generator, after, ar1, ramp
from tests.bench.scoreboard.scenario import Scenario, setting_of


def rewards() -> list[Scenario]:
    found = []
    for shift, size in ((0.25, 10), (0.5, 4), (1.0, 2)):
        found.append(
            Scenario(
                f"reward -{shift} sd, normal",
                partial(_normal_reward, shift=shift),
                setting_of("reward", size),
                "reward",
                1.25,
                [partial(ratios.normal, shift=shift)],
                band=(0.8, 1.5),
            )
        )
        found.append(
            Scenario(
                f"reward -{shift} sd, Student t3",
                partial(_t3_reward, shift=shift),
                setting_of("reward", size),
                "reward",
                1.5,
                [partial(ratios.student_t3, shift=shift)],
                band=(0.8, 1.5),
            )
        )
        innovation = shift / 2 / np.sqrt(0.75)
        found.append(
            Scenario(
                f"reward -{shift} sd, AR(1) .5",
                partial(_ar1_reward, shift=shift),
                setting_of("reward", size),
                "reward",
                1.5,
                [partial(ratios.normal, shift=innovation)],
                band=(0.7, np.inf),
            )
        )
    found += [
        Scenario(
            "clicks .05 -> .035",
            _clicks,
            setting_of("reward", 20, 2_000),
            "reward",
            1.5,
            [partial(ratios.bernoulli, p=0.05, q=0.035)],
            band=(0.8, 1.5),
            baseline=5_000,
        ),
        Scenario(
            "reward falls 1 sd over 2,000 events",
            _slow_decline,
            setting_of("reward", 10),
            "reward",
            ratios=[partial(ratios.ramped, shift=s, top=1.0, length=2_000) for s in (0.15, 0.25, 0.4)],
        ),
        Scenario(
            "reward -.5 sd on a daily cycle",
            _daily,
            setting_of("reward", 10, 2_000),
            "reward",
            baseline=5_000,
            band=(0.5, np.inf),
        ),
        Scenario(
            "rewards come 4 times later",
            _later,
            setting_of("reward", 10, 1_000, horizon=1_000, rules=("reward", "quality")),
            "quality",
        ),
        Scenario(
            "4 in 10 rewards are lost",
            _lost,
            setting_of("reward", 10, 1_000, horizon=200, rules=("reward", "quality")),
            "quality",
        ),
    ]
    return found


def _normal_reward(rng: Generator, n: int, at: int, shift: float) -> Events:
    return Events(reward=rng.standard_normal(n) - shift * after(n, at))


def _t3_reward(rng: Generator, n: int, at: int, shift: float) -> Events:
    return Events(reward=rng.standard_t(3, n) - np.sqrt(3) * shift * after(n, at))


def _ar1_reward(rng: Generator, n: int, at: int, shift: float) -> Events:
    return Events(reward=ar1(rng, n, 0.5) - shift * after(n, at))


def _clicks(rng: Generator, n: int, at: int) -> Events:
    return Events(reward=(rng.random(n) < 0.05 - 0.015 * after(n, at)).astype(np.float64))


def _slow_decline(rng: Generator, n: int, at: int) -> Events:
    return Events(reward=rng.standard_normal(n) - ramp(n, at, 2_000))


def _daily(rng: Generator, n: int, at: int) -> Events:
    season = 0.3 * np.sin(2 * np.pi * (np.arange(n) / 500 + rng.random()))
    return Events(reward=rng.standard_normal(n) + season - 0.5 * after(n, at))


def _later(rng: Generator, n: int, at: int) -> Events:
    good = (rng.random(n) < 0.5).astype(np.float64)
    delay = rng.exponential(np.where(good > 0, 20.0, 60.0) * (1 + 3 * after(n, at)))
    return Events(reward=good, delay=delay)


def _lost(rng: Generator, n: int, at: int) -> Events:
    delay = np.where(rng.random(n) < 0.4 * after(n, at), np.inf, rng.exponential(20.0, n))
    return Events(reward=rng.standard_normal(n), delay=delay)
