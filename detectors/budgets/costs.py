"""Is a cost budget exceeded with confidence? Per decision, or per episode (discounted by the caller).

A cost belongs to its decision or to its rewards, not to both. Of a truncated episode only a lower bound is known:
it counts as it is, which can only hide an excess, never invent one; where most are cut off, silence is `unknown`.
"""

from dataclasses import dataclass, replace
from math import exp, isnan, nan, sqrt

import numpy as np

from detectors.arrays import F64, Arrays
from detectors.inference.evidence import SHARES, inflation_of, log_bar, log_evidence, log_wealth
from detectors.measurement import Measurement, Verdict, unknown
from detectors.protocol import Baseline, Plan, Spec, Window
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic
from detectors.units.clusters import OPTION, Clustered
from detectors.windows.mean_shift import FEWEST_BUCKETS, described, window_in

NAME = "costs"
MAX_NAMES = 32
_N, _SUM, _SQUARE, _NEGATIVE, _CUT = range(5)


@dataclass(frozen=True, slots=True)
class CostSums(Statistic):
    """Per name, a row.

    sums: (names, 5) n, cost, cost squared, negative ones, cut-off episodes. wealth: (names, shares) log wealth
    against the budget, 0 where there is none.
    """

    sums: F64
    wealth: F64


def fit(sample: Decisions, plan: Plan) -> Arrays:
    """The names, those with a budget before those seen in the sample, and the budgets (NaN for none)."""
    names = _names(plan, sorted(sample.costs))
    budgets = [plan.cost_budgets.get(name, (nan, ""))[0] for name in names]
    return {"names": np.array(names, np.str_), "budgets": np.array(budgets, np.float64)}


@dataclass(frozen=True, slots=True)
class CostsDetector:
    """names: rows of the statistic. inflation: per name, from the baseline, NaN where it does not say."""

    plan: Plan
    names: tuple[str, ...]
    inflation: tuple[float, ...]

    @property
    def name(self) -> str:
        """The registry's name."""
        return NAME

    def observe(self, rows: BucketRows) -> CostSums:
        """Costs of decisions, of rewards (what was counted before is taken away) and of ended episodes."""
        parts = [self._row(name, rows) for name in self.names]
        if not parts:
            return CostSums(np.zeros((0, 5)), np.zeros((0, len(SHARES))))
        return CostSums(np.stack([sums for sums, _ in parts]), np.stack([wealth for _, wealth in parts]))

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """One measurement per name."""
        return tuple(self._measured(i, window) for i in range(len(self.names)))

    def _row(self, name: str, rows: BucketRows) -> tuple[F64, F64]:
        budget, per = self.plan.cost_budgets.get(name, (nan, "decision"))
        none = np.empty(0)
        if per == "episode":
            cost = rows.episodes.costs.get(name, none)
            cut = float((rows.episodes.truncated & ~np.isnan(cost)).sum()) if len(cost) else 0.0
            return _counted(cost, budget, cut)
        before, after = rows.outcomes.costs.get(name, (none, none))
        came, wealth = _counted(np.concatenate([rows.decisions.costs.get(name, none), after]), budget)
        gone, lost = _counted(before, budget)
        return came - gone, wealth - lost

    def _measured(self, i: int, window: Window) -> Measurement:
        name, sums = self.names[i], window.total.sums[i]
        n, mean = round(float(sums[_N])), float(sums[_SUM] / sums[_N]) if sums[_N] else nan
        statistic = (
            "per_episode" if self.plan.cost_budgets.get(name, (0.0, ""))[1] == "episode" else "per_decision"
        )
        if name not in self.plan.cost_budgets:
            return described(NAME, statistic, mean, n, "no budget", name)
        if n == 0:
            return unknown(NAME, statistic, n, f"no {name} came in the window", name)
        if sums[_NEGATIVE] > 0:
            why = f"{round(float(sums[_NEGATIVE]))} of {n} costs are negative: the test holds for costs >= 0 only"
            return unknown(NAME, statistic, n, why, name, mean)
        return self._against_budget(i, statistic, mean, n, window)

    def _against_budget(self, i: int, statistic: str, mean: float, n: int, window: Window) -> Measurement:
        name, (budget, per) = self.names[i], self.plan.cost_budgets[self.names[i]]
        series = window.series("sums")[:, i]
        inflation = self.inflation[i]
        if isnan(inflation):
            inflation = inflation_of(series[:, _SUM], series[:, _SQUARE], series[:, _N], len(series))
        evidence = log_evidence(window.series("wealth")[:, i], inflation)
        bar = log_bar(self.plan.false_per_day, self.plan.bucket_ms, len(self.plan.cost_budgets))
        spread = max(float(window.total.sums[i][_SQUARE]) / n - mean**2, 0.0)
        error = sqrt(spread * inflation / n)
        cut = float(window.total.sums[i][_CUT]) / n
        reason = (
            f"{name} costs {'at least ' if cut else ''}{mean:.4g} per {per} against a budget of {budget:.4g}"
            f" (standard error {error:.2g}, n {n}; evidence 1 in {exp(min(evidence, 690.0)):.3g},"
            f" the bar is 1 in {exp(bar):.3g})"
        )
        if evidence < bar and n < self.plan.min_samples:
            return unknown(NAME, statistic, n, f"{n} costs, {self.plan.min_samples} are needed", name, mean)
        if evidence < bar and cut > 0.5:
            return unknown(
                NAME, statistic, n, f"{cut:.0%} of {n} episodes were cut off; {reason}", name, mean
            )
        severity = max(evidence, 0.0) / bar
        verdict = Verdict.BREACH if evidence >= bar else Verdict.OK
        return Measurement(NAME, statistic, name, mean, n, verdict, budget, error, severity, reason=reason)


