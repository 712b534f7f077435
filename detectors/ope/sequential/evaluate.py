"""The evaluation of a candidate from the evidence of a log of episodes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from detectors.ope.bandit.evaluate import MOST_UNUSABLE
from detectors.ope.calibration import worst_action
from detectors.ope.evaluation import CostEstimate, Evaluation, Number
from detectors.ope.functional import value_of
from detectors.ope.intervals.interval import Withheld
from detectors.ope.judge import (
    Bench,
    bench,
    cost_estimates,
    difference_sequence,
    finite_sample_bounds,
    likelihood_interval,
    within,
)
from detectors.ope.options import Options
from detectors.ope.sequential.fqe_evaluation import FqeResult
from detectors.ope.sequential.observe import TrajectoryEvidence
from detectors.ope.spread import stretch
from detectors.ope.trust import doubts, mean_doubts
from detectors.ope.verdict import (
    Comparison,
    Estimate,
    Finding,
    Verdict,
    compare,
    disagreement,
    more_data,
    span,
    verdict_of,
)

ORDER = ("per_decision_dr", "per_decision_snis", "trajectory_wis", "per_decision_is", "trajectory_is")
MOST_BEYOND = 0.05  # of the discounted steps may lie where weights are gone
MOST_CUT = 0.05  # of the episodes may lack their end


def evaluate_evidence(
    evidence: TrajectoryEvidence,
    gamma: float,
    options: Options,
    fqe: FqeResult | None = None,
    judge: Bench | None = None,
    known: Sequence[Finding] = (),
) -> Evaluation:
    """gamma: of the return. fqe: the model's own estimate, where one was fitted; it never stands alone.

    judge: of intervals, by default at one look. known: doubts from elsewhere.
    """
    sums = evidence.episodes
    judge = judge or bench(sums, options)
    estimates = _estimates(evidence, gamma, judge)
    if fqe is not None:
        estimates["fqe"] = _checked(fqe.estimate, estimates.get("per_decision_dr"))
    primary = _primary(estimates, sums.weights.ess >= options.min_ess)
    verdict, why = verdict_of([*_findings(evidence, estimates, primary, options), *known])
    incumbent = judge.widened(sums.reward, 1.0) if sums.n else Withheld("no episode")
    difference = _difference(evidence, primary, estimates, judge)
    comparison = compare(difference, options.margin, verdict)
    more = more_data(difference, options.margin, sums.n) if comparison is Comparison.CANNOT_TELL else 0
    bounds = finite_sample_bounds(sums, options)
    bounds["difference_sequence"] = difference_sequence(sums, options)
    if judge.counts is not None and isinstance(estimates.get(primary), Estimate):
        bounds["bootstrap_t"] = estimates[primary]
        bounds["empirical_likelihood"] = likelihood_interval(sums.statistics[primary], options)
    return Evaluation(
        options.candidate,
        sums.n,
        verdict,
        comparison,
        why or _settled(comparison, estimates[primary], incumbent, more, sums.n),
        primary,
        estimates,
        incumbent,
        difference,
        more,
        _diagnostics(evidence, gamma, options) | (fqe.diagnostics if fqe else {}),
        _costs(evidence, estimates.get(primary), judge, verdict),
        bounds,
        anytime=compare(bounds["difference_sequence"], options.margin, verdict),
    )


def _estimates(evidence: TrajectoryEvidence, gamma: float, judge: Bench) -> dict[str, Estimate | Withheld]:
    """Every estimate that passes the horizon guard.

    Whole-trajectory estimates need episodes that still weigh something at their end, per-decision ones need
    them for all but a small part of the discounted steps.
    """
    sums, options = evidence.episodes, judge.options
    whole = sums.weights
    usable = evidence.steps.usable(options.least_ess)
    beyond = evidence.steps.mass_beyond(usable, gamma)
    estimates: dict[str, Estimate | Withheld] = {}
    for name, statistic in sums.statistics.items():
        if name.startswith("trajectory") and whole.ess < options.least_ess:
            reason = f"the effective sample size is {whole.ess:.1f} of {sums.n} episodes"
            estimates[name] = Withheld(reason)
        elif name.startswith("per_decision") and beyond > MOST_BEYOND:
            reason = f"weights are gone after {usable} steps, with {beyond:.0%} of the return still to come"
            estimates[name] = Withheld(reason)
        else:
            estimates[name] = judge.estimate(statistic)
    return estimates


def _primary(estimates: Mapping[str, Estimate | Withheld], whole: bool) -> str:
    """The first of ORDER that is published; whole: whether weights of whole episodes are enough to rely on.

    Where they are not, a per-decision estimate goes before them: its weights are those of fewer steps.
    """
    published = [name for name in ORDER if isinstance(estimates.get(name), Estimate)]
    if not whole:
        published.sort(key=lambda name: name.startswith("trajectory"))
    return published[0] if published else "per_decision_is"


def _checked(fqe: Estimate | Withheld, dr: Estimate | Withheld | None) -> Estimate | Withheld:
    """FQE with the error of its form as far as weights can show it: the interval holds that of DR as well.

    Without DR the interval is that of sampling alone, and the verdict is not `reliable`.
    """
    return within(fqe, dr.interval) if isinstance(dr, Estimate) else fqe


def _difference(
    evidence: TrajectoryEvidence, primary: str, estimates: dict[str, Estimate | Withheld], judge: Bench
) -> Estimate | Withheld:
    """Candidate minus incumbent on the same episodes."""
    estimate = estimates.get(primary, Withheld("no episode"))
    if isinstance(estimate, Withheld):
        return estimate
    statistic = evidence.episodes.statistics[primary]
    paired = statistic.totals.minus_mean(evidence.episodes.reward)
    return judge.widened(paired, stretch(statistic.totals, statistic.spread))


def _costs(
    evidence: TrajectoryEvidence, main: Estimate | Withheld | None, judge: Bench, verdict: Verdict
) -> dict[str, CostEstimate]:
    """Costs hang on the same weights as the return: withheld, and refused, where that is."""
    sums = evidence.episodes
    costs = cost_estimates(sums.costs, sums.weights.ess, judge, verdict is Verdict.RELIABLE)
    if isinstance(main, Estimate):
        return costs
    why = main or Withheld("no episode can be used")
    return {name: replace(cost, estimate=why) for name, cost in costs.items()}


def _findings(
    evidence: TrajectoryEvidence,
    estimates: dict[str, Estimate | Withheld],
    primary: str,
    options: Options,
) -> list[Finding]:
    sums = evidence.episodes
    found = []
    main = estimates.get(primary)
    if not isinstance(main, Estimate):
        found.append(Finding(Verdict.UNRELIABLE, main.reason if main else "no episode can be used"))
    found += [*doubts(evidence.decisions, options, "decisions"), *mean_doubts(evidence.decisions)]
    if primary.startswith("trajectory"):
        found += doubts(sums.weights, options, "episodes")
    else:
        found += doubts(evidence.discounted, options, "episodes")
    if sums.seen and sums.n < sums.seen * (1 - MOST_UNUSABLE):
        sentence = f"{sums.seen - sums.n} of {sums.seen} episodes have gaps or unusable steps"
        found.append(Finding(Verdict.UNRELIABLE, sentence))
    if evidence.cut > sums.n * MOST_CUT:
        sentence = f"{evidence.cut} of {sums.n} episodes are cut off, with no critic to stand for their rest"
        found.append(Finding(Verdict.UNRELIABLE, sentence))
    if fault := worst_action(sums.calibration):
        sentence = f"action {fault[0]} was taken {fault[1]:.2f} times as often as its propensities say"
        found.append(Finding(Verdict.UNRELIABLE, sentence))
    if contradiction := disagreement(estimates, ORDER):
        found.append(contradiction)
    return found


def _settled(
    comparison: Comparison,
    estimate: Estimate | Withheld,
    incumbent: Estimate | Withheld,
    more: int | None,
    n: int,
) -> str:
    """The sentence of a reliable evaluation."""
    if not isinstance(estimate, Estimate) or not isinstance(incumbent, Estimate):
        return "nothing to compare"
    figures = f"{n} episodes put the candidate at {span(estimate)} and the incumbent at {span(incumbent)}"
    if comparison is not Comparison.CANNOT_TELL:
        return f"{figures}: the candidate is {comparison}"
    if more is None:
        return f"{figures}: no difference beyond the margin that more data would settle"
    return f"{figures}: cannot tell them apart; about {more} more episodes would"


def _diagnostics(evidence: TrajectoryEvidence, gamma: float, options: Options) -> dict[str, Number]:
    """`ess` is per decision, `trajectory_ess` per episode: the first hides the collapse of the second."""
    sums, decisions, steps = evidence.episodes, evidence.decisions, evidence.steps
    usable = steps.usable(options.least_ess)
    return {
        "ess": decisions.ess,
        "ess_ratio": decisions.ess / decisions.n if decisions.n else 0.0,
        "trajectory_ess": sums.weights.ess,
        "discounted_ess": evidence.discounted.ess,
        "episodes": sums.n,
        "max_weight": decisions.max,
        "mean_weight": decisions.mean,
        "mean_weight_z": decisions.mean_z,
        "max_trajectory_weight": sums.weights.max,
        "max_trajectory_weight_share": sums.weights.largest_share,
        "mean_trajectory_weight": sums.weights.mean,
        "support_overlap": 1 - decisions.zeros / decisions.n if decisions.n else 0.0,
        "steps": len(steps.alive),
        "usable_steps": usable,
        "return_beyond_usable": steps.mass_beyond(usable, gamma),
        "unusable": sums.seen - sums.n,
        "cut": evidence.cut,
        "incumbent_value": value_of(sums.reward) if sums.n else None,
    }
