"""Which actions the policy takes: shares, new and vanished actions, entropy, and whether the logged odds are true."""

from dataclasses import dataclass

import numpy as np

from detectors.actions.logged_odds import LoggedOdds, three_sums
from detectors.actions.table import DISCRETE, ActionTable
from detectors.arrays import F64, Arrays
from detectors.features.bins import bin_counts, feature_names, fit_bins, possible_bins
from detectors.inference.look_level import level_per_look
from detectors.measurement import Culprit, Measurement, unknown
from detectors.protocol import Baseline, Detector, Plan, Rate, Spec, Window
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic
from detectors.units.units import ACTIONS, OPTION, ActionUnits
from detectors.windows.count_divergence import MIN_BUCKETS, CountReference, Divergence
from detectors.windows.judged import judged
from detectors.windows.sufficiency import why_too_little

NAME = "action_mix"
TOP = 5
PARTS = len(DISCRETE) + 3  # surprise, mean_weight, vector_kl


@dataclass(frozen=True, slots=True)
class ActionCounts(Statistic):
    """What was done, and with which logged odds.

    counts: (K,) per action code. n: (1,) decisions with a discrete action. weights: (3,) count, sum and sum of
    squares of 1 / propensity. surprises: (3,) the same of -ln propensity - entropy. bins: (k, 13) of continuous
    actions, moments: (k, 2) their sums and sums of squares, vectors: (1,) how many.
    """

    counts: F64
    n: F64
    weights: F64
    surprises: F64
    bins: F64
    moments: F64
    vectors: F64


def fit(sample: Decisions, plan: Plan) -> Arrays:
    """Bins of continuous actions; discrete ones need none."""
    return fit_bins(sample.action_vector)


