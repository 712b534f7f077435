"""Worlds whose mix of actions moves, or whose logged propensities are not true."""

from functools import partial

import numpy as np

from detectors.arrays import F64, I64
from tests.bench.scoreboard import ratios
from tests.bench.scoreboard.events import Events, Generator
from tests.bench.scoreboard.scenario import Scenario, setting_of


def actions() -> list[Scenario]:
    found = []
    for actions, goal in ((5, 2.0), (20, 2.5), (200, 5.0)):
        for variation, size in ((0.05, 20), (0.1, 20), (0.2, 10)):
            found.append(
                Scenario(
                    f"action mix moves {variation} of {actions}",
                    partial(_mix, actions=actions, variation=variation),
                    setting_of("actions", size),
                    "actions",
                    goal,
                    [partial(_ratio_mix, actions=actions, variation=variation)],
                    band=(0.8, 1.5),
                )
            )
    found += [
        Scenario(
            "action mix moves 0.2 of 5000",
            partial(_mix, actions=5_000, variation=0.2),
            setting_of("actions", 10),
            "actions",
            ratios=[partial(_ratio_mix, actions=5_000, variation=0.2)],
        ),
        Scenario(
            "a new action, 3 % of decisions",
            _new_action,
            setting_of("actions", 10),
            "actions",
            ratios=[partial(ratios.bernoulli, p=1e-4, q=0.03)],
        ),
        Scenario(
            "propensities logged before exploration", _wrong_propensity, setting_of("actions", 10), "actions"
        ),
    ]
    return found


def mix(actions: int) -> F64:
    """Shares that fall with the rank (Zipf)."""
    shares = 1 / np.arange(1, actions + 1)
    return np.asarray(shares / shares.sum())


def moved(shares: F64, variation: float) -> F64:
    """Every second action gains the total variation from the others, in proportion within both halves."""
    gains = np.arange(len(shares)) % 2 == 1
    gaining = shares[gains].sum()
    factor = np.where(gains, 1 + variation / gaining, 1 - variation / (1 - gaining))
    return np.asarray(shares * factor)


def _mix(rng: Generator, n: int, at: int, actions: int, variation: float) -> Events:
    shares = mix(actions)
    before, later = np.cumsum(shares), np.cumsum(moved(shares, variation))
    u = rng.random(n)
    chosen = np.where(np.arange(n) < at, np.searchsorted(before, u), np.searchsorted(later, u))
    return Events(action=np.minimum(chosen, actions - 1))


def _new_action(rng: Generator, n: int, at: int) -> Events:
    chosen = rng.choice(20, n, p=mix(20))
    return Events(action=np.where((rng.random(n) < 0.03) & (np.arange(n) >= at), 20, chosen))


def _wrong_propensity(rng: Generator, n: int, at: int) -> Events:
    """Logged is the chance before exploration was mixed in: taken with .2 / K more than it says."""
    shares = mix(5)
    explored = 0.8 * shares + 0.2 / 5
    chosen = rng.choice(5, n, p=explored)
    return Events(action=chosen, propensity=_logged(shares, explored, chosen, at))


def _logged(shares: F64, explored: F64, chosen: I64, at: int) -> F64:
    return np.where(np.arange(len(chosen)) >= at, shares[chosen], explored[chosen])


def _ratio_mix(rng: Generator, paths: int, n: int, changed: bool, actions: int, variation: float) -> F64:
    """Only whether an action of the gaining half was taken matters."""
    gaining = float(mix(actions)[1::2].sum())
    return ratios.bernoulli(rng, paths, n, changed, gaining, gaining + variation)
