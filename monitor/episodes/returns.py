"""What a critic should have said: targets and discounted sums over rows that lie in episode order."""

import numpy as np

from detectors.arrays import F64, I64, U8, Bool
from monitor.batch import DONE, TRUNCATED


def adjacent(step: I64, ts_ms: I64, at: I64, stop: I64) -> Bool:
    """Whether row `at + 1` lies before `stop` and is the step that followed row `at`."""
    inside = at + 1 < stop
    following = np.where(inside, at + 1, at)
    in_order = (step[following] == step[at] + 1) | ((step[at] < 0) & (step[following] < 0))
    return np.asarray(inside & in_order & (ts_ms[following] >= ts_ms[at]))


def n_step_targets(
    rows: I64, stop: I64, n: int, gamma: float, reward: F64, value: F64, flags: U8, step: I64, ts_ms: I64
) -> F64:
    """(len(rows),) sum of n discounted rewards and gamma**n V(s_n); n = 1 is the TD target (Sutton & Barto 7.1).

    Episodes that end (done) earlier need no V. NaN where a reward, a step or V is not known, and where the
    episode was truncated in between: what would have followed is censored. `stop` is the end of each row's episode.
    """
    total, at, going, weight = np.zeros(len(rows)), rows.copy(), np.ones(len(rows), np.bool_), 1.0
    for _ in range(n):
        here = at[going]
        total[going] += weight * reward[here]
        cut = (flags[here] & TRUNCATED) > 0
        ended = (flags[here] & DONE) > 0
        more = ~cut & ~ended & adjacent(step, ts_ms, here, stop[going])
        live = np.flatnonzero(going)
        total[live[~more & (cut | ~ended)]] = np.nan
        going[live[~more]] = False
        at[going] += 1
        weight *= gamma
    total[going] += weight * value[at[going]]
    return total


def discounted_tails(x: F64, reach: I64, gamma: float) -> F64:
    """(n,) sum over k <= reach[i] of gamma**k x[i + k], by doubling: no powers that overflow, log2 rounds.

    x is (n,), reach the number of rows that follow row i in its own segment. (Hillis & Steele 1986)
    """
    total, width, longest = x.copy(), 1, int(reach.max(initial=0))
    while width <= longest and gamma**width > 0.0:
        far = np.flatnonzero(reach >= width)
        total[far] = total[far] + gamma**width * total[far + width]
        width *= 2
    return total


def ranges(start: I64, length: I64) -> I64:
    """start[0], start[0] + 1, ... for every start and its length, end to end."""
    first = np.cumsum(length) - length
    places: I64 = np.arange(int(length.sum())) + np.repeat(start - first, length)
    return places
