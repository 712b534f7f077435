"""The direct method: believe the candidate's critic."""

from dataclasses import dataclass

import numpy as np

from detectors.ope.bandit.estimator import Decisions, only
from detectors.ope.columns import Floats


@dataclass(frozen=True, slots=True)
class DirectMethod:
    """mean(v) (Dudik, Langford & Li 2011, eq. 1): no variance from weights, all the bias of the model."""

    name: str = "dm"
    needs_critic: bool = True

    def terms(self, decisions: Decisions) -> Floats:
        _, v = decisions.critic
        return only(v)

    def weighted(self, decisions: Decisions) -> tuple[Floats, Floats]:
        return np.zeros_like(decisions.weight), decisions.reward
