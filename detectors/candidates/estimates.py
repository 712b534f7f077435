"""What a candidate's life is worth: its value, its difference from the policy that runs, and how far to trust them."""

from collections.abc import Sequence
from math import nan, sqrt

import numpy as np

from detectors.arrays import F64
from detectors.candidates import sums
from detectors.candidates.life import Life, LifePlan
from detectors.ope.options import Options
from detectors.ope.trust import doubts, mean_doubts
from detectors.ope.verdict import Estimate, Finding, verdict_of
from detectors.ope.verdict import Verdict as Trust
from detectors.ope.weights import Weights

MOST_UNUSABLE = 0.05
_BETS: F64 = np.geomspace(1e-4, 0.9, 24)
_RISKS: F64 = -np.log1p(-_BETS) - _BETS


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
    return trust_in(life, weights_of(life))


def trust_in(life: Life, weights: Weights, known: Sequence[Finding] = ()) -> tuple[Trust, str]:
    """The same, of weights that are at hand and doubts that are known."""
    m = life.total.moments
    found = [*doubts(weights, Options(), "decisions"), *mean_doubts(weights), *known]
    if m[sums.SEEN] and m[sums.N] < m[sums.SEEN] * (1 - MOST_UNUSABLE):
        missing = (
            f"{m[sums.SEEN] - m[sums.N]:.0f} of {m[sums.SEEN]:.0f} decisions lack a reward or a propensity"
        )
        found.append(Finding(Trust.UNRELIABLE, missing))
    return verdict_of(found)


def standard_error(life: Life) -> float:
    """Of the estimate, dependence between buckets and within units included."""
    m = life.total.moments
    n, mean = float(m[sums.N]), _value(m)
    if m[sums.CRITIC] == n:
        variance = max(float(m[sums.D2]) / n - mean**2, 0.0) / n
    else:
        residual = m[sums.W2R2] - 2 * mean * m[sums.W2R] + mean**2 * m[sums.W2]
        variance = max(float(residual), 0.0) / float(m[sums.W]) ** 2
    return sqrt(variance * float(life.inflation[-2:].max()))


def weights_of(life: Life) -> Weights:
    """Of the whole life."""
    m = life.total.moments
    return Weights(float(m[sums.N]), float(m[sums.W]), float(m[sums.W2]), float(m[sums.ZEROS]), life.largest)


def incumbent(m: F64) -> float:
    """The mean reward of the policy that runs, from the moments."""
    return float(m[sums.R] / m[sums.N])


def _bounds(life: Life, plan: LifePlan) -> F64:
    """(4,) lower confidence sequences, each at delta / 2, of the means of gains that are >= 0 with means of at most 1.

    The largest m whose wealth, a mixture over bets of exp(bet (S - n m) - (-ln(1 - bet) - bet) V), has come to
    2 / delta (Waudby-Smith, Wu, Ramdas, Karampatziakis & Mineiro 2024, proposition 1), with S the sum and V the
    squared distances from guesses made before; correlated buckets count for less.
    """
    total, n = life.total.gains[:, :1], float(life.total.moments[sums.N])
    risk, inflation = _RISKS * life.spread[:, None], life.inflation[[-2, -1, 0, 0], None]
    need = float(np.log(2 * len(_BETS) / plan.delta)) * inflation
    alone = ((_BETS * total - risk - need) / _BETS).max(axis=1) / n  # one bet comes to it by itself
    low = np.clip(alone, 0.0, 1.0)
    high = np.maximum(np.minimum(total[:, 0] / n, 1.0), low)
    for _ in range(20):
        middle = (low + high) / 2
        exponents = (_BETS * (total - n * middle[:, None]) - risk) / inflation
        top = exponents.max(axis=1)
        enough = top + np.log(np.exp(exponents - top[:, None]).sum(axis=1)) >= (need / inflation)[:, 0]
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    return np.asarray(low)


def _value(m: F64) -> float:
    return float(m[sums.D] / m[sums.N]) if m[sums.CRITIC] == m[sums.N] else float(m[sums.WR] / m[sums.W])


def _gap(m: F64) -> float:
    if m[sums.CRITIC] == m[sums.N]:
        return float(m[sums.GAP] / m[sums.N])
    return float(m[sums.WR] / m[sums.W]) - incumbent(m) if m[sums.W] > 0 else nan
