"""What a sequential estimator is: terms per episode, in the same statistics as a bandit's."""

from typing import Protocol

from detectors.ope.bandit.estimator import Statistic
from detectors.ope.columns import Floats, Ints
from detectors.ope.sequential.episodes import Episodes
from detectors.ope.spread import spread_of
from detectors.ope.totals import Totals, groups_of


class SequentialEstimator(Protocol):
    """One way to estimate a candidate's mean discounted return from another policy's episodes."""

    @property
    def name(self) -> str: ...

    @property
    def needs_critic(self) -> bool: ...

    def totals(self, episodes: Episodes, group: Ints) -> Totals:
        """Terms a, b_1..b_k, c_1..c_k summed over the episodes (e,) of each group."""

    def weighted(self, episodes: Episodes) -> tuple[Floats, Floats]:
        """(m,) weights and (m,) what they multiply, for the floor of detectors.ope.spread."""


def observe(estimator: SequentialEstimator, episodes: Episodes, start: int = 0) -> Statistic:
    """The estimator's sufficient statistic of these episodes; start: number of episodes before them."""
    return summarise(estimator, episodes, groups_of(episodes.unit, episodes.count, start))


def summarise(estimator: SequentialEstimator, episodes: Episodes, group: Ints) -> Statistic:
    """The same, with the group (e,) of each episode at hand."""
    return Statistic(estimator.totals(episodes, group), spread_of(*estimator.weighted(episodes)))
