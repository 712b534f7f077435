"""A candidate's whole life beside the policy that runs: estimates current at every bucket, and evidence against it.

Intervals hold however often they are looked at. What buckets and units have in common is priced: correlated decisions
count for less. Evidence that the candidate is worse, or breaks a budget, is wealth
bet bucket by bucket, begun anew every day and summed: the sum passes c after c days on average at the earliest when
nothing is wrong (the e-detector of Shin, Ramdas & Rinaldo, NEJSDS 2023, theorem 2.4), which is its price.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from detectors.arrays import F64
from detectors.candidates import sums
from detectors.candidates.sums import GAINS, CandidateSums, none_seen
from detectors.inference.evidence import SHARES, inflation_of
from detectors.ope.options import CostBudget
from detectors.ope.weights import LARGEST
from detectors.units.clusters import clustered

DAY_MS = 86_400_000
MOST_LIVES = 8  # per deployment: their tests share the price


@dataclass(frozen=True, slots=True)
class LifePlan:
    """What a life may rely on and cost.

    reward_range: what a reward can be, None where nobody said. budgets: costs per decision. false_per_day: of all
    lives of a deployment together. missing_is_zero: a decision without a reward got 0. discount: of the return, where
    decisions have consequences and whole episodes are judged; 0 where single decisions are. episode_budgets: of costs
    there.
    """

    reward_range: tuple[float, float] | None
    budgets: tuple[tuple[str, float], ...]
    false_per_day: float
    window_buckets: int
    min_samples: int = 30
    missing_is_zero: bool = False
    delta: float = 0.05
    discount: float = 0.0
    episode_budgets: Mapping[str, CostBudget] = field(default_factory=dict)

    @property
    def bar(self) -> float:
        """Log of the evidence at which a test fires: one over its false breaches per day."""
        tests = MOST_LIVES * (1 + len(self.budgets) + len(self.episode_budgets))
        return max(-float(np.log(max(self.false_per_day, 1e-12) / tests)), float(np.log(20.0)))


@dataclass(frozen=True, slots=True)
class Life:
    """total: of all buckets. spread: (4,) squared distances of the gains from what the buckets before led to guess.

    evidence: (1 + costs, shares) log of the summed wealth. days: how many times it was begun. recent: (buckets, 1 +
    2 (3 + costs)) n, then sum and square of each test's gains, of w x and of w (1 - x), of the last window's buckets.
    inflation: (3 + costs,) variance of these over what independent decisions would have: that between buckets or
    between units, whichever is larger. largest: the largest weights, descending.
    """

    total: CandidateSums
    spread: F64
    evidence: F64
    recent: F64
    inflation: F64
    began_ms: int
    seen_ms: int
    days: int = 0
    largest: F64 = field(default_factory=lambda: np.zeros(0))


def begin(plan: LifePlan, now_ms: int) -> Life:
    """Nothing seen yet."""
    tests = 1 + len(plan.budgets)
    nothing = np.full((tests, len(SHARES)), -np.inf)
    return Life(
        none_seen(len(plan.budgets)), np.zeros(GAINS), nothing, np.zeros((0, 5 + 2 * tests)), np.ones(2 + tests),
        now_ms, now_ms,
    )  # fmt: skip


def fold(life: Life, bucket: CandidateSums, end_ms: int, plan: LifePlan, largest: F64) -> Life:
    """The life after one more bucket, which ends at end_ms; largest: its largest weights."""
    n, before = bucket.moments[sums.N], life.total.moments[sums.N]
    guess = np.minimum((0.5 + life.total.gains[:, 0]) / (1 + before), 1.0)
    off = bucket.gains[:, 1] - 2 * guess * bucket.gains[:, 0] + n * guess**2
    recent = np.concatenate([life.recent, _tested(bucket)[None, :]])[-plan.window_buckets :]
    total = life.total + bucket
    grown = replace(
        life,
        total=total,
        spread=life.spread + np.maximum(off, 0.0),
        recent=recent,
        inflation=np.array(
            [
                max(_between_buckets(recent, i, plan), _between_units(total, i))
                for i in range(len(life.inflation))
            ]
        ),
        seen_ms=end_ms,
        largest=np.sort(np.concatenate([life.largest, largest]))[::-1][:LARGEST],
    )
    begun = 1 + (end_ms - life.began_ms) // DAY_MS
    evidence = life.evidence
    if begun > life.days:  # log(0) is -inf: the first day begins the sum
        evidence = np.logaddexp(evidence, np.log(begun - life.days))
    wealth = bucket.wealth / grown.inflation[:-2, None]
    most = 2 * plan.bar + np.log(len(SHARES))  # so that what has mended can be seen to
    return replace(grown, evidence=np.minimum(evidence + wealth, most), days=int(begun))


def _between_buckets(recent: F64, test: int, plan: LifePlan) -> float:
    """Long-run over plain variance of a test's gains, from the last window's buckets."""
    return inflation_of(recent[:, 1 + 2 * test], recent[:, 2 + 2 * test], recent[:, 0], plan.window_buckets)


def _between_units(total: CandidateSums, test: int) -> float:
    """Variance between units over plain variance of a test's gains; 1 where units are few, or no further apart."""
    n, first, second = _tested(total)[[0, 1 + 2 * test, 2 + 2 * test]].tolist()
    mean = first / n if n else 0.0
    plain = second / n - mean * mean if n else 0.0
    found = clustered(total.units[test][None], n, 1)
    if found is None or not plain > 0 or found.whole <= plain * (1 + np.sqrt(2 / found.dof)):
        return 1.0
    return found.whole / plain


def _tested(bucket: CandidateSums) -> F64:
    """n, then sum and sum of squares of what each test bets on, of w x and of w (1 - x)."""
    pairs: Sequence[F64] = [bucket.gains[3], *bucket.costs[:, [0, 2]], bucket.gains[0], bucket.gains[1]]
    return np.concatenate([[bucket.moments[sums.N]], *pairs])
