"""Worlds with exactly known values: small bandits and tabular MDPs, and logs drawn from them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.ope import BanditLog, TrajectoryLog

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bandit:
    """States equally likely; logger, candidate and mean reward (states, actions)."""

    logger: Floats
    candidate: Floats
    mean: Floats

    @property
    def value(self) -> float:
        return float((self.candidate * self.mean).sum(axis=1).mean())

    @property
    def incumbent(self) -> float:
        return float((self.logger * self.mean).sum(axis=1).mean())

    def log(
        self, n: int, rng: np.random.Generator, critic: Floats | None = None, noise: float = 0.0
    ) -> BanditLog:
        """n decisions; rewards are 0 or 1 where noise is 0, else normal. critic: a model of mean rewards."""
        state = rng.integers(0, len(self.mean), n)
        action = choose(self.logger[state], rng)
        expected = self.mean[state, action]
        reward = expected + noise * rng.normal(size=n) if noise else (rng.random(n) < expected).astype(float)
        model = self.mean if critic is None else critic
        return BanditLog(
            reward,
            self.logger[state, action],
            self.candidate[state, action],
            q=model[state, action],
            v=(self.candidate * model).sum(axis=1)[state],
            state=np.eye(len(self.mean))[state],
            action=action,
            candidate_probs=self.candidate[state],
        )


def bandit(seed: int, actions: int = 5, skew: float = 0.5, shift: float = 0.7, base: float = 0.3) -> Bandit:
    """skew: how unequal the logger's probabilities are; shift: how far the candidate moves away from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(5, actions))
    mean = np.minimum(base * np.exp(0.5 * rng.normal(size=(5, actions))), 0.95)
    return Bandit(
        softmax(skew * logits), softmax(shift * (0.5 * logits + rng.normal(size=(5, actions)))), mean
    )


@dataclass(frozen=True)
class Mdp:
    """transition (states, actions, states + 1), the last being the end; reward (states, actions) means."""

    transition: Floats
    reward: Floats
    logger: Floats
    candidate: Floats
    gamma: float
    steps: int

    def q(self, policy: Floats) -> Floats:
        """(steps, states, actions) exact value of each action with `steps` - t decisions left."""
        states, actions = self.reward.shape
        after = np.zeros(states + 1)
        table = np.zeros((self.steps, states, actions))
        for t in reversed(range(self.steps)):
            table[t] = self.reward + self.gamma * self.transition @ after
            after[:states] = (policy * table[t]).sum(axis=1)
        return table

    def value(self, policy: Floats) -> float:
        """Of the start, which is uniform over states."""
        return float((policy * self.q(policy)[0]).sum(axis=1).mean())

    def log(self, episodes: int, rng: np.random.Generator, critic: Floats | None = None) -> TrajectoryLog:
        """Episodes by the logger; critic: (steps, states, actions), by default the exact one."""
        q = self.q(self.candidate) if critic is None else critic
        state, alive = rng.integers(0, len(self.reward), episodes), np.arange(episodes)
        rows: list[tuple[NDArray[np.int64], ...]] = []
        ends = []
        for t in range(self.steps):
            action = choose(self.logger[state], rng)
            after = choose(self.transition[state, action], rng)
            going = after < len(self.reward)
            rows.append((alive, np.full(len(alive), t), state, action))
            ends.append(~going if t < self.steps - 1 else np.ones(len(alive), dtype=bool))
            state, alive = after[going], alive[going]
        episode, step, state, action = (np.concatenate(column) for column in zip(*rows, strict=True))
        reward = self.reward[state, action] + 0.3 * rng.normal(size=len(state))
        values = (self.candidate * q).sum(axis=2)
        return TrajectoryLog(
            episode,
            step,
            reward,
            self.logger[state, action],
            self.candidate[state, action],
            self.gamma,
            q=q[step, state, action],
            v=values[step, state],
            ended=np.concatenate(ends),
            state=np.eye(len(self.reward))[state],
            action=action,
            candidate_probs=self.candidate[state],
        )


def mdp(seed: int, shift: float = 0.5, steps: int = 5, gamma: float = 0.9, end: float = 0.15) -> Mdp:
    """Four states, three actions; every step ends the episode with probability `end`."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.ones(4), size=(4, 3)) * (1 - end)
    transition = np.concatenate([transition, np.full((4, 3, 1), end)], axis=2)
    logits = 0.5 * rng.normal(size=(4, 3))
    candidate = softmax(logits + shift * rng.normal(size=(4, 3)))
    return Mdp(transition, rng.normal(size=(4, 3)), softmax(logits), candidate, gamma, steps)


def choose(probs: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n,) one index per row of probs (n, m)."""
    passed = rng.random(len(probs))[:, None] > probs.cumsum(axis=1)
    return np.asarray(np.minimum(passed.sum(axis=1), probs.shape[1] - 1))


def softmax(logits: Floats) -> Floats:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
