"""The best possible test: a CUSUM that knows both laws, simulated at the same mean time between false alarms."""

from collections.abc import Callable, Sequence

import numpy as np

from detectors.arrays import F64

Generator = np.random.Generator
# (rng, paths, n, changed) -> (paths, n) log likelihood ratios of successive events, without or with the change
Ratios = Callable[[Generator, int, int, bool], F64]

PATHS, LENGTH, WARM, MOST = 400, 5_000, 300, 4_000


def delay(ratios: Sequence[Ratios], between: float, seed: int) -> float:
    """Mean delay in events from a long-quiet start; the least over several tests, each for one law (for ramps)."""
    return min(_delay(one, between, np.random.default_rng(seed)) for one in ratios)


def _delay(ratio: Ratios, between: float, rng: Generator) -> float:
    line = _line(ratio, between, rng)
    quiet = ratio(rng, PATHS, WARM, False)
    start = np.zeros(PATHS)
    for step in quiet.T:
        start = np.minimum(np.maximum(start + step, 0.0), line)
    state, passed, length = start, np.zeros(PATHS, bool), np.zeros(PATHS)
    for step in ratio(rng, PATHS, MOST, True).T:
        state = np.maximum(state + step, 0.0)
        length += ~passed
        passed |= state >= line
        if passed.all():
            break
    return float(length.mean())


def _line(ratio: Ratios, between: float, rng: Generator) -> float:
    """First passage is exponential: P(no alarm in LENGTH) = exp(-LENGTH / between)."""
    state, top = np.zeros(PATHS), np.zeros(PATHS)
    for step in ratio(rng, PATHS, LENGTH, False).T:
        state = np.maximum(state + step, 0.0)
        top = np.maximum(top, state)
    return float(np.quantile(top, np.exp(-LENGTH / between)))
