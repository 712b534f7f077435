"""Grounds for doubt that importance weights give."""

import numpy as np

from detectors.ope.options import Options
from detectors.ope.verdict import Finding, Verdict
from detectors.ope.weights import Weights

SIGNIFICANT = 3.5  # standard errors of the mean weight from 1: one candidate in 2,000 is wronged
MISSING_MASS = 0.05  # of the candidate's actions: less than this outside the log is called a bias, not a gap


def mean_doubts(weights: Weights) -> list[Finding]:
    """Whether weights of single decisions have mean 1, as full support and true propensities give them.

    Not for products over an episode: where these collapse, their sample mean shows nothing.
    """
    if not weights.total > 0:
        return []
    found = []
    z = weights.mean_z
    if weights.mean + 2 * weights.mean_error < 1 - MISSING_MASS and z < -SIGNIFICANT:
        found.append(
            Finding(
                Verdict.NOT_IDENTIFIED,
                f"the mean importance weight is {weights.mean:.3g} where 1 is due: about "
                f"{1 - weights.mean:.0%} of what the candidate does is never done in the log",
            )
        )
    elif abs(z) > SIGNIFICANT:
        found.append(
            Finding(
                Verdict.UNRELIABLE,
                f"the mean importance weight is {weights.mean:.4g} where 1 is due ({z:+.1f} standard "
                "errors): propensities or candidate probabilities are wrong",
            )
        )
    return found


def doubts(weights: Weights, options: Options, what: str) -> list[Finding]:
    """Findings on weights of `what` (decisions or episodes), none on their mean."""
    if weights.n == 0:
        return [Finding(Verdict.NOT_IDENTIFIED, f"no {what} with reward and propensity can be used")]
    if weights.total == 0:
        return [
            Finding(Verdict.NOT_IDENTIFIED, f"the candidate would never have made any of the {what} logged")
        ]
    found = []
    if weights.ess < options.min_ess:
        found.append(
            Finding(
                Verdict.UNRELIABLE,
                f"the effective sample size is {weights.ess:.1f} of {weights.n:.0f} {what} "
                f"({options.min_ess:.0f} needed)",
            )
        )
    if weights.largest_share > options.max_weight_share:
        found.append(
            Finding(
                Verdict.UNRELIABLE,
                f"one of {weights.n:.0f} {what} carries {weights.largest_share:.0%} of the weight",
            )
        )
    if np.isfinite(weights.tail) and weights.tail > options.max_tail:
        found.append(
            Finding(
                Verdict.UNRELIABLE,
                f"the weights have a heavy tail (Pareto shape {weights.tail:.2f}, "
                f"{options.max_tail} allowed): their mean does not settle",
            )
        )
    return found