def build(baseline: Baseline | None, plan: Plan) -> CostsDetector:
    """Names from the baseline's schema and the budgets; autocorrelation from the baseline's series where it is."""
    seen = [str(name) for name in baseline.schema["names"]] if baseline and "names" in baseline.schema else []
    names = _names(plan, seen)
    inflation = [_inflation(baseline, seen, name, plan) for name in names]
    return CostsDetector(plan, tuple(names), tuple(inflation))


def repriced(baseline: Baseline, plan: Plan) -> Baseline:
    """The baseline with its evidence weighed against the plan's budgets, in the plan's order of names.

    What was counted against another budget is weighed anew by a law of two sizes with the same mean and square in
    each bucket: exact for costs of one size (0 or c), of second order for others.
    A name that was not counted has nothing.
    """
    seen = [str(name) for name in baseline.schema["names"]]
    names, sums = _names(plan, seen), np.asarray(baseline.series["sums"], np.float64)
    wealth = np.asarray(baseline.series["wealth"], np.float64)
    counted = np.asarray(baseline.schema.get("budgets", np.full(len(seen), nan)), np.float64)
    new_sums, new_wealth = (
        np.zeros((len(sums), len(names), 5)),
        np.zeros((len(sums), len(names), len(SHARES))),
    )
    for row, name in enumerate(names):
        if name not in seen:
            continue
        column, budget = seen.index(name), plan.cost_budgets.get(name, (nan, ""))[0]
        new_sums[:, row] = sums[:, column]
        if budget == counted[column]:
            new_wealth[:, row] = wealth[:, column]
        elif budget > 0:
            new_wealth[:, row] = _two_point(sums[:, column], budget)
    schema: Arrays = {"names": np.array(names, np.str_)}
    return replace(baseline, schema=schema, series={"sums": new_sums, "wealth": new_wealth})


def one_size(sums: F64) -> float:
    """The size of a cost that is 0 or that in every bucket (buckets, 5); NaN where costs differ."""
    held = sums[sums[:, _SUM] > 0]
    sizes = held[:, _SQUARE] / held[:, _SUM]
    same = bool(len(sizes)) and float(np.ptp(sizes)) <= 1e-9 * float(sizes.max())
    return float(sizes[0]) if same else nan


def _two_point(sums: F64, budget: float) -> F64:
    """(buckets, shares) log wealth of n costs of two sizes: 0 and one other, or mean -/+ standard deviation."""
    n = np.maximum(sums[:, _N], 1.0)
    mean = np.maximum(sums[:, _SUM], 0.0) / n
    spread = np.sqrt(np.maximum(sums[:, _SQUARE] / n - mean**2, 0.0))
    rare = (spread > mean) | ~np.isnan(one_size(sums))
    size = np.divide(sums[:, _SQUARE], sums[:, _SUM], out=np.zeros(len(sums)), where=sums[:, _SUM] > 0)
    high = np.where(rare, size, mean + spread)
    share = np.where(rare, np.divide(mean, size, out=np.zeros(len(sums)), where=size > 0), 0.5)
    low = np.where(rare, 0.0, mean - spread)
    gains = [np.log1p(SHARES[None, :] * (point[:, None] / budget - 1)) for point in (low, high)]
    return np.asarray(sums[:, _N, None] * ((1 - share[:, None]) * gains[0] + share[:, None] * gains[1]))


def _names(plan: Plan, seen: list[str]) -> list[str]:
    return list(dict.fromkeys([*sorted(plan.cost_budgets), *seen]))[: max(MAX_NAMES, len(plan.cost_budgets))]


def _inflation(baseline: Baseline | None, seen: list[str], name: str, plan: Plan) -> float:
    if baseline is None or name not in seen or "sums" not in baseline.series:
        return nan
    series = np.asarray(baseline.series["sums"], np.float64)[:, seen.index(name)]
    if (series[:, _N] > 0).sum() < FEWEST_BUCKETS:
        return nan
    found = inflation_of(series[:, _SUM], series[:, _SQUARE], series[:, _N], window_in(baseline, plan))
    return max(found, _unit_inflation(plan.options.get(OPTION, {}).get("costs", {}).get(name), series))


def _unit_inflation(units: Clustered | None, series: F64) -> float:
    """How much more a sum strays because units come back, 1 where they do not or are not known."""
    n, total, squares = series[:, :3].sum(axis=0)
    plain = squares / n - (total / n) ** 2
    if units is None or not units.window > plain * (1 + sqrt(2 / units.dof)) > 0:
        return 1.0
    return float(units.window / plain)


def _counted(cost: F64, budget: float, cut: float = 0.0) -> tuple[F64, F64]:
    x = cost[~np.isnan(cost)]
    if not len(x):
        return np.array([0.0, 0.0, 0.0, 0.0, cut]), np.zeros(len(SHARES))
    wealth = log_wealth(x, budget) if budget > 0 else np.zeros(len(SHARES))
    return np.array([len(x), x.sum(), (x**2).sum(), (x < 0).sum(), cut], np.float64), wealth


COSTS = Spec(NAME, fit, build, CostSums, reads=frozenset({"decisions", "outcomes", "episodes"}))
