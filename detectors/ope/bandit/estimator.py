"""What a bandit estimator is: terms per decision, their totals, and the estimate from totals."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from detectors.ope.columns import Floats, Ints
from detectors.ope.totals import Totals, groups_of, totals_of


@dataclass(frozen=True, slots=True)
class Decisions:
    """Usable decisions with their importance weight; columns (n,); q, v absent where there is no critic."""

    weight: Floats
    reward: Floats
    q: Floats | None = None
    v: Floats | None = None

    @property
    def critic(self) -> tuple[Floats, Floats]:
        if self.q is None or self.v is None:
            raise ValueError("this estimator needs q and v, the candidate's critic")
        return self.q, self.v


class BanditEstimator(Protocol):
    """terms -> (1 + 2k, n): a, b_1..b_k, c_1..c_k of detectors.ope.totals."""

    @property
    def name(self) -> str: ...

    @property
    def needs_critic(self) -> bool: ...

    def terms(self, decisions: Decisions) -> Floats: ...


def observe(
    estimator: BanditEstimator, decisions: Decisions, unit: Ints | None = None, start: int = 0
) -> Totals:
    """The estimator's sufficient statistic of these decisions; `+` of two parts is that of the whole.

    unit (n,): as in BanditLog. start: number of decisions before these, so that parts of one log without
    units are grouped as the whole is.
    """
    return totals_of(estimator.terms(decisions), groups_of(unit, len(decisions.weight), start))


def only(a: Floats) -> Floats:
    """Terms of a plain mean."""
    return a[None, :]


def ratio(a: Floats | float, b: Floats, c: Floats) -> Floats:
    """Terms of a mean plus a ratio of means."""
    return np.stack([np.broadcast_to(a, b.shape), b, c])
