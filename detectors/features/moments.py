"""Sums and products of the state's features per bucket: what the sequential tests read of means, spread, correlation.

It counts only; its own measurements are none. Up to 32 features are kept as they are, more are projected on 32 fixed
random directions. Units are robust (median, IQR) and clipped, and whole multiples of small steps, so that sums are
exact and the same to the bit in any order.
"""

from dataclasses import dataclass

import numpy as np

from detectors.arrays import F64, Arrays
from detectors.features.bins import present_rows
from detectors.features.random_fourier import robust_scale, standardised, whole_steps
from detectors.measurement import Measurement
from detectors.protocol import Baseline, Detector, Plan, Rate, Spec, Window
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic

NAME = "state_moments"
WIDEST = 32
CLIP = 4.0
_CELLS = 2**15  # values counted at a time: they stay in cache
_STEP = 2.0**10
_TURN_STEP = 2.0**12
_SEED = 20_110_601


@dataclass(frozen=True, slots=True)
class StateSums(Statistic):
    """n: (1,) rows that carry a state. sums: (p,). products: (p, p) of the same rows."""

    n: F64
    sums: F64
    products: F64


def fit(sample: Decisions, plan: Plan) -> Arrays:
    """Centre and scale per feature, directions (d, p) where d > 32 (else (d, 0))."""
    rows = present_rows(sample.state)
    center, scale = robust_scale(rows)
    width = rows.shape[1]
    if width <= WIDEST:
        return {"center": center, "scale": scale, "directions": np.empty((width, 0))}
    turns = np.random.default_rng(_SEED).standard_normal((width, WIDEST)) / np.sqrt(width)
    return {"center": center, "scale": scale, "directions": np.rint(turns * _TURN_STEP) / _TURN_STEP}


class StateMoments:
    """The detector: counts, and leaves the judging to the sequential tests."""

    name = NAME

    def __init__(self, schema: Arrays) -> None:
        self._schema = schema

    def observe(self, rows: BucketRows) -> StateSums:
        """Sums over the decisions that carry a state of the known width; a missing value stands at the centre."""
        state = present_rows(rows.decisions.state)
        center = np.asarray(self._schema["center"], np.float64)
        if state.shape[1] != len(center):
            state = np.empty((0, len(center)))
        chunk = max(_CELLS // max(len(center), 1), 1)
        starts = range(0, max(len(state), 1), chunk)
        return StateSums.merged([self._counted(state[start : start + chunk], center) for start in starts])

    def _counted(self, state: F64, center: F64) -> StateSums:
        """Of rows that stay in cache; all sums are exact, so that it does not matter how they are cut."""
        units = exact_units(self._schema, state, center)
        return StateSums(np.array([float(len(units))]), units.sum(axis=0), units.T @ units)

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """Nothing of its own."""
        return ()


def exact_units(schema: Arrays, state: F64, center: F64) -> F64:
    """(n, p) of states (n, d): robust units, turned where there are many, clipped, whole multiples of a small step."""
    units = standardised(state, center, np.asarray(schema["scale"], np.float64))
    if schema["directions"].shape[1]:
        units = units @ np.asarray(schema["directions"], np.float64)
    np.minimum(np.maximum(units, -CLIP, out=units), CLIP, out=units)
    return whole_steps(units, _STEP)


def build(baseline: Baseline | None, plan: Plan) -> Detector:
    """The same with and without a series."""
    return StateMoments(baseline.schema if baseline is not None else fit_nothing())


def fit_nothing() -> Arrays:
    """The schema of a state without features."""
    return {"center": np.empty(0), "scale": np.empty(0), "directions": np.empty((0, 0))}


RATES = (Rate("sums", "n"), Rate("products", "n"))
STATE_MOMENTS = Spec(NAME, fit, build, StateSums, reads=frozenset({"decisions"}), rates=RATES, judges=False)
