"""What decisions of the running policy say of a candidate, once their rewards are final: sums that add up.

A decision counts when its reward horizon has passed, never before: rewards that come fast are not a sample of all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from detectors.arrays import F64, U64
from detectors.inference.evidence import SHARES, log_wealth
from detectors.statistic import Statistic
from detectors.units.clusters import GROUPS, by_group

NAME = "candidates"

(SEEN, N, W, W2, ZEROS, R, R2, WR, WR2, W2R, W2R2, CRITIC, D, D2, GAP, GAP2) = range(16)
GAINS = 4  # value from below and above, difference from below and above


@dataclass(frozen=True, slots=True)
class CandidateRows:
    """n decisions, in canonical order, whose rewards are final; all columns (n,), NaN where nothing is known.

    p: the candidate's probability of the logged action. q, v: its critic. costs: name -> what was spent. unit: hash
    of whom the decision was for, 0 (or no column) where it names none.
    """

    propensity: F64
    p: F64
    q: F64
    v: F64
    reward: F64
    costs: Mapping[str, F64] = field(default_factory=dict)
    unit: U64 = field(default_factory=lambda: np.empty(0, np.uint64))


@dataclass(frozen=True, slots=True)
class CandidateSums(Statistic):
    """moments: (16,) sums by the names above: W weight, R reward, D the doubly robust term, GAP the same less R.

    gains: (4, 2) sums and sums of squares of w x, w (1 - x), (1 + (w - 1) x) / 2 and the same of 1 - x, x being the
    reward scaled to [0, 1]. costs: (costs, 4) w c, w^2 c,
    w^2 c^2 and cases. wealth: (1 + costs, shares) log wealth against `not worse` and against each budget. units:
    (3 + costs, 2, 64) by group of units, how many decisions and the sum of what each test bets on, then of w x and
    of w (1 - x).
    """

    moments: F64
    gains: F64
    costs: F64
    wealth: F64
    units: F64 = field(default_factory=lambda: np.zeros((0, 2, GROUPS)))  # version 0.1 did not count them


def sums_of(
    rows: CandidateRows, reward_range: tuple[float, float] | None, budgets: Sequence[tuple[str, float]]
) -> CandidateSums:
    """reward_range: what a reward can be (others are brought into it); without it nothing is bet on rewards.

    Worse: if candidate minus incumbent d >= 0, then y = 1 + (w - 1)(1 - x) >= 0 has mean at most 1, and no wealth bet
    on more than that grows on average. A cost: w c has mean at most the budget (detectors/inference/evidence.py).
    """
    named = ~np.isnan(rows.p)
    usable = named & np.isfinite(rows.reward) & (rows.propensity > 0)
    w, r = rows.p[usable] / rows.propensity[usable], rows.reward[usable]
    unit = rows.unit[usable] if len(rows.unit) else np.zeros(len(w), np.uint64)
    gains, wealth = np.zeros((GAINS, 2)), np.zeros((1 + len(budgets), len(SHARES)))
    units = np.zeros((3 + len(budgets), 2, GROUPS))
    if reward_range is not None and len(w):
        low, high = reward_range
        x = np.clip((r - low) / (high - low), 0.0, 1.0)
        columns = np.stack([w * x, w * (1 - x), (1 + (w - 1) * x) / 2, (1 + (w - 1) * (1 - x)) / 2])
        gains = np.stack([columns.sum(axis=1), np.square(columns).sum(axis=1)], axis=1)
        wealth[0] = log_wealth(columns[3], 0.5)
        units[0], units[-2], units[-1] = (by_group(unit, columns[i]) for i in (3, 0, 1))
    costs = np.zeros((len(budgets), 4))
    for i, (name, budget) in enumerate(budgets):
        if name in rows.costs:
            c = np.nan_to_num(rows.costs[name][usable])
            spent = w * c
            costs[i] = spent.sum(), w @ spent, spent @ spent, np.count_nonzero(c)
            wealth[1 + i] = log_wealth(spent, budget) if budget > 0 else 0.0
            units[1 + i] = by_group(unit, spent)
    moments = _moments(w, r, rows.q[usable], rows.v[usable], float(np.count_nonzero(named)))
    return CandidateSums(moments, gains, costs, wealth, units)


def none_seen(costs: int) -> CandidateSums:
    """The neutral element of `+`."""
    return CandidateSums(
        np.zeros(16), np.zeros((GAINS, 2)), np.zeros((costs, 4)), np.zeros((1 + costs, len(SHARES))),
        np.zeros((3 + costs, 2, GROUPS)),
    )  # fmt: skip


def largest_of(rows: CandidateRows, most: int) -> F64:
    """The largest weights, descending: the shape of their tail is read off them."""
    usable = np.isfinite(rows.p) & np.isfinite(rows.reward) & (rows.propensity > 0)
    return np.sort(rows.p[usable] / rows.propensity[usable])[::-1][:most]


def _moments(w: F64, r: F64, q: F64, v: F64, seen: float) -> F64:
    known = np.isfinite(q) & np.isfinite(v)
    d = v[known] + w[known] * (r[known] - q[known])
    gap, wr = d - r[known], w * r
    return np.array(
        [
            seen, len(w), w.sum(), w @ w, np.count_nonzero(w == 0), r.sum(), r @ r, wr.sum(), wr @ r, w @ wr, wr @ wr,
            np.count_nonzero(known), d.sum(), d @ d, gap.sum(), gap @ gap,
        ],
        dtype=np.float64,
    )  # fmt: skip
