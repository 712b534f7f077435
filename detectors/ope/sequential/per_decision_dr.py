"""The doubly robust estimator for episodes."""

from dataclasses import dataclass

from detectors.ope.bandit.estimator import only
from detectors.ope.columns import Floats, Ints
from detectors.ope.sequential.episodes import Episodes
from detectors.ope.totals import Totals, totals_of


@dataclass(frozen=True, slots=True)
class PerDecisionDr:
    """mean(sum_t gamma^t (W_t (r_t - q_t) + W_{t-1} v_t)): q and v estimate the return from here on.

    Jiang & Li 2016, eq. 10, unrolled as in Thomas & Brunskill 2016, eq. 1.
    """

    name: str = "per_decision_dr"
    needs_critic: bool = True

    def totals(self, episodes: Episodes, group: Ints) -> Totals:
        q, v = episodes.critic
        gained = episodes.weight * (episodes.reward - q) + episodes.before * v
        return totals_of(only(episodes.sums(episodes.discount * gained)), group)

    def weighted(self, episodes: Episodes) -> tuple[Floats, Floats]:
        return episodes.discount * episodes.weight, episodes.surprises
