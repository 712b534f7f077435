"""The demo's two policies: `v42`, learned and personal, and `rules-v3`, which asks nobody and is safe for that."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from detectors.arrays import F64, I64
from monitor.demo.world import SHELVES, World

LEARNED, SAFE = "v42", "rules-v3"
_TEMPERATURE = 0.09
_RULES = (0.6, 0.3, 0.1)  # how often the most popular shelf stands on top, the second, the third
_EXPLORED = 6_000  # readers that were shown a shelf at random, to learn from
_NEWTON_STEPS = 6
_RIDGE = 1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """share: (n, shelves) the policy's distribution; shelves: (n,) what was drawn from it.

    value: (n,) the critic's estimate of the click probability under the policy, None without a critic.
    """

    shelves: I64
    share: F64
    value: F64 | None


class Policy(Protocol):
    """What is served."""

    @property
    def name(self) -> str: ...

    def choose(self, states: F64, rng: np.random.Generator) -> Choice: ...


@dataclass(frozen=True, slots=True)
class Learned:
    """Softmax over a critic's click probabilities. weights: (shelves, 1 + features) of a logistic regression each."""

    weights: F64
    name: str = LEARNED

    def choose(self, states: F64, rng: np.random.Generator) -> Choice:
        """A shelf for each reader, drawn from the policy's own distribution."""
        critic = _logistic(_with_one(states) @ self.weights.T)
        share = np.exp((critic - critic.max(axis=1, keepdims=True)) / _TEMPERATURE)
        share /= share.sum(axis=1, keepdims=True)
        shelves = _draw(share, rng)
        return Choice(shelves, share, np.sum(share * critic, axis=1))


@dataclass(frozen=True, slots=True)
class Rules:
    """The shelves that most people like, in fixed shares. share: (shelves,)."""

    share: F64
    name: str = SAFE

    def choose(self, states: F64, rng: np.random.Generator) -> Choice:
        """A shelf for each reader, whoever they are."""
        share = np.tile(self.share, (len(states), 1))
        return Choice(_draw(share, rng), share, None)


def learn(world: World, rng: np.random.Generator) -> tuple[Learned, Rules]:
    """Both policies from one log of shelves shown at random, before the world changed."""
    states = world.readers(_EXPLORED, rng)
    shelves = rng.integers(len(SHELVES), size=_EXPLORED)
    clicks = world.clicks(states, shelves, changed=False, rng=rng)
    seen = [shelves == shelf for shelf in range(len(SHELVES))]
    weights = np.stack([_regression(_with_one(states[at]), clicks[at]) for at in seen])
    best_first = np.argsort([-clicks[at].mean() for at in seen])
    share = np.zeros(len(SHELVES))
    share[best_first[: len(_RULES)]] = _RULES
    return Learned(weights), Rules(share)


def _regression(X: F64, y: F64) -> F64:
    """Logistic regression with a small ridge, by Newton's method."""
    weights = np.zeros(X.shape[1])
    for _ in range(_NEWTON_STEPS):
        p = _logistic(X @ weights)
        hessian = (X * (p * (1 - p))[:, None]).T @ X + _RIDGE * np.eye(X.shape[1])
        weights = weights + np.linalg.solve(hessian, X.T @ (y - p) - _RIDGE * weights)
    return weights


def _logistic(odds: F64) -> F64:
    result: F64 = 1.0 / (1.0 + np.exp(-odds))
    return result


def _with_one(states: F64) -> F64:
    return np.column_stack([np.ones(len(states)), states])


def _draw(share: F64, rng: np.random.Generator) -> I64:
    """(n,) one column per row, with the row's probabilities."""
    below = np.cumsum(share, axis=1) < rng.random(len(share))[:, None]
    drawn: I64 = np.minimum(below.sum(axis=1), share.shape[1] - 1)
    return drawn
