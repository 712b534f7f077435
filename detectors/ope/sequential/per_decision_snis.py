"""Self-normalised per-decision importance sampling."""

from dataclasses import dataclass

import numpy as np

from detectors.ope.columns import Floats, Ints
from detectors.ope.sequential.episodes import Episodes
from detectors.ope.totals import GROUPS, Totals


@dataclass(frozen=True, slots=True)
class PerDecisionSnis:
    """sum_t gamma^t sum_i(W_it r_it) / sum_i W_it (Thomas & Brunskill 2016, section 3, weights of eq. 8).

    Episodes that have ended stay in the denominators with their last weight, as if they earned nothing from
    then on. horizon: steps kept apart; longer episodes are refused (ValueError).
    """

    horizon: int
    name: str = "per_decision_snis"
    needs_critic: bool = False

    def totals(self, episodes: Episodes, group: Ints) -> Totals:
        if episodes.count and int(episodes.length.max()) > self.horizon:
            raise ValueError(f"an episode is longer than the horizon of {self.horizon} steps")
        cell = group[episodes.owner] * self.horizon + episodes.step
        earned = self._table(cell, episodes.discount * episodes.weight * episodes.reward)
        alive = self._table(cell, episodes.weight)
        over = episodes.length < self.horizon
        ended = self._table((group * self.horizon + episodes.length)[over], episodes.final_weight[over])
        count = np.bincount(group, minlength=GROUPS).astype(np.float64)
        plain = np.zeros((GROUPS, 1))
        return Totals(count, np.concatenate([plain, earned, alive + ended.cumsum(axis=1)], axis=1))

    def weighted(self, episodes: Episodes) -> tuple[Floats, Floats]:
        return episodes.discount * episodes.weight, episodes.reward

    def _table(self, cell: Ints, values: Floats) -> Floats:
        """(groups, horizon) sums of values by cell."""
        sums = np.bincount(cell, weights=values, minlength=GROUPS * self.horizon)
        return sums.astype(np.float64).reshape(GROUPS, self.horizon)
