"""From the columns of a bandit log to the evidence about one candidate."""

from dataclasses import replace

import numpy as np

from detectors.ope import totals
from detectors.ope.bandit.clipped import ClippedIs
from detectors.ope.bandit.estimator import Decisions, Statistic, summarise
from detectors.ope.bandit.registry import bandit_estimators
from detectors.ope.bandit.snips import Snips
from detectors.ope.bandit.switch_dr import SwitchDr
from detectors.ope.calibration import Calibration, calibration_of
from detectors.ope.columns import BanditLog, Floats, Ints, take, usable_rows
from detectors.ope.evidence import Evidence, with_bounds
from detectors.ope.loggers import mixture_propensity
from detectors.ope.options import Options
from detectors.ope.totals import Totals, totals_of
from detectors.ope.weights import weights_of

CHUNK = 32_768  # rows worked on at once: the columns of a chunk stay in cache


def observe(evidence: Evidence, log: BanditLog, options: Options) -> Evidence:
    """The evidence after the decisions of `log`, in order; rows that cannot be used are counted only."""
    for first in range(0, len(log), CHUNK):
        chunk = take(log, slice(first, first + CHUNK))
        usable = usable_rows(chunk)
        seen = len(chunk)
        if not usable.all():
            chunk = take(chunk, usable)
        evidence = _observe_usable(evidence, chunk, seen, options)
    return evidence


def weights_of_log(log: BanditLog, options: Options) -> Floats:
    """(n,) importance weight of each decision: against its own logger, or the mixture of all of them."""
    if log.logger_propensities is None or options.logger_shares is None:
        return log.p / log.propensity
    return log.p / mixture_propensity(log.logger_propensities, options.logger_shares)


def _observe_usable(evidence: Evidence, log: BanditLog, seen: int, options: Options) -> Evidence:
    if not len(log):
        return replace(evidence, seen=evidence.seen + seen)
    weight = weights_of_log(log, options)
    group = totals.groups_of(log.unit, len(log), evidence.n)
    decisions = Decisions(weight, log.reward, log.q, log.v)
    part = Evidence(
        seen,
        _statistics(decisions, group, options),
        _enclosing(decisions, group, options),
        totals_of(log.reward[None, :], group),
        {name: summarise(Snips(), Decisions(weight, cost), group) for name, cost in log.costs.items()},
        weights_of(weight),
        _calibration(log),
        None,
        None,
        None,
        log.unit is None,
    )
    return with_bounds(evidence + part, evidence, weight, log.reward, options)


def _statistics(decisions: Decisions, group: Ints, options: Options) -> dict[str, Statistic]:
    return {
        estimator.name: summarise(estimator, decisions, group)
        for estimator in bandit_estimators(options.clip, options.switch)
        if decisions.q is not None or not estimator.needs_critic
    }


def _enclosing(decisions: Decisions, group: Ints, options: Options) -> dict[str, tuple[Totals, Totals]]:
    if options.reward_range is None:
        return {}
    biased: list[ClippedIs | SwitchDr] = [ClippedIs(options.clip)]
    if decisions.q is not None:
        biased.append(SwitchDr(options.switch))
    ends = {estimator.name: estimator.enclosing(decisions, *options.reward_range) for estimator in biased}
    return {name: (totals_of(low, group), totals_of(high, group)) for name, (low, high) in ends.items()}


def _calibration(log: BanditLog) -> Calibration:
    if log.action is None:
        return Calibration(0.0, np.zeros(0), np.zeros(0))
    return calibration_of(log.action, log.propensity)
