"""Weighted (self-normalised) trajectory importance sampling."""

from dataclasses import dataclass

from detectors.ope.bandit.estimator import ratio
from detectors.ope.columns import Floats, Ints
from detectors.ope.sequential.episodes import Episodes
from detectors.ope.totals import Totals, totals_of


@dataclass(frozen=True, slots=True)
class TrajectoryWis:
    """sum(W_T G) / sum(W_T) (Precup, Sutton & Singh 2000, eq. 3): within the returns seen, consistent."""

    name: str = "trajectory_wis"
    needs_critic: bool = False

    def totals(self, episodes: Episodes, group: Ints) -> Totals:
        return totals_of(ratio(0.0, episodes.final_weight * episodes.returns, episodes.final_weight), group)

    def weighted(self, episodes: Episodes) -> tuple[Floats, Floats]:
        return episodes.final_weight, episodes.returns
