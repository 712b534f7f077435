"""Trajectory importance sampling."""

from dataclasses import dataclass

from detectors.ope.bandit.estimator import only
from detectors.ope.columns import Floats, Ints
from detectors.ope.sequential.episodes import Episodes
from detectors.ope.totals import Totals, totals_of


@dataclass(frozen=True, slots=True)
class TrajectoryIs:
    """mean(W_T G), W_T the product of all ratios (Precup, Sutton & Singh 2000, eq. 2): unbiased, wild."""

    name: str = "trajectory_is"
    needs_critic: bool = False

    def totals(self, episodes: Episodes, group: Ints) -> Totals:
        return totals_of(only(episodes.final_weight * episodes.returns), group)

    def weighted(self, episodes: Episodes) -> tuple[Floats, Floats]:
        return episodes.final_weight, episodes.returns
