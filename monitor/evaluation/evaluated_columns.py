"""Logged decisions, and what a candidate says of them, as the columns that off-policy evaluation reads."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from detectors.arrays import F64, I64, U64, Bool
from detectors.ope import BanditLog, TrajectoryLog
from detectors.ope.columns import usable_rows
from detectors.ope.loggers import logger_shares, mixture_propensity
from monitor.batch import DecisionBatch
from monitor.config import DeploymentConfig
from monitor.evaluation.candidate_views import Seen


def columns_of(
    deployment: DeploymentConfig,
    decisions: DecisionBatch,
    seen: Seen,
    reward: F64,
    costs: dict[str, F64],
    done: Bool,
    policies: Sequence[str],
) -> BanditLog | TrajectoryLog:
    """Episodes of several steps are judged as trajectories: per-decision weights would hide that they collapse.

    policies: names by code.
    """
    shared: dict[str, Any] = {
        "reward": reward, "propensity": decisions.propensity, "p": seen.p, "costs": costs,
        "unit": _unit(decisions.unit),
    }  # fmt: skip
    if not (np.isnan(seen.q).any() or np.isnan(seen.v).any()):
        shared |= {"q": seen.q, "v": seen.v}
    if (decisions.action >= 0).all():
        shared |= {"action": decisions.action.astype(np.int64)}
    if decisions.state.shape[1] and np.isfinite(decisions.state).all():
        shared |= {"state": decisions.state}
    if seen.probs is not None:
        shared |= {"candidate_probs": seen.probs}
    if has_steps(decisions):
        return TrajectoryLog(
            episode=_codes(decisions.episode),
            step=decisions.step,
            gamma=deployment.gamma or 1.0,
            ended=done,
            **shared,
        )
    loggers = np.unique(decisions.policy)
    shared |= {"logging_policy": np.searchsorted(loggers, decisions.policy)}
    each = _of_each_logger(decisions, [policies[code] for code in loggers.tolist()])
    return BanditLog(logger_propensities=each, **shared)


def _of_each_logger(decisions: DecisionBatch, loggers: Sequence[str]) -> F64 | None:
    """(n, loggers) what each policy that wrote the log gives every action, None unless all of it was logged.

    Its own propensity, and what the decisions of others say of it under `candidates`: then weights are taken against
    the mixture of all (detectors/ope/loggers.py).
    """
    if len(loggers) < 2 or any(name not in decisions.candidates for name in loggers):
        return None
    place = np.unique(decisions.policy, return_inverse=True)[1]
    columns = [
        np.where(place == j, decisions.propensity, decisions.candidates[name][:, 0])
        for j, name in enumerate(loggers)
    ]
    each = np.stack(columns, axis=1)
    return each if np.isfinite(each).all() else None


def has_steps(decisions: DecisionBatch) -> bool:
    """Whether these are steps of episodes."""
    return bool((decisions.step > 0).any() and (decisions.episode != 0).any())


def _unit(unit: U64) -> I64 | None:
    return _codes(unit) if (unit != 0).all() else None


def _codes(values: U64) -> I64:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def weights_of(log: BanditLog | TrajectoryLog) -> F64:
    """Importance weights of the usable rows, against the mixture of all loggers where they are known."""
    usable, propensity = usable_rows(log), log.propensity
    if isinstance(log, BanditLog) and log.logger_propensities is not None and log.logging_policy is not None:
        shares = logger_shares(log.logging_policy[usable], log.logger_propensities.shape[1])
        propensity = mixture_propensity(log.logger_propensities, shares)
    return log.p[usable] / propensity[usable]
