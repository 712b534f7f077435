"""The doubly robust estimator."""

from dataclasses import dataclass

from detectors.ope.bandit.estimator import Decisions, only
from detectors.ope.columns import Floats


@dataclass(frozen=True, slots=True)
class DoublyRobust:
    """mean(v + w (r - q)) (Dudik, Langford & Li 2011, eq. 3): right if model or propensities are."""

    name: str = "dr"
    needs_critic: bool = True

    def terms(self, decisions: Decisions) -> Floats:
        q, v = decisions.critic
        return only(v + decisions.weight * (decisions.reward - q))

    def weighted(self, decisions: Decisions) -> tuple[Floats, Floats]:
        q, _ = decisions.critic
        return decisions.weight, decisions.reward - q
