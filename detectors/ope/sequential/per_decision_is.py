"""Per-decision importance sampling."""

from dataclasses import dataclass

from detectors.ope.bandit.estimator import only
from detectors.ope.columns import Floats, Ints
from detectors.ope.sequential.episodes import Episodes
from detectors.ope.totals import Totals, totals_of


@dataclass(frozen=True, slots=True)
class PerDecisionIs:
    """mean(sum_t gamma^t W_t r_t) (Precup, Sutton & Singh 2000, eq. 5): a reward waits for no later ratio."""

    name: str = "per_decision_is"
    needs_critic: bool = False

    def totals(self, episodes: Episodes, group: Ints) -> Totals:
        return totals_of(only(episodes.sums(episodes.discount * episodes.weight * episodes.reward)), group)

    def weighted(self, episodes: Episodes) -> tuple[Floats, Floats]:
        return episodes.discount * episodes.weight, episodes.reward
