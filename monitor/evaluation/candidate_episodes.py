"""Finished episodes of what ran, as the columns that off-policy evaluation reads."""

from collections.abc import Mapping

import numpy as np

from detectors.arrays import F64, U64
from detectors.ope import CostBudget, TrajectoryLog
from detectors.ope.columns import Ints
from monitor.batch import DONE
from monitor.frames import take
from monitor.joins.candidates import Matured


def trajectories(
    rows: Matured, candidate: str, budgets: Mapping[str, CostBudget], discount: float, missing_is_zero: bool
) -> TrajectoryLog:
    """The episodes in which a candidate is named at all; rows: of one policy and stage. A cost not logged was 0."""
    named = ~np.isnan(rows.candidates[candidate][:, 0])
    rows = take(rows, np.isin(rows.episode, rows.episode[named]))
    p, q, v = rows.candidates[candidate].T
    critic = bool(np.isfinite(q).all() and np.isfinite(v).all())
    reward = np.where(np.isnan(rows.reward), 0.0, rows.reward) if missing_is_zero else rows.reward
    nothing: F64 = np.zeros(len(rows))
    return TrajectoryLog(
        episode=_codes(rows.episode),
        step=rows.step,
        reward=reward,
        propensity=rows.propensity,
        p=p,
        gamma=discount,
        q=q if critic else None,
        v=v if critic else None,
        unit=_codes(rows.unit) if (rows.unit != 0).all() else None,
        costs={name: np.nan_to_num(rows.costs.get(name, nothing)) for name in budgets},
        ended=(rows.flags & DONE) > 0,
    )


def _codes(values: U64) -> Ints:
    """The hashes themselves as signed numbers: a unit keeps its number from seal to seal."""
    return values.view(np.int64)
