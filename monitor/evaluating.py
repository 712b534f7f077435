"""`evaluate`: logged decisions and rewards as the columns that off-policy evaluation reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from detectors.arrays import F64, I64, U64, Bool
from detectors.ope import BanditLog, CostBudget, Evaluation, Options, TrajectoryLog, evaluate
from detectors.ope.columns import usable_rows
from monitor.assembly import build_gathering_core, build_pipeline, vocabulary_for
from monitor.batch import DONE, DecisionBatch, RewardBatch
from monitor.config import Config, DeploymentConfig
from monitor.decoding.decode import decode
from monitor.frames import concat, take
from monitor.joins.join import JoinTable, NewDecisions
from monitor.source import Log

NEVER_MS = 1 << 60  # every reward of the files counts: they are the whole story


class NoCandidate(Exception):
    """The events hold nothing about this candidate; not retriable."""


@dataclass(slots=True)
class Gathered:
    """Decisions of one deployment that say something of the candidate, and all rewards."""

    decisions: list[DecisionBatch] = field(default_factory=list)
    rewards: list[RewardBatch] = field(default_factory=list)
    rejected: int = 0


def evaluate_log(config: Config, name: str, candidate: str, log: Log) -> tuple[Evaluation, F64]:
    """What the candidate would have earned and cost on the decisions of this log that name it, and their weights."""
    columns, options = logged(config, name, candidate, log)
    usable = usable_rows(columns)
    return evaluate(columns, options), columns.p[usable] / columns.propensity[usable]


def logged(config: Config, name: str, candidate: str, log: Log) -> tuple[BanditLog | TrajectoryLog, Options]:
    """The columns of the decisions that name the candidate, and how it is to be judged."""
    deployment = config.deployments[name]
    gathered = _gather(config, name, candidate, log)
    if not gathered.decisions:
        raise NoCandidate(f"no decision of {name} names the candidate {candidate!r} under `candidates`")
    decisions = concat(gathered.decisions)
    order = np.lexsort((decisions.id, decisions.ts_ms))
    decisions = take(decisions, order)
    fresh, rewards, costs, done = _outcomes(deployment, decisions, gathered.rewards)
    decisions = take(decisions, fresh)
    budgets = {
        cost: CostBudget(b.budget, b.per, b.gamma) for cost, b in deployment.costs.items() if cost in costs
    }
    options = Options(candidate=candidate, costs=budgets)
    return _log(deployment, decisions, candidate, rewards, costs, done), options


def _gather(config: Config, name: str, candidate: str, log: Log) -> Gathered:
    vocabulary = vocabulary_for(config, {})
    core, _ = build_gathering_core(config, name, vocabulary)
    settings = build_pipeline(config, core, vocabulary).settings
    code = vocabulary.deployments.codes[name]
    gathered = Gathered()
    for partition in log.open():
        while (records := log.read(partition)) is not None:
            batch, rejected = decode(
                partition, records.offsets, records.payloads, records.kind, vocabulary, settings
            )
            gathered.rejected += len(rejected)
            gathered.rewards.append(batch.rewards)
            mine = batch.decisions.get(code)
            if mine is not None and candidate in mine.candidates:
                named = ~np.isnan(mine.candidates[candidate][:, 0])
                gathered.decisions.append(take(mine, named))
    gathered.decisions = [table for table in gathered.decisions if len(table)]
    return gathered


def _outcomes(
    deployment: DeploymentConfig, decisions: DecisionBatch, rewards: Sequence[RewardBatch]
) -> tuple[I64, F64, dict[str, F64], Bool]:
    """Rows of distinct decisions, and per row its combined reward, its costs and whether its episode ended there."""
    n = len(decisions)
    table = JoinTable(NEVER_MS, deployment.combine)
    zeros = np.zeros(n, np.int64)
    fresh = np.flatnonzero(
        table.insert(
            NewDecisions(
                decisions.id, decisions.ts_ms, decisions.ts_ms, zeros.astype(np.int32), decisions.value,
                decisions.action, decisions.unit, decisions.episode, np.arange(n),
            )
        )
    )  # fmt: skip
    settled = table.settle(concat(rewards))
    row = settled.decisions.step  # the row number travelled in the column of the step
    reward: F64 = np.full(n, np.nan if deployment.missing_reward == "ignore" else 0.0)
    reward[row] = settled.reward
    done = np.zeros(n, np.bool_)
    done[row] = (settled.flags & DONE) > 0
    costs = {cost: column.copy() for cost, column in decisions.costs.items()}
    for cost, (_, after) in settled.costs.items():
        costs.setdefault(cost, np.full(n, np.nan))[row] = after
    return fresh, reward[fresh], {cost: column[fresh] for cost, column in costs.items()}, done[fresh]


def _log(
    deployment: DeploymentConfig,
    decisions: DecisionBatch,
    candidate: str,
    reward: F64,
    costs: dict[str, F64],
    done: Bool,
) -> BanditLog | TrajectoryLog:
    """Episodes of several steps are judged as trajectories: per-decision weights would hide that they collapse."""
    p, q, v = decisions.candidates[candidate].T
    known = not (np.isnan(q).any() or np.isnan(v).any())
    shared = {"reward": reward, "propensity": decisions.propensity, "p": p, "costs": costs}
    if known:
        shared |= {"q": q, "v": v}
    unit = _unit(decisions.unit)
    if (decisions.step > 0).any() and (decisions.episode != 0).any():
        return TrajectoryLog(
            episode=_codes(decisions.episode), step=decisions.step, gamma=deployment.gamma or 1.0, unit=unit,
            ended=done, **shared,
        )  # fmt: skip
    return BanditLog(unit=unit, logging_policy=decisions.policy.astype(np.int64), **shared)


def _unit(unit: U64) -> I64 | None:
    return _codes(unit) if (unit != 0).all() else None


def _codes(values: U64) -> I64:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)
