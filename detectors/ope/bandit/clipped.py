"""Importance sampling with clipped weights, and the two values that enclose the truth it clips away."""

from dataclasses import dataclass

import numpy as np

from detectors.ope.bandit.estimator import Decisions, only
from detectors.ope.columns import Floats


@dataclass(frozen=True, slots=True)
class ClippedIs:
    """mean(min(w, clip) r) (Ionides 2008, eq. 2): bounded variance, biased by the weight above the clip."""

    clip: float
    name: str = "clipped"
    needs_critic: bool = False

    def terms(self, decisions: Decisions) -> Floats:
        return only(np.minimum(decisions.weight, self.clip) * decisions.reward)

    def weighted(self, decisions: Decisions) -> tuple[Floats, Floats]:
        return np.minimum(decisions.weight, self.clip), decisions.reward

    def enclosing(self, decisions: Decisions, low: float, high: float) -> tuple[Floats, Floats]:
        """Terms of a mean not above, and of a mean not below the truth, for rewards in [low, high].

        E[min(w, c)(r - low)] <= E[w (r - low)] = value - low, and likewise from above (Bottou et al. 2013,
        section 4.4): what is clipped away earns between the least and the most that anything earns.
        """
        weight = np.minimum(decisions.weight, self.clip)
        return only(low + weight * (decisions.reward - low)), only(high - weight * (high - decisions.reward))
