"""From the columns of a log of episodes to the evidence about one candidate."""

from dataclasses import dataclass, replace

import numpy as np

from detectors.ope import evidence as sums
from detectors.ope.bandit.estimator import Statistic
from detectors.ope.calibration import Calibration, calibration_of
from detectors.ope.columns import Floats, Ints, TrajectoryLog
from detectors.ope.evidence import Evidence, with_bounds
from detectors.ope.options import CostBudget, Options
from detectors.ope.sequential.episodes import Episodes, episodes_of
from detectors.ope.sequential.estimator import SequentialEstimator, summarise
from detectors.ope.sequential.horizon import StepWeights, no_steps, step_weights
from detectors.ope.sequential.per_decision_dr import PerDecisionDr
from detectors.ope.sequential.per_decision_is import PerDecisionIs
from detectors.ope.sequential.per_decision_snis import PerDecisionSnis
from detectors.ope.sequential.trajectory_is import TrajectoryIs
from detectors.ope.sequential.trajectory_wis import TrajectoryWis
from detectors.ope.spread import spread_of
from detectors.ope.totals import groups_of, totals_of
from detectors.ope.weights import Weights, weights_of


@dataclass(frozen=True, slots=True)
class TrajectoryEvidence:
    """Sums over episodes, weights per step, and cut as in Episodes.

    decisions: single ratios. discounted: sum_t gamma^t W_t of each episode, on which per-decision estimates rest.
    """

    episodes: Evidence
    steps: StepWeights
    decisions: Weights
    discounted: Weights
    cut: int

    def __add__(self, other: "TrajectoryEvidence") -> "TrajectoryEvidence":
        return TrajectoryEvidence(
            self.episodes + other.episodes,
            self.steps + other.steps,
            self.decisions + other.decisions,
            self.discounted + other.discounted,
            self.cut + other.cut,
        )


def start(options: Options) -> TrajectoryEvidence:
    """Nothing seen yet."""
    return TrajectoryEvidence(
        sums.start(options), no_steps(), weights_of(np.zeros(0)), weights_of(np.zeros(0)), 0
    )


def sequential_estimators(horizon: int) -> tuple[SequentialEstimator, ...]:
    """Every sequential estimator of sums, in the order of a report."""
    return (TrajectoryIs(), TrajectoryWis(), PerDecisionIs(), PerDecisionSnis(horizon), PerDecisionDr())


def observe(evidence: TrajectoryEvidence, log: TrajectoryLog, options: Options) -> TrajectoryEvidence:
    """The evidence after the whole episodes of `log`; those that cannot be used are counted only."""
    return observe_episodes(evidence, episodes_of(log), options)


def observe_episodes(evidence: TrajectoryEvidence, found: Episodes, options: Options) -> TrajectoryEvidence:
    """The same, with the episodes at hand."""
    before = evidence.episodes
    if not found.count:
        return replace(evidence, episodes=replace(before, seen=before.seen + found.dropped))
    group = groups_of(found.unit, found.count, before.n)
    part = Evidence(
        found.count + found.dropped,
        _statistics(found, group, options),
        {},
        totals_of(found.returns[None, :], group),
        {name: _cost(found, cost, group, options.costs.get(name)) for name, cost in found.log.costs.items()},
        weights_of(found.final_weight),
        _calibration(found),
        None,
        None,
        None,
        found.unit is None,
    )
    merged = with_bounds(before + part, before, found.final_weight, found.returns, options)
    return TrajectoryEvidence(
        merged,
        evidence.steps + step_weights(found),
        evidence.decisions + weights_of(found.ratio),
        evidence.discounted + weights_of(found.sums(found.discount * found.weight)),
        evidence.cut + found.cut,
    )


def _statistics(found: Episodes, group: Ints, options: Options) -> dict[str, Statistic]:
    return {
        estimator.name: summarise(estimator, found, group)
        for estimator in sequential_estimators(options.horizon)
        if (found.q is not None or not estimator.needs_critic)
        and (estimator.name != "per_decision_snis" or found.length.max() <= options.horizon)
    }


def _cost(found: Episodes, cost: Floats, group: Ints, budget: CostBudget | None) -> Statistic:
    """Per decision: sum(W_t c_t) / sum(W_t) over all steps; per episode: mean of sum(gamma^t W_t c_t)."""
    spent = found.weight * cost
    if budget is None or budget.per == "decision":
        terms = np.stack([np.zeros(found.count), found.sums(spent), found.sums(found.weight)])
    else:
        terms = found.sums(budget.gamma ** found.step.astype(np.float64) * spent)[None, :]
    return Statistic(totals_of(terms, group), spread_of(found.weight, cost))


def _calibration(found: Episodes) -> Calibration:
    if found.log.action is None:
        return Calibration(0.0, np.zeros(0), np.zeros(0))
    return calibration_of(found.log.action, found.log.propensity)
