"""Units (users, sessions, buildings) that decide many times: how much further a mean strays because of them.

Sums per hashed group of units are bounded and add up. Units are independent of each other, so the squared residual
sums of the groups add up to the variance of the whole (cluster-robust: Liang & Zeger, Biometrika 1986; hashed groups
are the random groups of Wolter, "Introduction to Variance Estimation", 2007, ch. 2). Counted for a baseline only:
its windows tell the variance of a window of live length, all of it that of its own mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from detectors.arrays import F64, U64, Arrays
from detectors.inference.long_run import LongRun
from detectors.measurement import Measurement
from detectors.protocol import Baseline, Detector, Plan, Spec, Window
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic

NAME = "clusters"
GROUPS = 64
MAX_COSTS = 32
MOSTLY = 0.5  # of the events must name their unit
FEWEST_GROUPS = 8
OPTION = "clusters"


@dataclass(frozen=True, slots=True)
class UnitSums(Statistic):
    """Per group of units: how many and their sum.

    reward, critic: (2, 64), critic of value - target. costs: (names, 2, 64). all: (3,) rewards, targets and decisions,
    those without a unit included.
    """

    reward: F64
    critic: F64
    costs: F64
    all: F64


@dataclass(frozen=True, slots=True)
class Clustered:
    """Variances per event of a sum: over a window, and over the whole baseline. dof: what the former is worth.

    clear: it is known to be beyond chance. steady: degrees of freedom that the spread of one window is worth: where
    some units scatter more than others, windows do too.
    """

    window: float
    whole: float
    dof: float
    clear: bool = False
    steady: float = np.inf

    def times(self, factor: float) -> "Clustered":
        """Of a sum whose variance is so many times this one's, and that strays with units alike."""
        return replace(self, window=self.window * factor, whole=self.whole * factor)


def fit(sample: Decisions, plan: Plan) -> Arrays:
    """The names of costs, those with a budget first."""
    names = list(dict.fromkeys([*sorted(plan.cost_budgets), *sorted(sample.costs)]))[:MAX_COSTS]
    return {"names": np.array(names, np.str_)}


class Clusters:
    """Counts; it says nothing of its own."""

    name = NAME

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)

    def observe(self, rows: BucketRows) -> UnitSums:
        """What replaces another takes the other's part away."""
        o, r, d = rows.outcomes, rows.returns, rows.decisions
        reward = by_group(o.unit, o.reward) - by_group(o.unit, o.reward_before)
        critic = by_group(r.unit, r.value - r.target) - by_group(r.unit, r.value - r.target_before)
        nothing = np.empty(0)
        costs = [
            by_group(d.unit, d.costs.get(name, nothing))
            + by_group(o.unit, o.costs.get(name, (nothing, nothing))[1])
            - by_group(o.unit, o.costs.get(name, (nothing, nothing))[0])
            for name in self._names
        ]
        first = np.isfinite(o.reward).sum() - np.isfinite(o.reward_before).sum()
        known = np.isfinite(r.target).sum() - np.isfinite(r.target_before).sum()
        return UnitSums(
            reward, critic, np.stack(costs) if costs else np.zeros((0, 2, GROUPS)),
            np.array([first, known, len(d)], np.float64),
        )  # fmt: skip

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """Nothing."""
        return ()


def build(baseline: Baseline | None, plan: Plan) -> Detector:
    """The same with and without a series."""
    return Clusters([] if baseline is None else [str(name) for name in baseline.schema["names"]])


def clustered(sums: F64, events: float, span: int) -> Clustered | None:
    """From sums per bucket (t, 2, 64) and how many events there were; None where units are few or mostly missing.

    span: the window in these buckets.
    """
    whole = sums.sum(axis=0)
    n = float(whole[0].sum())
    if n < MOSTLY * events or (whole[0] > 0).sum() < FEWEST_GROUPS:
        return None
    blocks = np.add.reduceat(sums, np.arange(0, len(sums), max(1, span)), axis=0)
    squares = [_variance(block) for block in blocks]
    dof = sum(groups - 1 for _, groups in squares)
    if dof <= 0:
        return None
    window = sum(square for square, groups in squares if groups > 1) / n
    return Clustered(window, _variance(whole)[0] / n, float(dof))


def of_baseline(part: Baseline, window: int) -> Mapping[str, Clustered | Mapping[str, Clustered]]:
    """`reward`, `critic` and `costs` (by name), as far as the baseline knows units. window: in baseline buckets."""
    series = {name: np.asarray(array, np.float64) for name, array in part.series.items()}
    every = series["all"].sum(axis=0)
    found: dict[str, Clustered | Mapping[str, Clustered]] = {}
    for name, events in (("reward", every[0]), ("critic", every[1])):
        one = clustered(series[name], float(events), window)
        if one is not None:
            found[name] = one
    costs = {
        str(name): one
        for row, name in enumerate(part.schema["names"])
        if (one := clustered(series["costs"][:, row], 0.0, window)) is not None
    }
    return found | ({"costs": costs} if costs else {})


def robust(noise: LongRun, units: Clustered | None) -> LongRun:
    """The long-run noise, or that between units where it is larger by more than its own standard error."""
    if units is None or units.window <= noise.variance * (1 + (0 if units.clear else np.sqrt(2 / units.dof))):
        return noise
    return replace(noise, variance=units.window, dof=min(max(noise.dof, 1.0), units.dof))


def by_group(unit: U64, values: F64) -> F64:
    """(2, 64) how many and their sum, of known values of rows that name their unit."""
    if not len(values):
        return np.zeros((2, GROUPS))
    used = (unit != 0) & np.isfinite(values)
    group = (unit[used] % np.uint64(GROUPS)).astype(np.int64)
    return np.stack(
        [np.bincount(group, minlength=GROUPS).astype(np.float64), np.bincount(group, values[used], GROUPS)]
    )


def _variance(sums: F64) -> tuple[float, int]:
    """Variance of the sum about its mean from sums (2, 64), and how many groups hold anything."""
    n, total = sums
    groups = int((n > 0).sum())
    if groups < 2:
        return 0.0, groups
    residuals = total - n * (total.sum() / n.sum())
    return float((residuals**2).sum()) * groups / (groups - 1), groups


CLUSTERS = Spec(NAME, fit, build, UnitSums, reads=frozenset({"decisions", "outcomes", "returns"}))
