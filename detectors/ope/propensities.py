"""Propensities for logs that lack them: estimated from what was done, and never taken for the truth."""

from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from detectors.ope.columns import BanditLog, Floats, Ints
from detectors.ope.features import features_of
from detectors.ope.options import Options
from detectors.ope.totals import groups_of
from detectors.ope.verdict import Finding, Verdict

MOST_MISSING = 0.05
SMALLEST = 1e-3


def with_propensities(log: BanditLog, options: Options) -> tuple[BanditLog, tuple[Finding, ...]]:
    """The log as it is where propensities are given; else with estimates and the doubt they bring.

    Without actions nothing can be estimated: the rows stay unusable and the evaluation says so.
    """
    missing = ~np.isfinite(log.propensity)
    if log.action is None or not len(log) or missing.mean() <= MOST_MISSING:
        return log, ()
    estimated = estimate_propensities(log, options.folds, options.ridge)
    finding = Finding(
        Verdict.UNRELIABLE,
        f"{np.count_nonzero(missing)} of {len(log)} propensities are missing and were estimated from "
        "what was done: intervals are half as wide again, and may still miss that error",
    )
    return replace(log, propensity=np.where(missing, estimated, log.propensity)), (finding,)


def estimate_propensities(log: BanditLog, folds: int, ridge: float) -> Floats:
    """(n,) probability of the logged action by a multinomial logit of the state, fitted on the other folds.

    Without states: the frequency of the action. Cross-fitted as in Chernozhukov et al. (2018).
    """
    assert log.action is not None
    actions = int(log.action.max()) + 1
    state = np.zeros((len(log), 0)) if log.state is None else log.state
    x = features_of(state, 0, np.random.default_rng(0)).of(state)
    fold = groups_of(log.unit, len(log), 0) % folds
    estimated = np.empty(len(log))
    for k in range(folds):
        mine, rest = fold == k, fold != k
        probs = _softmax(x[mine] @ logit_fit(x[rest], log.action[rest], actions, ridge))
        estimated[mine] = probs[np.arange(len(probs)), log.action[mine]]
    return np.maximum(estimated, SMALLEST)


def logit_fit(x: Floats, action: Ints, actions: int, ridge: float) -> Floats:
    """(f, actions) coefficients of a multinomial logit with a ridge penalty, for features x (n, f)."""
    hit = np.zeros((len(x), actions))
    hit[np.arange(len(x)), action] = 1.0

    def loss(flat: Floats) -> tuple[float, Floats]:
        theta = flat.reshape(x.shape[1], actions)
        probs = _softmax(x @ theta)
        likelihood = float(np.log(np.maximum(probs[np.arange(len(x)), action], 1e-300)).sum())
        gradient = x.T @ (probs - hit) + ridge * theta
        return (ridge / 2 * float(flat @ flat) - likelihood) / len(x), (gradient / len(x)).ravel()

    start = np.zeros(x.shape[1] * actions)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return np.asarray(found.x).reshape(x.shape[1], actions)


def _softmax(logits: Floats) -> Floats:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
