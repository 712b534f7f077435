"""The evaluation of a candidate from the evidence of a bandit log."""

from detectors.ope.calibration import worst_action
from detectors.ope.evaluation import Evaluation, Number
from detectors.ope.evidence import Evidence
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

UNBIASED = ("ips", "snips", "dr", "sndr")
BIASED = ("clipped", "switch_dr", "dm")
MOST_UNUSABLE = 0.05


def evaluate_evidence(evidence: Evidence, options: Options, findings: tuple[Finding, ...] = ()) -> Evaluation:
    """findings: doubts that are known already, for instance about propensities that were estimated."""
    judge = bench(evidence, options)
    primary = "dr" if "dr" in evidence.statistics else "snips"
    estimates = _estimates(evidence, judge)
    known = [
        *doubts(evidence.weights, options, "decisions"),
        *mean_doubts(evidence.weights),
        *findings,
        *_own(evidence, estimates, primary),
    ]
    verdict, why = verdict_of(known)
    incumbent = judge.widened(evidence.reward, 1.0) if evidence.n else Withheld("no decision")
    difference = _difference(evidence, primary, estimates, judge)
    comparison = compare(difference, options.margin, verdict)
    more = more_data(difference, options.margin, evidence.n) if comparison is Comparison.CANNOT_TELL else 0
    costs = cost_estimates(evidence.costs, evidence.weights.ess, judge, verdict is Verdict.RELIABLE)
    bounds = finite_sample_bounds(evidence, options)
    bounds["difference_sequence"] = difference_sequence(evidence, options)
    if primary in evidence.statistics:
        bounds["bootstrap_t"] = estimates[primary]
        bounds["empirical_likelihood"] = likelihood_interval(evidence.statistics[primary], options)
    return Evaluation(
        options.candidate,
        evidence.n,
        verdict,
        comparison,
        why or _settled(comparison, estimates[primary], incumbent, more, evidence),
        primary,
        estimates,
        incumbent,
        difference,
        more,
        _diagnostics(evidence),
        costs,
        bounds,
        anytime=compare(bounds["difference_sequence"], options.margin, verdict),
    )


def _estimates(evidence: Evidence, judge: Bench) -> dict[str, Estimate | Withheld]:
    weights, least = evidence.weights, judge.options.least_ess
    gone = Withheld(f"the effective sample size is {weights.ess:.1f} of {evidence.n} decisions")
    estimates: dict[str, Estimate | Withheld] = {}
    for name, statistic in evidence.statistics.items():
        weighted = name not in BIASED
        estimates[name] = gone if weighted and weights.ess < least else judge.estimate(statistic)
    ips, snips, dr = (estimates.get(name) for name in ("ips", "snips", "dr"))
    for name, beside in (("clipped", snips), ("switch_dr", dr)):
        # The bias is what large weights carry; an unbiased interval shows how much, else the range of rewards.
        if name in estimates and isinstance(beside, Estimate):
            estimates[name] = within(estimates[name], beside.interval)
        elif name in estimates:
            estimates[name] = judge.enclosed(evidence.statistics[name], evidence.enclosing.get(name))
    if isinstance(ips, Estimate) and isinstance(snips, Estimate):
        # They part where the mean weight is not 1: large weights that are due have not come, or too many have.
        estimates["ips"] = within(ips, snips.interval)
    if "dm" in estimates:
        # The model's own bias is in no sampling error; DR's interval shows how large it can be.
        estimates["dm"] = within(estimates["dm"], dr.interval) if isinstance(dr, Estimate) else gone
    return estimates


def _difference(
    evidence: Evidence, primary: str, estimates: dict[str, Estimate | Withheld], judge: Bench
) -> Estimate | Withheld:
    """Candidate minus incumbent on the same decisions: what both share does not blur the comparison."""
    statistic, estimate = evidence.statistics.get(primary), estimates.get(primary)
    if statistic is None or estimate is None or isinstance(estimate, Withheld):
        return estimate if isinstance(estimate, Withheld) else Withheld("no decision")
    paired = statistic.totals.minus_mean(evidence.reward)
    return judge.widened(paired, stretch(statistic.totals, statistic.spread))


def _own(evidence: Evidence, estimates: dict[str, Estimate | Withheld], primary: str) -> list[Finding]:
    """Findings beyond the weights: what is missing, miscounted or in contradiction."""
    found = []
    if evidence.seen and evidence.n < evidence.seen * (1 - MOST_UNUSABLE):
        found.append(
            Finding(
                Verdict.UNRELIABLE,
                f"{evidence.seen - evidence.n} of {evidence.seen} decisions lack a reward, a propensity "
                "or the candidate's probability",
            )
        )
    if fault := worst_action(evidence.calibration):
        found.append(
            Finding(
                Verdict.UNRELIABLE,
                f"action {fault[0]} was taken {fault[1]:.2f} times as often as its propensities say",
            )
        )
    if contradiction := disagreement(estimates, UNBIASED):
        found.append(contradiction)
    main = estimates.get(primary)
    if isinstance(main, Withheld):
        found.append(Finding(Verdict.UNRELIABLE, main.reason))
    return found


def _settled(
    comparison: Comparison,
    estimate: Estimate | Withheld,
    incumbent: Estimate | Withheld,
    more: int | None,
    evidence: Evidence,
) -> str:
    """The sentence of a reliable evaluation."""
    if not isinstance(estimate, Estimate) or not isinstance(incumbent, Estimate):
        return "nothing to compare"
    figures = (
        f"{evidence.n} decisions (effective {evidence.weights.ess:.0f}) put the candidate at "
        f"{span(estimate)} and the incumbent at {span(incumbent)}"
    )
    if comparison is not Comparison.CANNOT_TELL:
        return f"{figures}: the candidate is {comparison}"
    if more is None:
        return f"{figures}: no difference beyond the margin that more data would settle"
    return f"{figures}: cannot tell them apart; about {more} more decisions would"


def _diagnostics(evidence: Evidence) -> dict[str, Number]:
    weights = evidence.weights
    return {
        "ess": weights.ess,
        "ess_ratio": weights.ess / weights.n if weights.n else 0.0,
        "max_weight": weights.max,
        "max_weight_share": weights.largest_share,
        "mean_weight": weights.mean,
        "mean_weight_z": weights.mean_z,
        "weight_tail": weights.tail,
        "support_overlap": 1 - weights.zeros / weights.n if weights.n else 0.0,
        "unusable": evidence.seen - evidence.n,
        "incumbent_value": value_of(evidence.reward) if evidence.n else None,
    }
