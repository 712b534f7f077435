"""What is said of a candidate at a seal: where it stands, whether it is worse, whether it keeps its budgets."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np

from detectors.arrays import F64
from detectors.candidates import sums
from detectors.candidates.estimates import (
    difference_bounds,
    estimate,
    incumbent,
    standard_error,
    trust_in,
    weights_of,
)
from detectors.candidates.life import Life, LifePlan
from detectors.candidates.sums import NAME
from detectors.candidates.words import COMPARISONS, TRUSTS, judged, odds
from detectors.inference.evidence import SHARES
from detectors.measurement import Measurement, Verdict, unknown
from detectors.ope.intervals.asymptotic_sequence import half_width
from detectors.ope.judge import never_seen
from detectors.ope.trust import mean_doubts
from detectors.ope.verdict import Estimate, Finding, compare, span
from detectors.ope.verdict import Verdict as Trust
from detectors.ope.weights import Weights
from detectors.windows.mean_shift import described


def measurements(
    life: Life, against: str, plan: LifePlan, doubts: Sequence[Finding] = ()
) -> list[Measurement]:
    """Where the candidate stands against the policy that ran (`against`), and each of its costs against its budget.

    doubts: known of the candidate otherwise.
    """
    n = round(float(life.total.moments[sums.N]))
    weights, difference = weights_of(life), difference_bounds(life, plan)
    trust, why = trust_in(life, weights, doubts)
    wrong = next((finding.sentence for finding in mean_doubts(weights)), "")
    stand = _Stand(life, against, plan, weights, trust, why, wrong, difference)
    comparison = compare(difference, 0.0, trust)
    said = [
        _difference(stand),
        *(_cost(stand, i) for i in range(len(plan.budgets))),
        described(NAME, "ess", weights.ess, n, subject=against),
        described(NAME, "trust", TRUSTS[trust], n, f"{trust}: {why}" if why else str(trust), against),
        described(NAME, "comparison", COMPARISONS[comparison], n, str(comparison), against),
    ]
    found = estimate(life, plan)
    if found is not None:
        said += [
            Measurement(NAME, "value", against, found.value, n, Verdict.OK, error=standard_error(life)),
            described(NAME, "lower", found.lower, n, subject=against),
            described(NAME, "upper", found.upper, n, subject=against),
        ]
    return said


def withdrawn(n: int, against: str, plan: LifePlan) -> list[Measurement]:
    """A candidate that decisions do not name any more has nothing left to be held for; n: that did."""
    reason, costs = (
        "no decision names it any more",
        [*(name for name, _ in plan.budgets), *plan.episode_budgets],
    )
    tests = [("difference", against), *(("cost", f"{against}/{name}") for name in costs)]
    return [
        Measurement(NAME, statistic, subject, nan, n, Verdict.OK, 0.0, severity=0.0, reason=reason)
        for statistic, subject in tests
    ]


@dataclass(frozen=True, slots=True)
class _Stand:
    """A life and what has been made of it already. wrong: why its weights cannot be true, "" where they can."""

    life: Life
    against: str
    plan: LifePlan
    weights: Weights
    trust: Trust
    why: str
    wrong: str
    difference: Estimate | None


def _difference(stand: _Stand) -> Measurement:
    """Whether the candidate is clearly worse; the evidence holds for any weights, so only their mean is asked for."""
    moments, bounds, against, plan = stand.life.total.moments, stand.difference, stand.against, stand.plan
    n = round(float(moments[sums.N]))
    if n < plan.min_samples:
        return unknown(NAME, "difference", n, f"{n} decisions, {plan.min_samples} are needed", against)
    if bounds is None:
        return unknown(NAME, "difference", n, "the range of rewards is not known: set reward_range", against)
    if stand.wrong:
        return unknown(NAME, "difference", n, stand.wrong, against, bounds.value)
    evidence = _evidence(stand.life, 0)
    reason = (
        f"on {n} decisions of {against} (effective {stand.weights.ess:.0f}) the candidate earns {bounds.value:+.4g}"
        f" ({bounds.lower:+.4g} to {bounds.upper:+.4g}) beside {incumbent(moments):.4g}"
        f"{'; ' + stand.why if stand.why else ''} (evidence that it is worse 1 in {odds(evidence)}, the bar is 1 in"
        f" {odds(plan.bar)})"
    )
    return judged("difference", against, bounds.value, 0.0, n, evidence, plan.bar, reason)


def _cost(stand: _Stand, i: int) -> Measurement:
    """Breach where a budget is broken with confidence; unknown while that it is kept cannot be said."""
    life, plan, (name, budget) = stand.life, stand.plan, stand.plan.budgets[i]
    n, subject = round(float(life.total.moments[sums.N])), f"{stand.against}/{name}"
    if n < plan.min_samples or not life.total.moments[sums.W] > 0:
        return unknown(NAME, "cost", n, f"{n} decisions, {plan.min_samples} are needed", subject)
    found, evidence = _cost_estimate(stand, i), _evidence(life, 1 + i)
    reason = (
        f"{name} costs {span(found)} per decision against a budget of {budget:.4g}"
        f" (evidence 1 in {odds(evidence)}, the bar is 1 in {odds(plan.bar)})"
    )
    unsettled = found.upper > budget or stand.trust is not Trust.RELIABLE
    if stand.wrong or (evidence < plan.bar and unsettled):
        refused = stand.why or "that it keeps its budget cannot be said yet"
        return unknown(NAME, "cost", n, f"{reason}; {refused}", subject, found.value)
    return judged("cost", subject, found.value, budget, n, evidence, plan.bar, reason)


def _cost_estimate(stand: _Stand, i: int) -> Estimate:
    """Self-normalised, with ends that hold at every look; where none was seen, what may have been missed.

    That none came in so many decisions gets no likelier by looking before: the bound of one look holds at all.
    """
    m, spent, delta = stand.life.total.moments, stand.life.total.costs[i], stand.plan.delta
    mean = float(spent[0] / m[sums.W])
    if spent[3] == 0:
        bound = never_seen(1.0, stand.weights.ess, delta)
        return bound if isinstance(bound, Estimate) else Estimate(0.0, 0.0, 1.0)
    residual = max(float(spent[2] - 2 * mean * spent[1] + mean**2 * m[sums.W2]), 0.0)
    error = sqrt(residual * float(stand.life.inflation[1 + i])) / float(m[sums.W])
    half = half_width(error, float(m[sums.N]), delta)
    return Estimate(mean, mean - half, mean + half)


def _evidence(life: Life, test: int) -> float:
    """Log of the mixture over shares."""
    return _log_sum(life.evidence[test]) - float(np.log(len(SHARES)))


def _log_sum(logs: F64) -> float:
    """scipy's logsumexp at a tenth of its price."""
    top = float(logs.max())
    return top + float(np.log(np.exp(logs - top).sum())) if np.isfinite(top) else top
