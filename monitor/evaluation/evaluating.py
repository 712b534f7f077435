"""`evaluate`: logged decisions and rewards as the columns that off-policy evaluation reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from detectors.arrays import F64, I64, Bool
from detectors.ope import (
    BanditLog,
    CostBudget,
    Estimate,
    Evaluation,
    Options,
    Outcome,
    TrajectoryLog,
    Verdict,
    evaluate,
)
from monitor.assembly import build_gathering_core, build_pipeline, vocabulary_for
from monitor.batch import DONE, DecisionBatch, RewardBatch
from monitor.config import Config, DeploymentConfig
from monitor.decoding.decode import decode
from monitor.evaluation.candidate_views import Logged, Shadowed, View, shadowed
from monitor.evaluation.evaluated_columns import columns_of, has_steps, weights_of
from monitor.frames import concat, take
from monitor.joins.join import JoinTable, NewDecisions
from monitor.source import Log
from monitor.vocabulary import Vocabulary

NEVER_MS = 1 << 60  # every reward of the files counts: they are the whole story
EXECUTED = ("full", "canary", "fallback")  # what a shadow chose was not done
SHADOW, LIVE = "shadow", ("full", "canary")
FEWEST_LIVE = 30
NO_LIMITS = Options()


class NoCandidate(Exception):
    """The events hold nothing about this candidate; not retriable."""


@dataclass(slots=True)
class Gathered:
    """Decisions of one deployment that the candidate knows, those that it made itself, and all rewards.

    shadows: its decisions in the shadow of what ran; unnamed: what ran without naming it, which these may speak of.
    """

    vocabulary: Vocabulary
    decisions: list[DecisionBatch] = field(default_factory=list)
    live: list[DecisionBatch] = field(default_factory=list)
    shadows: list[DecisionBatch] = field(default_factory=list)
    unnamed: list[DecisionBatch] = field(default_factory=list)
    rewards: list[RewardBatch] = field(default_factory=list)
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """The evaluation, the importance weights (n,) behind it, and what came of it where the candidate ran in the log."""

    evaluation: Evaluation
    weights: F64
    outcome: Outcome | None = None


def evaluate_log(
    config: Config,
    name: str,
    candidate: str,
    log: Log,
    view: View | None = None,
    limits: Options = NO_LIMITS,
) -> Found:
    """What the candidate would have earned and cost on the decisions of this log that it knows.

    view: where it is learnt what the candidate would have done, by default from the log itself: from the decisions that
    name it, else from those that it made in their shadow. limits: margin and floor of the tail.
    """
    gathered = _gather(config, name, candidate, log, view or Logged(candidate))
    if view is None and not gathered.decisions:
        view = _heard(gathered)
    columns, options = _columns(config, name, candidate, gathered, view or Logged(candidate))
    evaluation = evaluate(columns, replace(options, margin=limits.margin, cvar_floor=limits.cvar_floor))
    outcome = _outcome(config.deployments[name], gathered, evaluation, options.delta)
    return Found(evaluation, weights_of(columns), outcome)


def _columns(
    config: Config, name: str, candidate: str, gathered: Gathered, view: View
) -> tuple[BanditLog | TrajectoryLog, Options]:
    """The columns of the decisions that the candidate knows, and how it is to be judged."""
    deployment = config.deployments[name]
    if not gathered.decisions:
        raise NoCandidate(f"candidate {candidate!r}: {_nothing_known(gathered, name, view)}")
    decisions = _ordered(gathered.decisions)
    fresh, rewards, costs, done = _outcomes(deployment, decisions, gathered.rewards)
    decisions = take(decisions, fresh)
    budgets = {
        cost: CostBudget(b.budget, b.per, b.gamma) for cost, b in deployment.costs.items() if cost in costs
    }
    given = deployment.reward_range
    bandit = not has_steps(decisions)
    options = Options(
        candidate=candidate, costs=budgets, reward_range=(given[0], given[1]) if given and bandit else None
    )
    code = gathered.vocabulary.deployments.codes[name]
    seen = view.of(decisions, gathered.vocabulary.action_labels(code).names)
    policies = gathered.vocabulary.policies.names
    return columns_of(deployment, decisions, seen, rewards, costs, done, policies), options


def _gather(config: Config, name: str, candidate: str, log: Log, view: View) -> Gathered:
    vocabulary = vocabulary_for(config, {})
    core, _ = build_gathering_core(config, name, vocabulary)
    settings = build_pipeline(config, core, vocabulary).settings
    code = vocabulary.deployments.codes[name]
    gathered = Gathered(vocabulary)
    for partition in log.open():
        while (records := log.read(partition)) is not None:
            batch, rejected = decode(
                partition, records.offsets, records.payloads, records.kind, vocabulary, settings
            )
            gathered.rejected += len(rejected)
            gathered.rewards.append(batch.rewards)
            mine = batch.decisions.get(code)
            if mine is not None:
                _sort_out(gathered, mine, candidate, view)
    return gathered


def _sort_out(gathered: Gathered, mine: DecisionBatch, candidate: str, view: View) -> None:
    policies, stages = gathered.vocabulary.policies.codes, gathered.vocabulary.stages.codes
    done = np.isin(mine.stage, [stages[stage] for stage in EXECUTED])
    own = done & (mine.policy == policies.get(candidate, -1))
    known = done & ~own & view.knows(mine)
    if isinstance(view, Logged):
        shadow = (mine.stage == stages[SHADOW]) & (mine.policy == policies.get(candidate, -1))
        gathered.shadows += [take(mine, shadow)] if shadow.any() else []
        gathered.unnamed += [take(mine, done & ~own & ~known)]
    live = take(mine, own & np.isin(mine.stage, [stages[stage] for stage in LIVE]))
    gathered.decisions += [take(mine, known)] if known.any() else []
    gathered.live += [live] if len(live) else []


def _heard(gathered: Gathered) -> Shadowed | None:
    """What the candidate's decisions in the shadow say of what ran, whose decisions are then those it knows."""
    if not gathered.shadows or not gathered.unnamed:
        return None
    view, served = shadowed(concat(gathered.shadows)), concat(gathered.unnamed)
    known = take(served, view.knows(served))
    gathered.decisions = [known] if len(known) else []
    return view


