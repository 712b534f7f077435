"""Self-normalised inverse propensity scoring."""

from dataclasses import dataclass

from detectors.ope.bandit.estimator import Decisions, ratio
from detectors.ope.columns import Floats


@dataclass(frozen=True, slots=True)
class Snips:
    """mean(w r) / mean(w) (Swaminathan & Joachims 2015, eq. 9): inside the range of rewards, bias O(1/n)."""

    name: str = "snips"
    needs_critic: bool = False

    def terms(self, decisions: Decisions) -> Floats:
        return ratio(0.0, decisions.weight * decisions.reward, decisions.weight)

    def weighted(self, decisions: Decisions) -> tuple[Floats, Floats]:
        return decisions.weight, decisions.reward
