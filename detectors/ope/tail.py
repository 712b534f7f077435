"""The candidate's bad days: quantile and mean (CVaR) of the lower tail of its rewards."""

import numpy as np
from scipy.special import stdtrit

from detectors.ope.bandit.estimator import Decisions
from detectors.ope.bandit.snips import Snips
from detectors.ope.columns import Floats, Ints
from detectors.ope.functional import effective_groups, standard_error, value_of
from detectors.ope.intervals.bootstrap_t import bootstrap_t
from detectors.ope.intervals.interval import Withheld
from detectors.ope.totals import totals_of
from detectors.ope.verdict import Estimate


def tail_quantile(
    weight: Floats, reward: Floats, group: Ints, level: float, delta: float
) -> Estimate | Withheld:
    """Weighted quantile (Chandak et al. 2021, eq. 6) with Woodruff's (1952) interval.

    Its ends are the quantiles at the ends of the interval of the distribution function at the quantile.
    Columns (n,), sorted by reward.
    """
    share = np.cumsum(weight) / weight.sum()
    value = _at(reward, share, level)
    below = totals_of(Snips().terms(Decisions(weight, (reward <= value).astype(np.float64))), group)
    error = standard_error(below)
    if not error > 0:
        return Withheld("the rewards show no spread to judge by")
    half = float(stdtrit(max(effective_groups(below) - 1, 1.0), 1 - delta / 2)) * error
    if level - half <= 0:
        return Withheld(f"too little weight in the lowest {level:.0%} of rewards")
    upper = _at(reward, share, min(level + half, 1.0))
    return Estimate(value, _at(reward, share, level - half), upper)


def tail_mean(
    weight: Floats, reward: Floats, group: Ints, level: float, delta: float, counts: Floats
) -> Estimate | Withheld:
    """CVaR, max over x of x - E[(x - R)+] / level (Rockafellar & Uryasev 2000, theorem 1), self-normalised.

    The maximiser is the quantile; its own error moves the value only to second order, so the interval is
    that of a mean. Columns (n,), sorted by reward; counts: resamples of the groups that hold rows.
    """
    x = _at(reward, np.cumsum(weight) / weight.sum(), level)
    shortfall = x - np.maximum(x - reward, 0.0) / level
    totals = totals_of(Snips().terms(Decisions(weight, shortfall)), group)
    interval = bootstrap_t(totals, delta, counts)
    if isinstance(interval, Withheld):
        return interval
    return Estimate(value_of(totals), interval.lower, interval.upper)


def _at(ordered: Floats, share: Floats, level: float) -> float:
    """The smallest reward at which the distribution function reaches the level."""
    return float(ordered[min(int(np.searchsorted(share, level - 1e-12)), len(ordered) - 1)])