def _nothing_known(gathered: Gathered, name: str, view: View) -> str:
    if gathered.shadows:
        return (
            "none of its decisions in the shadow shares its situation (episode and step, else unit and ts) with just"
            f" one that {name} served"
        )
    where = "names it under `candidates`" if isinstance(view, Logged) else "is known to it"
    return f"no decision of {name} {where}"


def _ordered(parts: Sequence[DecisionBatch]) -> DecisionBatch:
    decisions = concat(parts)
    return take(decisions, np.lexsort((decisions.id, decisions.ts_ms)))


def _outcome(
    deployment: DeploymentConfig, gathered: Gathered, evaluation: Evaluation, delta: float
) -> Outcome | None:
    """The prediction beside what the candidate earned where it ran itself; None where either is missing."""
    predicted = evaluation.estimates.get(evaluation.primary)
    if not gathered.live or not isinstance(predicted, Estimate) or evaluation.verdict is not Verdict.RELIABLE:
        return None
    decisions = _ordered(gathered.live)
    if has_steps(decisions):
        return None  # a return is no mean of single rewards
    _, reward, _, _ = _outcomes(deployment, decisions, gathered.rewards)
    reward = reward[np.isfinite(reward)]
    if len(reward) < FEWEST_LIVE:
        return None
    error = float(reward.std(ddof=1) / np.sqrt(len(reward)))
    return Outcome(evaluation.candidate, predicted, delta, float(reward.mean()), error)


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
                decisions.action, decisions.unit, decisions.episode, np.arange(n), np.zeros(n, np.uint64),
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
