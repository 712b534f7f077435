"""What an evaluation reads: the numpy columns of a bandit log or of a log of episodes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BanditLog:
    """One row per decision of the logging policy; every column has shape (n,) unless said otherwise.

    reward: what was earned, nan where it is not (yet) known. propensity: the logging policy's probability
    of the logged action, in (0, 1]. p: the candidate's probability of the logged action, in [0, 1].
    q, v: the candidate's critic for the logged action and for the state (the wire field `candidates`); a row
    without them is not usable, so leave both out where the candidate has no critic.
    unit: integer id of the independent unit (hash strings before); absent = every decision is independent.
    costs: name -> (n,). logger_propensities: (n, loggers), the probability that *each* logging policy gives
    the logged action, for the balance heuristic. state (n, d), action (n,) and candidate_probs (n, actions)
    let a reward model be fitted where q and v are absent, and propensities be checked.
    """

    reward: Floats
    propensity: Floats
    p: Floats
    q: Floats | None = None
    v: Floats | None = None
    unit: Ints | None = None
    costs: Mapping[str, Floats] = field(default_factory=dict)
    logging_policy: Ints | None = None
    logger_propensities: Floats | None = None
    state: Floats | None = None
    action: Ints | None = None
    candidate_probs: Floats | None = None

    def __len__(self) -> int:
        return len(self.reward)


@dataclass(frozen=True, slots=True)
class TrajectoryLog:
    """One row per step of an episode, in any row order, whole episodes only; columns (n,) as in BanditLog.

    episode: integer id. step: 0, 1, ... within the episode; an episode whose first step is absent is
    dropped and counted. gamma: the discount of the return. ended: True on the row after which the
    environment itself ended the episode; absent = every episode is taken to end with its last row. An episode
    that is cut instead (a time limit, the end of the log) is completed by `v` of its last state where given.
    unit is constant within an episode; absent = the episodes are independent.
    """

    episode: Ints
    step: Ints
    reward: Floats
    propensity: Floats
    p: Floats
    gamma: float
    q: Floats | None = None
    v: Floats | None = None
    unit: Ints | None = None
    costs: Mapping[str, Floats] = field(default_factory=dict)
    ended: Bools | None = None
    state: Floats | None = None
    action: Ints | None = None
    candidate_probs: Floats | None = None

    def __len__(self) -> int:
        return len(self.reward)


Log = TypeVar("Log", BanditLog, TrajectoryLog)


def take(log: Log, rows: slice | Ints | Bools) -> Log:
    """The given rows of every column."""
    changed: dict[str, object] = {}
    for spec in fields(log):
        column = getattr(log, spec.name)
        if spec.name == "costs":
            changed["costs"] = {name: values[rows] for name, values in log.costs.items()}
        elif isinstance(column, np.ndarray):
            changed[spec.name] = column[rows]
    return replace(log, **changed)  # type: ignore[arg-type]


def usable_rows(log: BanditLog | TrajectoryLog) -> Bools:
    """(n,): True where reward, propensity, p and, where given, q, v and the costs are finite and in range."""
    good = np.isfinite(log.reward) & (log.propensity > 0) & (log.propensity <= 1 + 1e-9)
    good &= (log.p >= 0) & (log.p <= 1 + 1e-9)
    for column in (log.q, log.v, *log.costs.values()):
        if column is not None:
            good &= np.isfinite(column)
    return good


def check_shapes(log: BanditLog | TrajectoryLog) -> None:
    """Raises ValueError, naming the column, where a column's length is not the log's."""
    n = len(log)
    named = [(spec.name, getattr(log, spec.name)) for spec in fields(log)] + list(log.costs.items())
    for name, column in named:
        if isinstance(column, np.ndarray) and len(column) != n:
            raise ValueError(f"column {name!r} has {len(column)} rows, reward has {n}")
    if (log.q is None) != (log.v is None):
        raise ValueError("q and v belong together: the critic of the action and of the state")
