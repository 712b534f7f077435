"""What a bandit estimator is: terms per decision, the statistic that remembers them, and the estimate."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from detectors.ope.columns import Floats, Ints
from detectors.ope.functional import value_of
from detectors.ope.spread import Spread, spread_of
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


@dataclass(frozen=True, slots=True)
class Statistic:
    """All that is remembered of an estimator's decisions; `+` of two parts is that of the whole."""

    totals: Totals
    spread: Spread

    def __add__(self, other: "Statistic") -> "Statistic":
        return Statistic(self.totals + other.totals, self.spread + other.spread)


class BanditEstimator(Protocol):
    """One way to estimate a candidate's mean reward from another policy's decisions."""

    @property
    def name(self) -> str: ...

    @property
    def needs_critic(self) -> bool: ...

    def terms(self, decisions: Decisions) -> Floats:
        """(1 + 2k, n): a, b_1..b_k, c_1..c_k of detectors.ope.totals."""

    def weighted(self, decisions: Decisions) -> tuple[Floats, Floats]:
        """(n,) the weight and (n,) what it multiplies: for the floor of detectors.ope.spread."""


def observe(
    estimator: BanditEstimator, decisions: Decisions, unit: Ints | None = None, start: int = 0
) -> Statistic:
    """The estimator's sufficient statistic of these decisions.

    unit (n,): as in BanditLog. start: number of decisions before these, so that parts of one log without
    units are grouped as the whole is.
    """
    return summarise(estimator, decisions, groups_of(unit, len(decisions.weight), start))


def summarise(estimator: BanditEstimator, decisions: Decisions, group: Ints) -> Statistic:
    """The same, with the group (n,) of each decision at hand."""
    return Statistic(totals_of(estimator.terms(decisions), group), spread_of(*estimator.weighted(decisions)))


def estimate(statistic: Statistic) -> float:
    """The estimate; nan where nothing was observed."""
    return value_of(statistic.totals)


def only(a: Floats) -> Floats:
    """Terms of a plain mean."""
    return a[None, :]


def ratio(a: Floats | float, b: Floats, c: Floats) -> Floats:
    """Terms of a mean plus a ratio of means."""
    return np.stack([np.broadcast_to(a, b.shape), b, c])
