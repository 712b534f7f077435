"""From evidence to estimates with intervals, costs, comparison and findings: what all logs share."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detectors.ope.bandit.estimator import Statistic
from detectors.ope.columns import Floats
from detectors.ope.evaluation import CostEstimate
from detectors.ope.evidence import Evidence
from detectors.ope.functional import value_of
from detectors.ope.intervals.asymptotic_sequence import asymptotic_sequence
from detectors.ope.intervals.bootstrap_t import bootstrap_t, resample_counts
from detectors.ope.intervals.confidence_sequence import confidence_sequence
from detectors.ope.intervals.empirical_bernstein import empirical_bernstein
from detectors.ope.intervals.empirical_likelihood import empirical_likelihood
from detectors.ope.intervals.hoeffding import hoeffding
from detectors.ope.intervals.interval import Interval, Withheld
from detectors.ope.options import Options
from detectors.ope.spread import stretch
from detectors.ope.totals import Totals
from detectors.ope.verdict import Estimate

FEWEST_GROUPS = 10
NEVER_SEEN = "no decision of the log shows any of it"


@dataclass(frozen=True, slots=True)
class Bench:
    """The options and the resamples that all intervals of one evaluation share; without resamples they always hold."""

    options: Options
    counts: Floats | None

    def estimate(self, statistic: Statistic) -> Estimate | Withheld:
        """The estimate with its bootstrap-t interval, widened to the floor of its spread."""
        return self.widened(statistic.totals, stretch(statistic.totals, statistic.spread))

    def widened(self, totals: Totals, factor: float) -> Estimate | Withheld:
        """The value of totals with its interval, `factor` times as wide."""
        units = int(np.count_nonzero(totals.count))
        if units < FEWEST_GROUPS:
            return Withheld(f"only {units} independent units ({FEWEST_GROUPS} needed)")
        if self.counts is None:
            interval = asymptotic_sequence(totals, self.options.delta)
        else:
            interval = bootstrap_t(totals, self.options.delta, self.counts)
        if isinstance(interval, Withheld):
            return interval
        value, factor = value_of(totals), factor * self.options.widening
        return Estimate(
            value, value - factor * (value - interval.lower), value + factor * (interval.upper - value)
        )

    def enclosed(self, statistic: Statistic, ends: tuple[Totals, Totals] | None) -> Estimate | Withheld:
        """A biased estimate with the interval that also holds its bias."""
        if ends is None:
            return Withheld("its bias can only be bounded where the range of rewards is given")
        factor = stretch(statistic.totals, statistic.spread)
        low, high = self.widened(ends[0], factor), self.widened(ends[1], factor)
        if isinstance(low, Withheld) or isinstance(high, Withheld):
            return low if isinstance(low, Withheld) else high
        value = value_of(statistic.totals)
        least, most = self.options.reward_range or (-np.inf, np.inf)
        lower, upper = max(low.lower, least), min(high.upper, most)
        return Estimate(value, min(value, lower), max(value, upper))


def bench(evidence: Evidence, options: Options) -> Bench:
    """Draws the resamples, from the seed of the options."""
    groups = int(np.count_nonzero(evidence.reward.count))
    rng = np.random.default_rng(options.seed)
    return Bench(options, resample_counts(groups, rng, options.resamples) if groups else np.zeros((1, 0)))


def standing_bench(options: Options) -> Bench:
    """For an evaluation that is looked at again and again."""
    return Bench(options, None)


def finite_sample_bounds(evidence: Evidence, options: Options) -> dict[str, Estimate | Withheld]:
    """Bounds for any sample size and any weights, and for any number of looks; value = their centre."""
    names = ("empirical_bernstein", "hoeffding", "confidence_sequence")
    why = _unbounded(evidence, options)
    if why or evidence.clipped is None or evidence.wealth is None or options.reward_range is None:
        return {name: Withheld(why or "needs the range of rewards") for name in names}
    low, high = options.reward_range
    ends = (
        empirical_bernstein(evidence.clipped, options.delta / 2),
        hoeffding(evidence.clipped, options.delta / 2),
        confidence_sequence(evidence.wealth),
    )
    scaled = [(low + (high - low) * a, low + (high - low) * b) for a, b in ends]
    return {name: Estimate((a + b) / 2, a, b) for name, (a, b) in zip(names, scaled, strict=True)}


def difference_sequence(evidence: Evidence, options: Options) -> Estimate | Withheld:
    """Candidate minus incumbent, with ends that hold however often they are looked at; value = their centre."""
    why = _unbounded(evidence, options)
    if why or evidence.difference is None or options.reward_range is None:
        return Withheld(why or "needs the range of rewards")
    span = options.reward_range[1] - options.reward_range[0]
    lower, upper = ((2 * end - 1) * span for end in confidence_sequence(evidence.difference))
    return Estimate((lower + upper) / 2, lower, upper)


def _unbounded(evidence: Evidence, options: Options) -> str:
    """Why there can be no finite-sample bound; empty where there can."""
    if options.reward_range is None:
        return "needs the range of rewards"
    if not options.reward_range[1] > options.reward_range[0]:
        return "the rewards show no range"
    return "" if evidence.independent else "decisions of one unit are not independent"


def likelihood_interval(statistic: Statistic, options: Options) -> Estimate | Withheld:
    """The empirical likelihood interval of an estimate, widened to the floor of its spread."""
    interval = empirical_likelihood(statistic.totals, options.delta)
    if isinstance(interval, Withheld):
        return interval
    value, factor = value_of(statistic.totals), stretch(statistic.totals, statistic.spread)
    return Estimate(
        value, value - factor * (value - interval.lower), value + factor * (interval.upper - value)
    )


def cost_estimates(
    costs: Mapping[str, Statistic], ess: float, judge: Bench, trusted: bool
) -> dict[str, CostEstimate]:
    """Every cost against its budget; what cannot be bounded, or trusted, is refused."""
    result = {}
    for name, statistic in costs.items():
        budget = judge.options.costs.get(name)
        estimate = judge.estimate(statistic)
        if budget is not None and statistic.spread.sums[4] == 0:
            estimate = never_seen(budget.ceiling, ess, judge.options.delta)
        over = budget is not None and (
            not trusted or isinstance(estimate, Withheld) or estimate.upper > budget.budget
        )
        result[name] = CostEstimate(estimate, budget.budget if budget else None, over)
    return result


def never_seen(ceiling: float, ess: float, delta: float) -> Estimate | Withheld:
    """The bound on a cost of which the log has not one case.

    With probability below delta / 2 a case of frequency 1 - (delta / 2)^(1/m) stays out of m decisions
    (Clopper & Pearson 1934), each of which costs the ceiling at most; m is the effective sample size.
    """
    if ess < 1:
        return Withheld(NEVER_SEEN)
    return Estimate(0.0, 0.0, ceiling * float(-np.expm1(np.log(delta / 2) / ess)))


def within(estimate: Estimate | Withheld, interval: Interval) -> Estimate | Withheld:
    """The estimate with its interval stretched to hold another one as well."""
    if isinstance(estimate, Withheld):
        return estimate
    return Estimate(estimate.value, min(estimate.lower, interval.lower), max(estimate.upper, interval.upper))
