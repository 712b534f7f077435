"""Inverse propensity scoring, also called importance sampling."""

from dataclasses import dataclass

from detectors.ope.bandit.estimator import Decisions, only
from detectors.ope.columns import Floats


@dataclass(frozen=True, slots=True)
class Ips:
    """mean(w r) (Horvitz & Thompson 1952; Dudik, Langford & Li 2011, eq. 2): unbiased under full support."""

    name: str = "ips"
    needs_critic: bool = False

    def terms(self, decisions: Decisions) -> Floats:
        return only(decisions.weight * decisions.reward)

    def weighted(self, decisions: Decisions) -> tuple[Floats, Floats]:
        return decisions.weight, decisions.reward
