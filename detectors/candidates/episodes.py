"""A candidate's whole life where decisions have consequences: finished episodes of the policy that runs, kept current.

One row is an episode, estimated as `detectors.ope` estimates episodes (trajectory, per-decision and doubly robust),
withheld where the weights are gone before the return is in. Ends hold at every look (asymptotic_sequence.py), and so
does the evidence that the candidate is worse; both rest on the normal law, so they speak only where it is reliable.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan

from detectors.candidates.life import LifePlan
from detectors.candidates.sums import NAME
from detectors.candidates.words import COMPARISONS, TRUSTS, judged, odds
from detectors.measurement import Measurement, unknown
from detectors.ope import Estimate, Evaluation, Options, TrajectoryLog
from detectors.ope import Verdict as Trust
from detectors.ope.evaluation import CostEstimate
from detectors.ope.intervals.asymptotic_sequence import half_width, log_evidence
from detectors.ope.judge import standing_bench
from detectors.ope.sequential import observe as sequential
from detectors.ope.sequential.evaluate import evaluate_evidence
from detectors.ope.sequential.observe import TrajectoryEvidence
from detectors.ope.verdict import Finding, span
from detectors.windows.mean_shift import described


@dataclass(frozen=True, slots=True)
class EpisodeLife:
    """What all finished episodes say, and when the last one came."""

    evidence: TrajectoryEvidence
    seen_ms: int

    @property
    def n(self) -> int:
        """Episodes that count."""
        return self.evidence.episodes.n


def options_for(plan: LifePlan) -> Options:
    """How episodes are judged; steps are not kept apart, which would take 16 kB a step (Options.horizon)."""
    return Options(delta=plan.delta, costs=dict(plan.episode_budgets), horizon=0)


def begin(plan: LifePlan, now_ms: int) -> EpisodeLife:
    """Nothing seen yet."""
    return EpisodeLife(sequential.start(options_for(plan)), now_ms)


def fold(life: EpisodeLife, log: TrajectoryLog, end_ms: int, plan: LifePlan) -> EpisodeLife:
    """The life after more finished episodes; those that cannot be used are counted only."""
    evidence = sequential.observe(life.evidence, log, options_for(plan))
    return replace(life, evidence=evidence, seen_ms=end_ms)


def measurements(
    life: EpisodeLife, against: str, plan: LifePlan, doubts: Sequence[Finding] = ()
) -> list[Measurement]:
    """Where the candidate stands against the policy that ran (`against`), and each of its costs against its budget.

    doubts: known of the candidate otherwise.
    """
    options = options_for(plan)
    found = evaluate_evidence(
        life.evidence, plan.discount, options, judge=standing_bench(options), known=doubts
    )
    said = [_difference(found, against, plan)]
    said += [_cost(found, name, cost, against, plan) for name, cost in sorted(found.costs.items())]
    said += [
        described(NAME, "ess", _ess(found), found.n, subject=against),
        described(NAME, "usable_steps", _number(found, "usable_steps"), found.n, subject=against),
        described(NAME, "trust", TRUSTS[found.verdict], found.n, f"{found.verdict}: {found.reason}", against),
        described(NAME, "comparison", COMPARISONS[found.comparison], found.n, str(found.comparison), against),
    ]
    value = found.estimates.get(found.primary)
    if isinstance(value, Estimate):
        said.append(replace(
            described(NAME, "value", value.value, found.n, found.primary, against), error=_error(value, found.n, plan)
        ))  # fmt: skip
        said += [
            described(NAME, end, number, found.n, subject=against)
            for end, number in (("lower", value.lower), ("upper", value.upper))
        ]
    return said


def _difference(found: Evaluation, against: str, plan: LifePlan) -> Measurement:
    n, difference = found.n, found.difference
    if n < plan.min_samples:
        return unknown(
            NAME, "difference", n, f"{n} finished episodes, {plan.min_samples} are needed", against
        )
    if found.verdict is not Trust.RELIABLE or not isinstance(difference, Estimate):
        value = difference.value if isinstance(difference, Estimate) else nan
        return unknown(NAME, "difference", n, found.reason, against, value)
    evidence = _evidence(-difference.value, difference, n, plan)
    incumbent = f" beside {found.incumbent.value:.4g}" if isinstance(found.incumbent, Estimate) else ""
    reason = (
        f"on {n} episodes of {against} (effective {_ess(found):.0f}, {found.primary}) the candidate returns"
        f" {difference.value:+.4g} ({difference.lower:+.4g} to {difference.upper:+.4g}){incumbent}"
        f" (evidence that it is worse 1 in {odds(evidence)}, the bar is 1 in {odds(plan.bar)})"
    )
    return judged("difference", against, difference.value, 0.0, n, evidence, plan.bar, reason)


def _cost(found: Evaluation, name: str, cost: CostEstimate, against: str, plan: LifePlan) -> Measurement:
    """Breach where a budget is broken with confidence; unknown while that it is kept cannot be said."""
    n, subject, estimate = found.n, f"{against}/{name}", cost.estimate
    budget = plan.episode_budgets[name]
    if n < plan.min_samples:
        return unknown(NAME, "cost", n, f"{n} finished episodes, {plan.min_samples} are needed", subject)
    if not isinstance(estimate, Estimate):
        return unknown(NAME, "cost", n, estimate.reason, subject)
    evidence = _evidence(estimate.value - budget.budget, estimate, n, plan)
    reason = (
        f"{name} costs {span(estimate)} per {budget.per} against a budget of {budget.budget:.4g}"
        f" (evidence 1 in {odds(evidence)}, the bar is 1 in {odds(plan.bar)})"
    )
    trusted = found.verdict is Trust.RELIABLE
    if not trusted or (evidence < plan.bar and cost.refused):
        refused = "that it keeps its budget cannot be said yet" if trusted else found.reason
        return unknown(NAME, "cost", n, f"{reason}; {refused}", subject, estimate.value)
    return judged("cost", subject, estimate.value, budget.budget, n, evidence, plan.bar, reason)


def _evidence(excess: float, estimate: Estimate, n: int, plan: LifePlan) -> float:
    """Log of the wealth bet on an excess above 0, the estimate's own error taken; 0 where there is none."""
    if excess <= 0:
        return 0.0
    return max(log_evidence(excess, _error(estimate, n, plan), n, plan.delta), 0.0)


def _error(estimate: Estimate, n: int, plan: LifePlan) -> float:
    """The standard error behind an interval that holds at every look."""
    return (estimate.upper - estimate.lower) / 2 / half_width(1.0, n, plan.delta)


def _ess(found: Evaluation) -> float:
    """Of whole episodes, or of their discounted steps, on whichever the estimate rests."""
    name = "trajectory_ess" if found.primary.startswith("trajectory") else "discounted_ess"
    return _number(found, name)


def _number(found: Evaluation, name: str) -> float:
    value = found.diagnostics.get(name)
    return float(value) if isinstance(value, int | float) and isfinite(value) else nan