class ActionMix:
    """Action statistics against the baseline's.

    The false rate is shared equally by seven statistics: `mix_kl`, `new_share`, `vanished_share`, `entropy`
    (collapse), `surprise`, `mean_weight`, and `vector_kl` (Bonferroni over dimensions) for continuous actions.
    """

    name = NAME

    def __init__(self, baseline: Baseline | None, plan: Plan) -> None:
        self._plan = plan
        self._schema = fit_bins(np.empty((0, 0))) if baseline is None else baseline.schema
        self._width = len(self._schema["bin_values"])
        self._dimensions = feature_names(plan, "action_features", "action", self._width)
        window_ms, rate = plan.window_buckets * plan.bucket_ms, plan.false_per_day / PARTS
        self._level = level_per_look(rate, window_ms, plan.window_buckets)
        self._vector_level = level_per_look(rate, window_ms, plan.window_buckets, self._width)
        self._reason = "no baseline"
        self._table: ActionTable | None = None
        self._vectors: CountReference | None = None
        self._odds = LoggedOdds(NAME, self._level, np.zeros((0, 3)), np.zeros((0, 3)), 1.0)
        if baseline is not None:
            self._learn(baseline, plan)

    def _learn(self, baseline: Baseline, plan: Plan) -> None:
        if len(baseline.starts_ms) < MIN_BUCKETS:
            self._reason = f"the baseline holds {len(baseline.starts_ms)} buckets, {MIN_BUCKETS} needed"
            return
        self._reason = "the baseline holds too few such actions"
        series = ActionCounts.of_arrays(baseline.series)
        window = plan.window_buckets * plan.bucket_ms / baseline.bucket_ms
        if series.n.sum() >= plan.min_samples:
            units: ActionUnits | None = plan.options.get(OPTION, {}).get(ACTIONS)
            effect = 1.0 if units is None else units.effect()
            self._table = ActionTable(NAME, series.counts, series.n[:, 0], baseline.labels, window, effect)
        if series.vectors.sum() >= plan.min_samples and self._width:
            possible = possible_bins(self._schema)
            self._vectors = CountReference.of_series(series.bins, series.vectors[:, 0], possible, window)
        self._odds = LoggedOdds(NAME, self._level, series.weights, series.surprises, window)

    def observe(self, rows: BucketRows) -> ActionCounts:
        """Counts of one bucket's decisions."""
        decisions = rows.decisions
        discrete = decisions.action[decisions.action >= 0]
        vectors = decisions.action_vector
        if vectors.shape[1] != self._width:
            vectors = np.empty((0, self._width))
        known = np.where(np.isfinite(vectors), vectors, 0.0)
        with np.errstate(divide="ignore"):
            surprise = -np.log(decisions.propensity) - decisions.entropy
        return ActionCounts(
            np.bincount(discrete).astype(np.float64), np.array([float(len(discrete))]),
            three_sums(1 / decisions.propensity), three_sums(surprise), bin_counts(self._schema, vectors),
            np.stack([known.sum(axis=0), (known**2).sum(axis=0)], axis=1), np.array([float(len(vectors))]),
        )  # fmt: skip

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """The discrete statistics, `vector_kl` where actions are continuous, the odds where they are logged."""
        total, plan = window.total, self._plan
        found: list[Measurement] = []
        if self._table is not None or not self._width:
            found += self._discrete(window)
        if self._width:
            found.append(self._vector(window))
        if total.surprises[0] > 0 or self._odds.surprise_n:
            why = why_too_little(window, plan, int(total.surprises[0]), "logged distributions")
            found.append(self._odds.surprise(total.surprises, why))
        if self._table is not None and (total.weights[0] > 0 or self._odds.weight_n):
            why = why_too_little(window, plan, int(total.weights[0]), "propensities")
            found.append(self._odds.mean_weight(total.weights, self._table.support, why))
        return tuple(found)

    def _discrete(self, window: Window) -> list[Measurement]:
        total = window.total
        n = int(total.n[0])
        why = why_too_little(window, self._plan, n, "decisions")
        if self._table is None or why:
            reason = self._reason if self._table is None else why
            return [unknown(NAME, statistic, n, reason) for statistic in DISCRETE]
        return self._table.measured(total.counts, window.labels, n, self._level)

    def _vector(self, window: Window) -> Measurement:
        total = window.total
        n = int(total.vectors[0])
        why = why_too_little(window, self._plan, n, "decisions")
        if self._vectors is None or why:
            return unknown(NAME, "vector_kl", n, self._reason if self._vectors is None else why)
        found = self._vectors.divergence(total.bins, n, self._vector_level)
        worst = int(np.argmax(found.value - found.line))
        mean = total.moments[worst, 0] / n
        sd = np.sqrt(max(total.moments[worst, 1] / n - mean**2, 0.0))
        reason = f"{self._dimensions[worst]} moved most (now mean {mean:.3g}, sd {sd:.3g}): {_nats(found, worst, n)}"
        over = [
            int(j) for j in np.argsort(-found.value, kind="stable")[:TOP] if found.value[j] > found.line[j]
        ]
        culprits = tuple(Culprit(self._dimensions[j], float(found.value[j])) for j in over)
        return judged(
            NAME,
            "vector_kl",
            found.value[worst],
            0.0,
            found.line[worst],
            found.error[worst],
            n,
            reason,
            culprits,
        )


def _nats(found: Divergence, j: int, n: int) -> str:
    return f"{found.value[j]:.3g} nats over {n}, line {found.line[j]:.3g}"


def build(baseline: Baseline | None, plan: Plan) -> Detector:
    """With an empty series it only counts."""
    return ActionMix(baseline, plan)


RATES = (
    Rate("counts", "n", cells=True),
    Rate("bins", "vectors", cells=True),
    Rate("weights", "weights", part=(1,)),
)
ACTION_MIX = Spec(
    NAME,
    fit,
    build,
    ActionCounts,
    reads=frozenset({"decisions"}),
    rates=RATES,
    by_action=frozenset({"counts"}),
)
