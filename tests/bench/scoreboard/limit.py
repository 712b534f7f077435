"""The best possible test: a CUSUM that knows both laws, simulated at the same mean time between false alarms."""

from collections.abc import Callable, Sequence

import numpy as np

from detectors.arrays import F64

Generator = np.random.Generator
# (rng, paths, n, changed) -> (paths, n) log likelihood ratios of successive events, without or with the change
Ratios = Callable[[Generator, int, int, bool], F64]

PATHS, LENGTH, WARM, MOST = 400, 5_000, 300, 4_000
LOTS = 10  # of so many paths, so that a limit is good to about 1 %: of 400 alone it strayed by up to 6 %


def delay(ratios: Sequence[Ratios], between: float, seed: int) -> float:
    """Mean delay in events from a long-quiet start; the least over several tests, each for one law (for ramps)."""
    return min(_delay(one, between, np.random.default_rng(seed)) for one in ratios)


def _delay(ratio: Ratios, between: float, rng: Generator) -> float:
    line = _line(ratio, between, rng)
    return float(np.mean([_mean_delay(ratio, line, rng) for _ in range(LOTS)]))


def _mean_delay(ratio: Ratios, line: float, rng: Generator) -> float:
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
    tops = np.concatenate([_tops(ratio, rng) for _ in range(LOTS)])
    return float(np.quantile(tops, np.exp(-LENGTH / between)))


def _tops(ratio: Ratios, rng: Generator) -> F64:
    """(PATHS,) the highest sums of quiet paths."""
    state, top = np.zeros(PATHS), np.zeros(PATHS)
    for step in ratio(rng, PATHS, LENGTH, False).T:
        state = np.maximum(state + step, 0.0)
        top = np.maximum(top, state)
    return top
