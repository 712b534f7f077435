"""A candidate's whole life beside the policy that runs: estimates current at every bucket, and evidence against it.

Intervals hold however often they are looked at. Evidence that the candidate is worse, or breaks a budget, is wealth
bet bucket by bucket, begun anew every day and summed: the sum passes c after c days on average at the earliest when
nothing is wrong (the e-detector of Shin, Ramdas & Rinaldo, NEJSDS 2023, theorem 2.4), which is its price.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, nan, sqrt

import numpy as np
from scipy import special

from detectors import candidates as sums
from detectors.arrays import F64
from detectors.candidates import GAINS, NAME, CandidateSums, largest_weights, none_seen
from detectors.evidence import SHARES, inflation_of
from detectors.mean_shift import described
from detectors.measurement import Measurement, Verdict, unknown
from detectors.ope.judge import never_seen
from detectors.ope.options import Options
from detectors.ope.trust import doubts, mean_doubts
from detectors.ope.verdict import Comparison, Estimate, Finding, compare, span, verdict_of
from detectors.ope.verdict import Verdict as Trust
from detectors.ope.weights import LARGEST, Weights

DAY_MS = 86_400_000
MOST_LIVES = 8  # per deployment: their tests share the price
MOST_UNUSABLE = 0.05
_BETS: F64 = np.geomspace(1e-4, 0.9, 24)
_RISKS: F64 = -np.log1p(-_BETS) - _BETS
_TRUST = {Trust.RELIABLE: 1.0, Trust.UNRELIABLE: 0.0, Trust.NOT_IDENTIFIED: -1.0}
_SIGN = {Comparison.BETTER: 1.0, Comparison.CANNOT_TELL: 0.0, Comparison.WORSE: -1.0}


@dataclass(frozen=True, slots=True)
class LifePlan:
    """What a life may rely on and cost.

    reward_range: what a reward can be, None where nobody said. budgets: costs per decision. false_per_day: of all
    lives of a deployment together. missing_is_zero: a decision without a reward got 0. silent: why nothing can be
    said of any candidate here, "" where it can.
    """

    reward_range: tuple[float, float] | None
    budgets: tuple[tuple[str, float], ...]
    false_per_day: float
    window_buckets: int
    min_samples: int = 30
    missing_is_zero: bool = False
    delta: float = 0.05
    silent: str = ""

    @property
    def bar(self) -> float:
        """Log of the evidence at which a test fires: one over its false breaches per day."""
        tests = MOST_LIVES * (1 + len(self.budgets))
        return max(-float(np.log(max(self.false_per_day, 1e-12) / tests)), float(np.log(20.0)))


@dataclass(frozen=True, slots=True)
class Life:
    """total: of all buckets. spread: (4,) squared distances of the gains from what the buckets before led to guess.

    evidence: (1 + costs, shares) log of the summed wealth. days: how many times it was begun. recent: (buckets, 1 +
    2 (1 + costs)) n, then sum and square of each test's gains, of the last window's buckets. inflation: (1 + costs,)
    long-run over plain variance of these gains.
    """

    total: CandidateSums
    spread: F64
    evidence: F64
    recent: F64
    inflation: F64
    began_ms: int
    seen_ms: int
    days: int = 0


def begin(plan: LifePlan, now_ms: int) -> Life:
    """Nothing seen yet."""
    tests = 1 + len(plan.budgets)
    nothing = np.full((tests, len(SHARES)), -np.inf)
    return Life(
        none_seen(len(plan.budgets)), np.zeros(GAINS), nothing, np.zeros((0, 1 + 2 * tests)), np.ones(tests),
        now_ms, now_ms,
    )  # fmt: skip


def fold(life: Life, bucket: CandidateSums, end_ms: int, plan: LifePlan) -> Life:
    """The life after one more bucket, which ends at end_ms."""
    n, before = bucket.moments[sums.N], life.total.moments[sums.N]
    guess = np.minimum((0.5 + life.total.gains[:, 0]) / (1 + before), 1.0)
    off = bucket.gains[:, 1] - 2 * guess * bucket.gains[:, 0] + n * guess**2
    recent = np.concatenate([life.recent, _tested(bucket)[None, :]])[-plan.window_buckets :]
    grown = replace(
        life,
        total=life.total + bucket,
        spread=life.spread + np.maximum(off, 0.0),
        recent=recent,
        inflation=np.array([_inflation(recent, i, plan) for i in range(len(life.evidence))]),
        seen_ms=end_ms,
    )
    begun = 1 + (end_ms - life.began_ms) // DAY_MS
    evidence = life.evidence
    if begun > life.days:  # log(0) is -inf: the first day begins the sum
        evidence = np.logaddexp(evidence, np.log(begun - life.days))
    wealth = bucket.wealth / grown.inflation[:, None]
    most = 2 * plan.bar + np.log(len(SHARES))  # so that what has mended can be seen to
    return replace(grown, evidence=np.minimum(evidence + wealth, most), days=int(begun))


def measurements(life: Life, against: str, plan: LifePlan) -> list[Measurement]:
    """Where the candidate stands against the policy that ran (`against`), and each of its costs against its budget."""
    n = round(float(life.total.moments[sums.N]))
    if plan.silent:
        return [unknown(NAME, "difference", n, plan.silent, against)]
    weights, difference = _weights(life), difference_bounds(life, plan)
    trust, why = _judged_weights(life, weights)
    wrong = next((finding.sentence for finding in mean_doubts(weights)), "")
    stand = _Stand(life, against, plan, weights, trust, why, wrong, difference)
    comparison = compare(difference, 0.0, trust)
    said = [
        _difference(stand),
        *(_cost(stand, i) for i in range(len(plan.budgets))),
        described(NAME, "ess", weights.ess, n, subject=against),
        described(NAME, "trust", _TRUST[trust], n, f"{trust}: {why}" if why else str(trust), against),
        described(NAME, "comparison", _SIGN[comparison], n, str(comparison), against),
    ]
    found = estimate(life, plan)
    if found is not None:
        said += [
            Measurement(NAME, "value", against, found.value, n, Verdict.OK, error=standard_error(life)),
            described(NAME, "lower", found.lower, n, subject=against),
            described(NAME, "upper", found.upper, n, subject=against),
        ]
    return said


def withdrawn(life: Life, against: str, plan: LifePlan) -> list[Measurement]:
    """A candidate that decisions do not name any more has nothing left to be held for."""
    n, reason = round(float(life.total.moments[sums.N])), "no decision names it any more"
    tests = [("difference", against), *(("cost", f"{against}/{name}") for name, _ in plan.budgets)]
    return [
        Measurement(NAME, statistic, subject, nan, n, Verdict.OK, 0.0, severity=0.0, reason=reason)
        for statistic, subject in tests
    ]


def estimate(life: Life, plan: LifePlan) -> Estimate | None:
    """The candidate's mean reward: doubly robust where its critic is known, else self-normalised; None without weight.

    Ends hold at every look; they are NaN where the range of rewards is not known.
    """
    m = life.total.moments
    if not m[sums.N] > 0 or not m[sums.W] > 0:
        return None
    if plan.reward_range is None:
        return Estimate(_value(m), nan, nan)
    low, high = plan.reward_range
    below, above, _, _ = _bounds(life, plan).tolist()
    return Estimate(_value(m), low + (high - low) * below, high - (high - low) * above)


def difference_bounds(life: Life, plan: LifePlan) -> Estimate | None:
    """Candidate minus running policy, with ends that hold at every look; None without range or decisions."""
    if plan.reward_range is None or not life.total.moments[sums.N] > 0:
        return None
    width = plan.reward_range[1] - plan.reward_range[0]
    _, _, below, above = _bounds(life, plan).tolist()
    return Estimate(_gap(life.total.moments), (2 * below - 1) * width, (1 - 2 * above) * width)


def trust_of(life: Life) -> tuple[Trust, str]:
    """The verdict of detectors.ope on these weights, and its ground."""
    return _judged_weights(life, _weights(life))


def standard_error(life: Life) -> float:
    """Of the estimate, dependence between buckets included."""
    m = life.total.moments
    n, mean = float(m[sums.N]), _value(m)
    if m[sums.CRITIC] == n:
        variance = max(float(m[sums.D2]) / n - mean**2, 0.0) / n
    else:
        residual = m[sums.W2R2] - 2 * mean * m[sums.W2R] + mean**2 * m[sums.W2]
        variance = max(float(residual), 0.0) / float(m[sums.W]) ** 2
    return sqrt(variance * float(life.inflation[0]))


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
        f" ({bounds.lower:+.4g} to {bounds.upper:+.4g}) beside {_incumbent(moments):.4g}"
        f"{'; ' + stand.why if stand.why else ''} (evidence that it is worse 1 in {_odds(evidence)}, the bar is 1 in"
        f" {_odds(plan.bar)})"
    )
    return _judged("difference", against, bounds.value, 0.0, n, evidence, plan, reason)


def _cost(stand: _Stand, i: int) -> Measurement:
    """Breach where a budget is broken with confidence; unknown while that it is kept cannot be said."""
    life, plan, (name, budget) = stand.life, stand.plan, stand.plan.budgets[i]
    n, subject = round(float(life.total.moments[sums.N])), f"{stand.against}/{name}"
    if n < plan.min_samples or not life.total.moments[sums.W] > 0:
        return unknown(NAME, "cost", n, f"{n} decisions, {plan.min_samples} are needed", subject)
    found, evidence = _cost_estimate(stand, i), _evidence(life, 1 + i)
    reason = (
        f"{name} costs {span(found)} per decision against a budget of {budget:.4g}"
        f" (evidence 1 in {_odds(evidence)}, the bar is 1 in {_odds(plan.bar)})"
    )
    unsettled = found.upper > budget or stand.trust is not Trust.RELIABLE
    if stand.wrong or (evidence < plan.bar and unsettled):
        refused = stand.why or "that it keeps its budget cannot be said yet"
        return unknown(NAME, "cost", n, f"{reason}; {refused}", subject, found.value)
    return _judged("cost", subject, found.value, budget, n, evidence, plan, reason)


def _cost_estimate(stand: _Stand, i: int) -> Estimate:
    """Self-normalised, with an interval at one look; where none was seen, what may have been missed."""
    m, spent, delta = stand.life.total.moments, stand.life.total.costs[i], stand.plan.delta
    mean = float(spent[0] / m[sums.W])
    if spent[3] == 0:
        bound = never_seen(1.0, stand.weights.ess, delta)
        return bound if isinstance(bound, Estimate) else Estimate(0.0, 0.0, 1.0)
    residual = max(float(spent[2] - 2 * mean * spent[1] + mean**2 * m[sums.W2]), 0.0)
    error = sqrt(residual * float(stand.life.inflation[1 + i])) / float(m[sums.W])
    half = float(special.ndtri(1 - delta / 2)) * error
    return Estimate(mean, mean - half, mean + half)


def _judged(
    statistic: str,
    subject: str,
    value: float,
    line: float,
    n: int,
    evidence: float,
    plan: LifePlan,
    reason: str,
) -> Measurement:
    verdict = Verdict.BREACH if evidence >= plan.bar else Verdict.OK
    severity = max(evidence, 0.0) / plan.bar
    return Measurement(NAME, statistic, subject, value, n, verdict, line, severity=severity, reason=reason)


def _evidence(life: Life, test: int) -> float:
    """Log of the mixture over shares."""
    return _log_sum(life.evidence[test]) - float(np.log(len(SHARES)))


def _bounds(life: Life, plan: LifePlan) -> F64:
    """(4,) lower confidence sequences, each at delta / 2, of the means of gains that are >= 0 with means of at most 1.

    The largest m whose wealth, a mixture over bets of exp(bet (S - n m) - (-ln(1 - bet) - bet) V), has come to
    2 / delta (Waudby-Smith, Wu, Ramdas, Karampatziakis & Mineiro 2024, proposition 1), with S the sum and V the
    squared distances from guesses made before; correlated buckets count for less.
    """
    total, n = life.total.gains[:, :1], float(life.total.moments[sums.N])
    risk, inflation = _RISKS * life.spread[:, None], float(life.inflation[0])
    need = float(np.log(2 * len(_BETS) / plan.delta)) * inflation
    alone = ((_BETS * total - risk - need) / _BETS).max(axis=1) / n  # one bet comes to it by itself
    low = np.clip(alone, 0.0, 1.0)
    high = np.maximum(np.minimum(total[:, 0] / n, 1.0), low)
    for _ in range(20):
        middle = (low + high) / 2
        exponents = (_BETS * (total - n * middle[:, None]) - risk) / inflation
        top = exponents.max(axis=1)
        enough = top + np.log(np.exp(exponents - top[:, None]).sum(axis=1)) >= need / inflation
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    return np.asarray(low)


def _inflation(recent: F64, test: int, plan: LifePlan) -> float:
    """Long-run over plain variance of a test's gains, from the last window's buckets."""
    return inflation_of(recent[:, 1 + 2 * test], recent[:, 2 + 2 * test], recent[:, 0], plan.window_buckets)


def _log_sum(logs: F64) -> float:
    """scipy's logsumexp at a tenth of its price."""
    top = float(logs.max())
    return top + float(np.log(np.exp(logs - top).sum())) if np.isfinite(top) else top


