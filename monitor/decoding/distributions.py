"""Whole action distributions of decisions: are they distributions, their entropy, the logged action's share."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from detectors.arrays import F64, I64, Bool
from monitor.decoding.wire import Decision

SUM_TOLERANCE = 0.01  # written with two or three decimals it still counts
LONGEST_NAME = 256  # characters of an action that is remembered
_ABOVE_ONE = 1.0 + 1e-6  # single precision rounded up

Probs = list[float] | dict[str, float]


def flatten(probs: Sequence[Probs]) -> tuple[F64, I64]:
    """All probabilities end to end, and where each distribution starts; none may be empty."""
    values = [p.values() if isinstance(p, dict) else p for p in probs]
    sizes = np.fromiter(map(len, values), np.int64, len(values))
    flat = np.array(list(chain.from_iterable(values)), np.float64)
    return flat, np.cumsum(sizes) - sizes


def out_of_range(flat: F64, starts: I64) -> Bool:
    """Which distributions hold a number that is no probability."""
    bad = ~((flat >= 0.0) & (flat <= _ABOVE_ONE))
    return np.logical_or.reduceat(bad, starts)


def off_sum(flat: F64, starts: I64) -> Bool:
    """Which distributions do not add up to one."""
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(np.add.reduceat(flat, starts) - 1.0)
    return ~(off <= SUM_TOLERANCE)


def entropies(flat: F64, starts: I64) -> F64:
    """Entropy of each distribution in nats; 0 log 0 = 0."""
    positive = np.clip(flat, np.finfo(np.float64).tiny, None)
    terms = np.where(flat > 0.0, -flat * np.log(positive), 0.0)
    return np.maximum(np.add.reduceat(terms, starts), 0.0)


def logged_share(row: Decision) -> float:
    """The probability of the logged action in the row's own distribution; NaN where its place cannot be told.

    In a list the place is the action's number; an action outside the distribution had probability 0.
    """
    probs, action = row.action_probs, row.action
    if isinstance(action, list):
        return np.nan
    if isinstance(probs, dict):
        return probs.get(str(action), 0.0)
    place = int(action) if isinstance(action, int) or (action.isascii() and action.isdecimal()) else None
    if place is None or probs is None:
        return np.nan
    return probs[place] if 0 <= place < len(probs) else 0.0


def by_action(probs: Probs | None) -> dict[str, float] | None:
    """A distribution by the names of its actions, endless ones left out: in a list the place is the action's number."""
    if probs is None:
        return None
    if isinstance(probs, dict):
        return {name: p for name, p in probs.items() if len(name) <= LONGEST_NAME}
    return {str(action): p for action, p in enumerate(probs)}
