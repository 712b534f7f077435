"""The one entry: a log of columns in, an evaluation out."""

from dataclasses import replace

import numpy as np

from detectors.ope import evidence as sums
from detectors.ope.bandit.evaluate import evaluate_evidence as evaluate_decisions
from detectors.ope.bandit.observe import observe as observe_decisions
from detectors.ope.bandit.observe import weights_of_log
from detectors.ope.columns import BanditLog, Floats, Ints, TrajectoryLog, check_shapes, take, usable_rows
from detectors.ope.evaluation import Evaluation
from detectors.ope.intervals.bootstrap_t import resample_counts
from detectors.ope.intervals.interval import Withheld
from detectors.ope.loggers import logger_shares
from detectors.ope.options import Options
from detectors.ope.propensities import with_propensities
from detectors.ope.reward_model import with_reward_model
from detectors.ope.sequential import observe as sequential
from detectors.ope.sequential.episodes import Episodes, episodes_of
from detectors.ope.sequential.evaluate import evaluate_evidence as evaluate_episodes
from detectors.ope.sequential.fqe_evaluation import FqeResult, evaluate_fqe, transitions_of
from detectors.ope.tail import tail_mean, tail_quantile
from detectors.ope.totals import groups_of
from detectors.ope.verdict import Estimate

WIDER = 1.5  # intervals where propensities are estimates themselves


def evaluate(log: BanditLog | TrajectoryLog, options: Options) -> Evaluation:
    """What the candidate of this log would have earned and cost, and whether that is to be believed.

    Raises ValueError where columns do not fit together; everything else that is wrong with a log is said in
    the evaluation. The same log and options give the same evaluation, to the bit.
    """
    check_shapes(log)
    return _bandit(log, options) if isinstance(log, BanditLog) else _trajectories(log, options)


def _bandit(log: BanditLog, options: Options) -> Evaluation:
    log, findings = with_propensities(log, options)
    options = replace(options, widening=options.widening * WIDER) if findings else options
    if log.q is None and log.candidate_probs is not None:
        log = with_reward_model(log, options.folds, options.ridge)
    usable = usable_rows(log)
    if (
        options.logger_shares is None
        and log.logger_propensities is not None
        and log.logging_policy is not None
    ):
        shares = logger_shares(log.logging_policy[usable], log.logger_propensities.shape[1])
        options = replace(options, logger_shares=shares)
    options, source = _with_range(options, log.reward[usable])
    evidence = observe_decisions(sums.start(options), log, options)
    evaluation = evaluate_decisions(evidence, options, findings)
    tail = _tail(take(log, usable), options, evaluation)
    return replace(
        evaluation,
        diagnostics={**evaluation.diagnostics, "reward_range": source},
        tail=tail,
        tail_refused=_below(tail["cvar"], options.cvar_floor),
    )


def _trajectories(log: TrajectoryLog, options: Options) -> Evaluation:
    found = episodes_of(log)
    options, source = _with_range(options, found.returns)
    options = replace(options, horizon=min(options.horizon, int(found.length.max(initial=1))))
    fqe = _fqe(found, options)
    if fqe is not None and log.q is None and fqe.q is not None:
        found = replace(episodes_of(replace(found.log, q=fqe.q, v=fqe.v)), dropped=found.dropped)
    evidence = sequential.observe_episodes(sequential.start(options), found, options)
    evaluation = evaluate_episodes(evidence, log.gamma, options, fqe)
    tail = _tail_of_returns(found, options, evaluation)
    return replace(
        evaluation,
        diagnostics={**evaluation.diagnostics, "reward_range": source},
        tail=tail,
        tail_refused=_below(tail["cvar"], options.cvar_floor),
    )


def _fqe(found: Episodes, options: Options) -> FqeResult | None:
    data = transitions_of(found)
    return None if data is None else evaluate_fqe(data, found, options)


def _with_range(options: Options, seen: np.typing.NDArray[np.float64]) -> tuple[Options, str]:
    """Options with a range of rewards, and where it comes from: finite-sample bounds rest on it."""
    if options.reward_range is not None or not len(seen):
        return options, "as given" if options.reward_range else "unknown"
    return replace(options, reward_range=(float(seen.min()), float(seen.max()))), "as seen"


def _below(cvar: Estimate | Withheld, floor: float | None) -> bool:
    """Whether the tail may be worse than its floor; what cannot be told may."""
    return floor is not None and (isinstance(cvar, Withheld) or cvar.lower < floor)


def _tail(log: BanditLog, options: Options, evaluation: Evaluation) -> dict[str, Estimate | Withheld]:
    estimate = evaluation.estimates.get("snips", Withheld("no decision can be used"))
    if isinstance(estimate, Withheld):
        return {"quantile": estimate, "cvar": estimate}
    return _tails(weights_of_log(log, options), log.reward, groups_of(log.unit, len(log), 0), options)


def _tail_of_returns(
    found: Episodes, options: Options, evaluation: Evaluation
) -> dict[str, Estimate | Withheld]:
    """Of whole episodes: no weight of fewer steps tells how the candidate's returns are spread."""
    estimate = evaluation.estimates.get("trajectory_wis", Withheld("no episode can be used"))
    if isinstance(estimate, Withheld):
        return {"quantile": estimate, "cvar": estimate}
    return _tails(found.final_weight, found.returns, groups_of(found.unit, found.count, 0), options)


def _tails(weight: Floats, reward: Floats, group: Ints, options: Options) -> dict[str, Estimate | Withheld]:
    rng = np.random.default_rng(options.seed)
    filled = int(np.count_nonzero(np.bincount(group)))
    counts = resample_counts(filled, rng, options.resamples)
    order = np.argsort(reward, kind="stable")
    columns = weight[order], reward[order], group[order]
    return {
        "quantile": tail_quantile(*columns, options.tail, options.delta),
        "cvar": tail_mean(*columns, options.tail, options.delta, counts),
    }
