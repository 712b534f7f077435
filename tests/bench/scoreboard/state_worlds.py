"""Worlds whose states move: one feature, all of them, their spread, what they have in common."""

from functools import partial

import numpy as np

from detectors.arrays import F64
from tests.bench.scoreboard import ratios
from tests.bench.scoreboard.events import Events, Generator, after, ar1
from tests.bench.scoreboard.scenario import Scenario, setting_of


def states() -> list[Scenario]:
    found = []
    for width in (8, 32):
        for shift, goal, size in ((0.25, 3.0, 10), (0.5, 2.0, 4), (1.0, 2.0, 2)):
            found.append(
                Scenario(
                    f"one of {width} features +{shift} sd",
                    partial(_shifted, width=width, shift=shift, features=1),
                    setting_of("state", size),
                    "state",
                    goal,
                    [partial(ratios.normal, shift=shift)],
                    band=(0.8, 1.5),
                )
            )
        for shift in (0.25, 0.5):
            found.append(  # noqa: PERF401
                Scenario(
                    f"all {width} features +{shift} sd",
                    partial(_shifted, width=width, shift=shift, features=width),
                    setting_of("state", 2),
                    "state",
                    2.5,
                    [partial(ratios.normal, shift=shift * np.sqrt(width))],
                )
            )
        found.append(
            Scenario(
                f"correlation .5 in pairs of {width} features",
                partial(_correlated, width=width),
                setting_of("state", 2),
                "state",
                5.0 if width == 8 else 8.0,
                [partial(_ratio_correlation, width=width)],
            )
        )
        for factor in (1.5, 0.7):
            found.append(  # noqa: PERF401
                Scenario(
                    f"variance of {width} features x {factor}",
                    partial(_wider, width=width, factor=factor),
                    setting_of("state", 2),
                    "state",
                    3.0,
                    [partial(ratios.variance, width=width, factor=factor)],
                )
            )
    found += [
        Scenario(
            "one of 8 AR(1) .5 features +1 sd",
            partial(_ar1_state, width=8, shift=1.0),
            setting_of("state", 3),
            "state",
            ratios=[partial(ratios.normal, shift=0.5 / np.sqrt(0.75))],
            band=(0.7, np.inf),
        ),
        Scenario("a rare mode, 3 % of states", partial(_rare_mode, width=8), setting_of("state", 5), "state"),
        Scenario(
            "a feature sticks",
            partial(_stuck, width=8),
            setting_of("state", 5, rules=("state", "quality")),
            "quality",
        ),
    ]
    return found


def _shifted(rng: Generator, n: int, at: int, width: int, shift: float, features: int) -> Events:
    state = rng.standard_normal((n, width))
    state[:, :features] += shift * after(n, at)[:, None]
    return Events(state=state)


def _correlated(rng: Generator, n: int, at: int, width: int) -> Events:
    """Each feature with its neighbour, pair by pair; marginals stay as they are."""
    state = rng.standard_normal((n, width))
    root = 0.5 * after(n, at)[:, None]
    state[:, 1::2] = state[:, 1::2] * np.sqrt(1 - root**2) + root * state[:, ::2]
    return Events(state=state)


def _wider(rng: Generator, n: int, at: int, width: int, factor: float) -> Events:
    return Events(
        state=rng.standard_normal((n, width)) * np.where(after(n, at) > 0, np.sqrt(factor), 1.0)[:, None]
    )


def _ar1_state(rng: Generator, n: int, at: int, width: int, shift: float) -> Events:
    state = ar1(rng, n, 0.5, width)
    state[:, 0] += shift * after(n, at)
    return Events(state=state)


def _rare_mode(rng: Generator, n: int, at: int, width: int) -> Events:
    state = rng.standard_normal((n, width))
    return Events(
        state=state
        + 4.0 * ((rng.random(n) < 0.03) & (np.arange(n) >= at))[:, None] * np.sign(np.arange(width) % 2 - 0.5)
    )


def _stuck(rng: Generator, n: int, at: int, width: int) -> Events:
    state = rng.standard_normal((n, width))
    state[at:, 0] = 0.3
    return Events(state=state)


def _ratio_correlation(rng: Generator, paths: int, n: int, changed: bool, width: int) -> F64:
    """Only the sum and the difference of each pair matter: chi-squares scaled by 1 + rho and 1 - rho."""
    pairs = width // 2
    sums = rng.chisquare(pairs, (paths, n)) * (1.5 if changed else 1.0)
    differences = rng.chisquare(pairs, (paths, n)) * (0.5 if changed else 1.0)
    constant = pairs * (np.log(1.5) + np.log(0.5))
    return np.asarray(-0.5 * (constant + sums * (1 / 1.5 - 1) + differences * (1 / 0.5 - 1)))
