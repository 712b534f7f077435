"""Switch-DR: doubly robust where weights are small, the model alone where they are large."""

from dataclasses import dataclass

import numpy as np

from detectors.ope.bandit.estimator import Decisions, only
from detectors.ope.columns import Floats


@dataclass(frozen=True, slots=True)
class SwitchDr:
    """mean(v + w 1(w <= switch)(r - q)) (Wang, Agarwal & Dudik 2017, eq. 10)."""

    switch: float
    name: str = "switch_dr"
    needs_critic: bool = True

    def terms(self, decisions: Decisions) -> Floats:
        q, v = decisions.critic
        return only(v + self._kept(decisions) * (decisions.reward - q))

    def weighted(self, decisions: Decisions) -> tuple[Floats, Floats]:
        q, _ = decisions.critic
        return self._kept(decisions), decisions.reward - q

    def enclosing(self, decisions: Decisions, low: float, high: float) -> tuple[Floats, Floats]:
        """Terms of a mean not above, and of a mean not below the truth, for rewards in [low, high].

        The switched part is off by E[w 1(w > switch)(r - q)], which lies within the reward's span times
        the candidate's mass there, 1 - E[w 1(w <= switch)]; q and v are brought into the range first.
        """
        q, v = (np.clip(critic, low, high) for critic in decisions.critic)
        weight = self._kept(decisions)
        centre, slack = v + weight * (decisions.reward - q), (high - low) * (1.0 - weight)
        return only(centre - slack), only(centre + slack)

    def _kept(self, decisions: Decisions) -> Floats:
        return np.where(decisions.weight <= self.switch, decisions.weight, 0.0)
