"""Units (users, sessions) that decide many times: how much further states and actions stray because of them.

Sums over the decisions of hashed groups of units, window by window. Units are independent of each other, so residual
sums R of the groups say how far a sum of a window strays in every direction at once: its covariance is the mean of
R R' (cluster-robust: Liang & Zeger, Biometrika 1986; hashed groups are the random groups of Wolter, "Introduction to
Variance Estimation", 2007, ch. 2; a group is a projection on one of so many random signs, as the wild cluster bootstrap
of Cameron, Gelbach & Miller, Review of Economics and Statistics 2008, draws them). Counted for a baseline only.
"""

from dataclasses import dataclass

import numpy as np

from detectors.arrays import F64, I32, I64, Arrays, Bool
from detectors.features import moments as state_moments
from detectors.features.moments import exact_units
from detectors.measurement import Measurement
from detectors.protocol import Baseline, Detector, Plan, Spec, Window
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic
from detectors.units.clusters import GROUPS

NAME = "unit_vectors"
CELLS = 255  # actions that are told apart; the rest share one cell
NESTED = 4  # groups that share one matrix of products


@dataclass(frozen=True, slots=True)
class VectorSums(Statistic):
    """Per group of units, of decisions that name one: states (64, 1 + p) how many, sums of p directions.

    products: (16, p (p + 1) / 2) of the same rows, upper triangle. actions: (64, c + 1) counts of actions, the last
    cell all others. all: (3,) decisions with a state, with a discrete action, and any; those without a unit included.
    """

    states: F64
    products: F64
    actions: F64
    all: F64


def fit(sample: Decisions, plan: Plan) -> Arrays:
    """The codes of the actions that are taken most; states are counted in the units of `state_moments`."""
    counts = np.bincount(sample.action[sample.action >= 0])
    most = np.argsort(-counts, kind="stable")[:CELLS]
    return {"codes": np.sort(most[counts[most] > 0]).astype(np.int64)}


class UnitVectors:
    """Counts; it says nothing of its own."""

    name = NAME

    def __init__(self, schema: Arrays) -> None:
        self._schema = schema
        self._width = schema["directions"].shape[1] or len(schema["center"])
        codes = np.asarray(schema["codes"], np.int64)
        self._cells = np.full(int(codes.max(initial=-1)) + 2, len(codes), np.int64)
        self._cells[codes] = np.arange(len(codes))

    def observe(self, rows: BucketRows) -> VectorSums:
        """Sums over one bucket's decisions, exact, so that it does not matter how they are cut."""
        decisions = rows.decisions
        named = decisions.unit != 0
        stated = _stated(decisions.state, len(self._schema["center"]))
        group = (decisions.unit % np.uint64(GROUPS)).astype(np.int64)
        states, products = self._states(decisions.state, group, named & stated)
        acted = decisions.action >= 0
        actions = self._actions(decisions.action, group, named & acted)
        return VectorSums(
            states, products, actions, np.array([stated.sum(), acted.sum(), len(decisions)], np.float64)
        )

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """Nothing."""
        return ()

    def _states(self, state: F64, group: I64, used: Bool) -> tuple[F64, F64]:
        width = self._width
        states = np.zeros((GROUPS, 1 + width))
        products = np.zeros((GROUPS // NESTED, width * (width + 1) // 2))
        if not used.any():
            return states, products
        found = np.flatnonzero(used)
        order = found[np.argsort(group[found], kind="stable")]
        counts = np.bincount(group[found], minlength=GROUPS)
        units = exact_units(self._schema, state[order], np.asarray(self._schema["center"], np.float64))
        ends = np.cumsum(counts)
        present = np.flatnonzero(counts)
        starts = (ends - counts)[present]
        states[:, 0] = counts
        states[present, 1:] = np.add.reduceat(units, starts, axis=0)
        upper, first = np.triu_indices(width), 0
        for i, end in enumerate(ends[NESTED - 1 :: NESTED].tolist()):
            if end > first:
                part = units[first:end]
                products[i] = (part.T @ part)[upper]
            first = end
        return states, products

    def _actions(self, action: I32, group: I64, used: Bool) -> F64:
        cells = self._cells[np.minimum(action[used], len(self._cells) - 1)]
        width = len(self._schema["codes"]) + 1
        counts = np.bincount(group[used] * width + cells, minlength=GROUPS * width)
        return counts.reshape(GROUPS, width).astype(np.float64)


def _stated(state: F64, width: int) -> Bool:
    """(n,) rows that carry a state of the known width."""
    if not width or state.shape[1] != width:
        return np.zeros(len(state), dtype=bool)
    if not np.isnan(state[:, 0]).any():
        return np.ones(len(state), dtype=bool)
    return np.asarray(~np.isnan(state).all(axis=1))


def build(baseline: Baseline | None, plan: Plan) -> Detector:
    """The same with and without a series."""
    nothing = {**state_moments.fit_nothing(), "codes": np.empty(0, np.int64)}
    return UnitVectors(nothing if baseline is None else baseline.schema)


UNIT_VECTORS = Spec(
    NAME,
    fit,
    build,
    VectorSums,
    reads=frozenset({"decisions"}),
    judges=False,
    by_window=True,
    like=state_moments.NAME,
)
