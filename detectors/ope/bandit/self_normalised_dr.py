"""The self-normalised doubly robust estimator."""

from dataclasses import dataclass

from detectors.ope.bandit.estimator import Decisions, ratio
from detectors.ope.columns import Floats


@dataclass(frozen=True, slots=True)
class SelfNormalisedDr:
    """mean(v) + mean(w (r - q)) / mean(w) (Robins, Sued, Lei-Gomez & Rotnitzky 2007, section 4)."""

    name: str = "sndr"
    needs_critic: bool = True

    def terms(self, decisions: Decisions) -> Floats:
        q, v = decisions.critic
        return ratio(v, decisions.weight * (decisions.reward - q), decisions.weight)

    def weighted(self, decisions: Decisions) -> tuple[Floats, Floats]:
        q, _ = decisions.critic
        return decisions.weight, decisions.reward - q
