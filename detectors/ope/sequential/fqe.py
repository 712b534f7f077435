"""Fitted Q evaluation: the candidate's own Q function, linear in features of the state, one set per action.

Q_{k+1} = argmin sum (r + gamma sum_a' pi(a'|s') Q_k(s', a') - Q(s, a))^2 + ridge (Le, Voloshin & Yue 2019,
algorithm 3). For a linear Q every iterate follows from three sums over transitions, so the data are read
once, folds are differences of sums, and whether the iteration converges can be seen from a spectral radius.
"""

from dataclasses import dataclass

import numpy as np

from detectors.ope.columns import Floats, Ints
from detectors.ope.features import Features

CHUNK = 4096
INTERCEPT_RIDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Transitions:
    """Steps with all that FQE needs; rows (n,).

    state (n, d), action (n,) in 0..actions-1, reward (n,), probs (n, actions): the candidate's distribution.
    following (n,): the row of the next step, -1 where the episode ended. known (n,): False where the
    episode was cut off here, so that nothing is known of what follows. opening: rows (e,) of first steps.
    """

    state: Floats
    action: Ints
    reward: Floats
    probs: Floats
    following: Ints
    known: np.typing.NDArray[np.bool_]
    opening: Ints


@dataclass(frozen=True, slots=True)
class FqeSums:
    """Sums over transitions, with x the f features of the state and A actions.

    gram (A, f, f): x x' by action. side (A, f): x r by action. cross (A, f, A f): x times the next state's
    features spread over actions as the candidate would act. opening (A f,): the same of first states, n of
    them.
    """

    gram: Floats
    side: Floats
    cross: Floats
    opening: Floats
    n: float

    def __add__(self, other: "FqeSums") -> "FqeSums":
        return FqeSums(
            self.gram + other.gram,
            self.side + other.side,
            self.cross + other.cross,
            self.opening + other.opening,
            self.n + other.n,
        )

    def __sub__(self, other: "FqeSums") -> "FqeSums":
        return FqeSums(
            self.gram - other.gram,
            self.side - other.side,
            self.cross - other.cross,
            self.opening - other.opening,
            self.n - other.n,
        )


@dataclass(frozen=True, slots=True)
class FqeFit:
    """theta (A, f) of Q; radius: spectral radius of the iteration, divergent from 1 on."""

    theta: Floats
    radius: float

    @property
    def diverges(self) -> bool:
        return not self.radius < 1


def observe(data: Transitions, rows: Ints, opening: Ints, features: Features) -> FqeSums:
    """The sums of the given rows, and of the given rows of first steps."""
    width, actions = features.width, data.probs.shape[1]
    gram, side = np.zeros((actions, width, width)), np.zeros((actions, width))
    cross = np.zeros((actions, width, actions * width))
    rows = rows[data.known[rows]]
    rows = rows[np.argsort(data.action[rows], kind="stable")]
    ends = np.searchsorted(data.action[rows], np.arange(actions + 1))
    for action in range(actions):
        for first in range(ends[action], ends[action + 1], CHUNK):
            mine = rows[first : min(first + CHUNK, ends[action + 1])]
            x = features.of(data.state[mine])
            gram[action] += x.T @ x
            side[action] += x.T @ data.reward[mine]
            goes_on = data.following[mine] >= 0
            following = data.following[mine][goes_on]
            cross[action] += x[goes_on].T @ spread_over_actions(data, following, features)
    start = np.zeros(actions * width)
    for first in range(0, len(opening), CHUNK):
        start += spread_over_actions(data, opening[first : first + CHUNK], features).sum(axis=0)
    return FqeSums(gram, side, cross, start, float(len(opening)))


def fit(sums: FqeSums, gamma: float, ridge: float, radius: bool = True) -> FqeFit:
    """The fixed point of the iteration, with its spectral radius (0 where it is not asked for)."""
    actions, width = sums.side.shape
    penalty = np.full(width, ridge)
    penalty[0] = INTERCEPT_RIDGE
    both = np.concatenate([sums.side[:, :, None], gamma * sums.cross], axis=2)
    solved = np.linalg.solve(sums.gram + np.diag(penalty), both).reshape(actions * width, -1)
    start, step = solved[:, 0], solved[:, 1:]
    theta = np.asarray(np.linalg.solve(np.eye(actions * width) - step, start), dtype=np.float64)
    return FqeFit(theta.reshape(actions, width), spectral_radius(step) if radius else 0.0)


def value_of(sums: FqeSums, fitted: FqeFit) -> float:
    """Mean over first states of sum_a pi(a|s) Q(s, a)."""
    return float(sums.opening @ fitted.theta.ravel() / sums.n)


def predict(data: Transitions, rows: Ints, features: Features, fitted: FqeFit) -> tuple[Floats, Floats]:
    """q (n,) of the logged action and v (n,) of the state, at the given rows."""
    table = features.of(data.state[rows]) @ fitted.theta.T
    return table[np.arange(len(rows)), data.action[rows]], (table * data.probs[rows]).sum(axis=1)


def spread_over_actions(data: Transitions, rows: Ints, features: Features) -> Floats:
    """(n, A f): pi(a|s) x(s) for every action a, side by side."""
    x, probs = features.of(data.state[rows]), data.probs[rows]
    return (probs[:, :, None] * x[:, None, :]).reshape(len(rows), probs.shape[1] * features.width)


def spectral_radius(matrix: Floats, squarings: int = 12) -> float:
    """lim |M^m|^(1/m) (Gelfand 1941) at m = 2^squarings, the growth per iteration in the long run."""
    log_norm, power = 0.0, matrix
    for k in range(squarings):
        norm = float(np.linalg.norm(power))
        if norm == 0:
            return 0.0
        log_norm += np.log(norm) / 2**k
        power = power / norm
        power = power @ power
    return float(np.exp(log_norm + np.log(max(float(np.linalg.norm(power)), 1e-300)) / 2**squarings))
