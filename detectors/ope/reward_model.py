"""A reward model for logs without a critic: ridge regression per action, cross-fitted."""

from dataclasses import replace

import numpy as np

from detectors.ope.columns import BanditLog, Floats, Ints, take, usable_rows
from detectors.ope.features import Features, features_of
from detectors.ope.totals import groups_of


def with_reward_model(log: BanditLog, folds: int, ridge: float) -> BanditLog:
    """The usable rows of the log with q and v from models that never saw the row's fold of units.

    Needs state, action and candidate_probs. Cross-fitting (Chernozhukov et al. 2018, definition 3.2) keeps
    DR unbiased given true propensities, however much the model overfits.
    """
    log = take(log, usable_rows(log))
    if log.state is None or log.action is None or log.candidate_probs is None or len(log) < 2 * folds:
        return log
    features = features_of(log.state, 0, np.random.default_rng(0))
    fold = groups_of(log.unit, len(log), 0) % folds
    q, v = np.empty(len(log)), np.empty(len(log))
    actions = log.candidate_probs.shape[1]
    moments = [_moments(log, features, np.flatnonzero(fold == k), actions) for k in range(folds)]
    grams, sides = (sum(parts[1:], parts[0]) for parts in zip(*moments, strict=True))
    for k, (gram, side) in enumerate(moments):
        coefficients = ridge_fit(grams - gram, sides - side, ridge)
        rows = np.flatnonzero(fold == k)
        predicted = features.of(log.state[rows]) @ coefficients.T
        q[rows] = predicted[np.arange(len(rows)), log.action[rows]]
        v[rows] = (predicted * log.candidate_probs[rows]).sum(axis=1)
    return replace(log, q=q, v=v)


def ridge_fit(gram: Floats, side: Floats, ridge: float) -> Floats:
    """(actions, f) coefficients from Gram matrices (actions, f, f) and right sides (actions, f).

    An action's model is drawn towards the mean reward of all actions, the less data it has the more.
    """
    width = gram.shape[1]
    rows = float(gram[:, 0, 0].sum())
    mean = float(side[:, 0].sum()) / rows if rows else 0.0
    prior = np.zeros(width)
    prior[0] = mean
    solved = np.linalg.solve(gram + ridge * np.eye(width), (side + ridge * prior)[:, :, None])
    return np.asarray(solved[:, :, 0])


def _moments(log: BanditLog, features: Features, rows: Ints, actions: int) -> tuple[Floats, Floats]:
    """Gram matrices (actions, f, f) and right sides (actions, f) of the given rows."""
    assert log.state is not None
    assert log.action is not None
    gram, side = np.zeros((actions, features.width, features.width)), np.zeros((actions, features.width))
    rows = rows[np.argsort(log.action[rows], kind="stable")]
    ends = np.searchsorted(log.action[rows], np.arange(actions + 1))
    for action in np.flatnonzero(np.diff(ends)):
        mine = rows[ends[action] : ends[action + 1]]
        x = features.of(log.state[mine])
        gram[action], side[action] = x.T @ x, x.T @ log.reward[mine]
    return gram, side
