"""The one entry: a log of columns in, an evaluation out."""

from dataclasses import replace

import numpy as np

from detectors.ope.bandit.evaluate import evaluate_evidence
from detectors.ope.bandit.observe import observe, weights_of_log
from detectors.ope.columns import BanditLog, check_shapes, take, usable_rows
from detectors.ope.evaluation import Evaluation
from detectors.ope.evidence import start
from detectors.ope.intervals.bootstrap_t import resample_counts
from detectors.ope.intervals.interval import Withheld
from detectors.ope.loggers import logger_shares
from detectors.ope.options import Options
from detectors.ope.tail import tail_mean, tail_quantile
from detectors.ope.totals import groups_of
from detectors.ope.verdict import Estimate


def evaluate_bandit(log: BanditLog, options: Options) -> Evaluation:
    """Raises ValueError where columns do not fit together; everything else is in the evaluation."""
    check_shapes(log)
    usable = usable_rows(log)
    if (
        options.logger_shares is None
        and log.logger_propensities is not None
        and log.logging_policy is not None
    ):
        shares = logger_shares(log.logging_policy[usable], log.logger_propensities.shape[1])
        options = replace(options, logger_shares=shares)
    assumed = options.reward_range is None
    if assumed and usable.any():
        seen = log.reward[usable]
        options = replace(options, reward_range=(float(seen.min()), float(seen.max())))
    evidence = observe(start(options), log, options)
    evaluation = evaluate_evidence(evidence, options)
    diagnostics = {**evaluation.diagnostics, "reward_range": "as seen" if assumed else "as given"}
    return replace(
        evaluation, diagnostics=diagnostics, tail=_tail(take(log, usable), evidence.n, options, evaluation)
    )


def _tail(log: BanditLog, n: int, options: Options, evaluation: Evaluation) -> dict[str, Estimate | Withheld]:
    estimate = evaluation.estimates.get("snips", Withheld("no decision"))
    if isinstance(estimate, Withheld):
        return {"quantile": estimate, "cvar": estimate}
    weight, group = weights_of_log(log, options), groups_of(log.unit, n, 0)
    filled = len(np.unique(group))
    counts = resample_counts(filled, np.random.default_rng(options.seed), options.resamples)
    return {
        "quantile": tail_quantile(weight, log.reward, group, options.tail, options.delta),
        "cvar": tail_mean(weight, log.reward, group, options.tail, options.delta, counts),
    }