def _tested(bucket: CandidateSums) -> F64:
    """n, then sum and sum of squares of what each test bets on."""
    pairs: Sequence[F64] = [bucket.gains[3], *bucket.costs[:, [0, 2]]]
    return np.concatenate([[bucket.moments[sums.N]], *pairs])


def _judged_weights(life: Life, weights: Weights) -> tuple[Trust, str]:
    m = life.total.moments
    found = [*doubts(weights, Options(), "decisions"), *mean_doubts(weights)]
    if m[sums.SEEN] and m[sums.N] < m[sums.SEEN] * (1 - MOST_UNUSABLE):
        missing = (
            f"{m[sums.SEEN] - m[sums.N]:.0f} of {m[sums.SEEN]:.0f} decisions lack a reward or a propensity"
        )
        found.append(Finding(Trust.UNRELIABLE, missing))
    return verdict_of(found)


def _weights(life: Life) -> Weights:
    m = life.total.moments
    largest = largest_weights(life.total.bins, LARGEST)
    return Weights(float(m[sums.N]), float(m[sums.W]), float(m[sums.W2]), float(m[sums.ZEROS]), largest)


def _value(m: F64) -> float:
    return float(m[sums.D] / m[sums.N]) if m[sums.CRITIC] == m[sums.N] else float(m[sums.WR] / m[sums.W])


def _incumbent(m: F64) -> float:
    return float(m[sums.R] / m[sums.N])


def _gap(m: F64) -> float:
    if m[sums.CRITIC] == m[sums.N]:
        return float(m[sums.GAP] / m[sums.N])
    return float(m[sums.WR] / m[sums.W]) - _incumbent(m) if m[sums.W] > 0 else nan


def _odds(log_evidence: float) -> str:
    return f"{exp(min(log_evidence, 690.0)):.3g}"
