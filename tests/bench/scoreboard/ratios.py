"""Log likelihood ratios of the changes that several worlds share: what the best possible tests add up."""

import numpy as np
from scipy import stats

from detectors.arrays import F64
from tests.bench.scoreboard.events import Generator, ramp


def normal(rng: Generator, paths: int, n: int, changed: bool, shift: float) -> F64:
    return shift * (rng.standard_normal((paths, n)) + shift * changed) - shift**2 / 2


def student_t3(rng: Generator, paths: int, n: int, changed: bool, shift: float) -> F64:
    x = rng.standard_t(3, (paths, n)) + np.sqrt(3) * shift * changed
    return np.asarray(stats.t.logpdf(x - np.sqrt(3) * shift, 3) - stats.t.logpdf(x, 3))


def bernoulli(rng: Generator, paths: int, n: int, changed: bool, p: float, q: float) -> F64:
    x = rng.random((paths, n)) < (q if changed else p)
    return np.asarray(np.where(x, np.log(q / p), np.log((1 - q) / (1 - p))))


def ramped(rng: Generator, paths: int, n: int, changed: bool, shift: float, top: float, length: int) -> F64:
    x = rng.standard_normal((paths, n)) + changed * top * ramp(n, 0, length)
    return shift * x - shift**2 / 2


def variance(rng: Generator, paths: int, n: int, changed: bool, width: int, factor: float) -> F64:
    length = rng.chisquare(width, (paths, n)) * (factor if changed else 1.0)
    return np.asarray(-0.5 * (width * np.log(factor) + length * (1 / factor - 1)))
