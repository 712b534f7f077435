"""Weights where several policies wrote the log."""

import numpy as np

from detectors.ope.columns import Floats, Ints


def mixture_propensity(logger_propensities: Floats, shares: Floats) -> Floats:
    """(n,) probability of the logged action under the mixture of all loggers: the balance heuristic.

    sum_j share_j mu_j(a|x) (Veach & Guibas 1995, eq. 14; Agarwal, Basu, Schnabel & Joachims 2017, eq. 4):
    one logger that covers what another never does keeps the weights small. logger_propensities (n, loggers);
    shares (loggers,) of decisions each one made, summing to 1.
    """
    return np.asarray(logger_propensities @ shares)


def logger_shares(logging_policy: Ints, loggers: int) -> Floats:
    """(loggers,) share of the decisions each logger made; logging_policy (n,) in 0..loggers-1."""
    return np.bincount(logging_policy, minlength=loggers)[:loggers] / len(logging_policy)


def combine(values: Floats, errors: Floats) -> tuple[float, float]:
    """Estimate and standard error of the precision-weighted mean of each logger's own estimate.

    Weights 1 / error^2 (Agarwal et al. 2017, section 5): where only the acting logger's propensity is known.
    values, errors (loggers,).
    """
    precision = 1.0 / np.square(errors)
    return float((precision @ values) / precision.sum()), float(1.0 / np.sqrt(precision.sum()))
