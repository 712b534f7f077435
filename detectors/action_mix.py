"""Which actions the policy takes: shares, new and vanished actions, entropy, and whether the logged odds are true."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from detectors.arrays import F64, Arrays
from detectors.count_divergence import MIN_BUCKETS, CountReference, Divergence, design_effects, smoothed
from detectors.feature_bins import bin_counts, feature_names, fit_bins, possible_bins
from detectors.long_run_covariance import long_run_scores
from detectors.look_level import level_per_look
from detectors.measurement import Culprit, Measurement, Verdict, unknown
from detectors.protocol import Baseline, Detector, Plan, Spec, Window
from detectors.rare_counts import count_effects, log_chance_of_none, most_expected
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic

NAME = "action_mix"
TOP = 5
DISCRETE = ("mix_kl", "new_share", "vanished_share", "entropy")
LOGGED = ("surprise", "mean_weight")
PARTS = len(DISCRETE) + len(LOGGED) + 1


@dataclass(frozen=True, slots=True)
class ActionCounts(Statistic):
    """counts: (K,) per action code. n: (1,) decisions with a discrete action. weights: (3,) count, sum and sum of
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
    """The false rate is shared equally by seven statistics: `mix_kl`, `new_share`, `vanished_share`, `entropy`
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
        self._mix: _Mix | None = None
        self._odds: _Odds | None = None
        self._vectors: CountReference | None = None
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
            self._mix = _Mix(series.counts, series.n[:, 0], baseline.labels, window)
        if series.vectors.sum() >= plan.min_samples and self._width:
            possible = possible_bins(self._schema)
            self._vectors = CountReference.of_series(series.bins, series.vectors[:, 0], possible, window)
        self._odds = _Odds(series, window)

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
            _three(1 / decisions.propensity), _three(surprise), bin_counts(self._schema, vectors),
            np.stack([known.sum(axis=0), (known**2).sum(axis=0)], axis=1), np.array([float(len(vectors))]),
        )  # fmt: skip

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """The discrete statistics, `vector_kl` where actions are continuous, the logged odds where they are logged."""
        total = window.total
        found: list[Measurement] = []
        if total.n[0] > 0 or not self._width:
            found += self._discrete(total, window.labels)
        if self._width:
            found.append(self._vector(total))
        if total.weights[0] > 0:
            found += [self._surprise(total), self._weight(total)]
        return tuple(found)

    def _discrete(self, total: ActionCounts, labels: Sequence[str]) -> list[Measurement]:
        n = int(total.n[0])
        if self._mix is None or n < self._plan.min_samples:
            reason = self._reason if self._mix is None else _too_few(n, self._plan)
            return [unknown(NAME, statistic, n, reason) for statistic in DISCRETE]
        return self._mix.measured(total.counts, labels, n, self._level)

    def _vector(self, total: ActionCounts) -> Measurement:
        n = int(total.vectors[0])
        if self._vectors is None or n < self._plan.min_samples:
            return unknown(
                NAME, "vector_kl", n, self._reason if self._vectors is None else _too_few(n, self._plan)
            )
        found = self._vectors.divergence(total.bins, n, self._vector_level)
        worst = int(np.argmax(found.value - found.line))
        mean = total.moments[worst, 0] / n
        sd = np.sqrt(max(total.moments[worst, 1] / n - mean**2, 0.0))
        reason = f"{self._dimensions[worst]} moved most (now mean {mean:.3g}, sd {sd:.3g}): {_nats(found, worst, n)}"
        over = [
            int(j) for j in np.argsort(-found.value, kind="stable")[:TOP] if found.value[j] > found.line[j]
        ]
        culprits = tuple(Culprit(self._dimensions[j], float(found.value[j])) for j in over)
        return _line(
            "vector_kl", found.value[worst], 0.0, found.line[worst], found.error[worst], n, reason, culprits
        )

    def _surprise(self, total: ActionCounts) -> Measurement:
        n, mean, variance = _moments(total.surprises)
        variance = max(variance, self._odds.surprise_variance if self._odds else 0.0)
        if n < self._plan.min_samples or variance <= 0:
            why = (
                _too_few(n, self._plan)
                if n < self._plan.min_samples
                else "the logged policy is deterministic"
            )
            return unknown(NAME, "surprise", n, why)
        error = np.sqrt(variance / n)
        line = float(stats.norm.isf(self._level / 2)) * error
        reason = f"actions are {mean:+.3g} nats more surprising than their logged odds say, line {line:.3g} over {n}"
        return _line("surprise", abs(mean), 0.0, line, error, n, reason)

    def _weight(self, total: ActionCounts) -> Measurement:
        n, mean, variance = _moments(total.weights)
        if self._odds is None or self._mix is None or self._odds.weight_n < self._plan.min_samples:
            return unknown(NAME, "mean_weight", n, self._reason)
        if n < self._plan.min_samples:
            return unknown(NAME, "mean_weight", n, _too_few(n, self._plan))
        support, usual = self._mix.support, self._odds.weight_mean
        spread = max(variance, self._odds.weight_variance, (1e-3 * usual) ** 2)
        error = np.sqrt(spread * (1 / n + 1 / self._odds.weight_n)) / support
        line = float(stats.norm.isf(self._level / 2)) * error
        value, usual = mean / support, usual / support
        side = usual + np.copysign(line, value - usual)
        reason = f"mean importance weight towards uniform {value:.3g}, baseline {usual:.3g}, line {side:.3g}"
        return _line("mean_weight", value, usual, side, error, n, reason)


class _Mix:
    """The baseline's discrete actions, in the order of their names, with one more cell for actions it never took."""

    def __init__(self, counts: F64, n: F64, labels: Sequence[str], window: float) -> None:
        names = _names(counts.shape[1], labels)
        taken = [j for j in np.argsort(names, kind="stable") if counts[:, j].sum() > 0]
        self._names = [names[j] for j in taken]
        self._position = {name: i for i, name in enumerate(self._names)}
        ordered = np.concatenate([counts[:, taken], np.zeros((len(counts), 1))], axis=1)
        self._counts, self._window = ordered.sum(axis=0), window
        self._reference = CountReference.of_series(ordered, n, np.ones(ordered.shape[1], dtype=bool), window)
        self._effects = count_effects(ordered, n, window)

    @property
    def support(self) -> int:
        """How many actions the baseline takes."""
        return len(self._names)

    def measured(self, counts: F64, labels: Sequence[str], n: int, level: float) -> list[Measurement]:
        """`mix_kl`, `new_share`, `vanished_share` and `entropy` of counts (K,) by the codes of `labels`."""
        names = _names(len(counts), labels)
        codes = np.array([self._position.get(name, self.support) for name in names], dtype=np.int64)
        ordered = np.bincount(codes, weights=counts, minlength=self.support + 1).astype(np.float64)
        found = self._reference.divergence(ordered, n, level)
        fresh = [
            (names[j], float(counts[j]) / n) for j in np.flatnonzero((codes == self.support) & (counts > 0))
        ]
        return [
            self._kl(found, ordered / n, n),
            self._new(ordered[-1], fresh, n, level),
            self._vanished(ordered, n, level),
            self._entropy(ordered, n, level),
        ]

    def _kl(self, found: Divergence, shares: F64, n: int) -> Measurement:
        usual = self._reference.shares
        share = found.cells / max(float(found.cells.sum()), 1e-300)
        ranked = [int(j) for j in np.argsort(-share, kind="stable")[:TOP] if share[j] > 0]
        culprits = tuple(Culprit(self._name(j), float(share[j])) for j in ranked)
        value, line = float(found.value), float(found.line)
        reason = f"action mix {value:.3g} nats from the baseline over {n}, line {line:.3g}"
        if ranked:
            reason += f"; {self._name(ranked[0])} from {usual[ranked[0]]:.2%} to {shares[ranked[0]]:.2%}"
        return _line("mix_kl", value, 0.0, line, float(found.error), n, reason, culprits)

    def _new(self, count: float, fresh: list[tuple[str, float]], n: int, level: float) -> Measurement:
        """Good (1953): actions seen once in the baseline tell how often a never seen one is to be expected."""
        once = np.array(float((self._counts == 1).sum()))
        line = float(most_expected(level, once, n, self._reference.n, np.array(self._effect()))) / n
        fresh = sorted(fresh, key=lambda item: (-item[1], item[0]))[:TOP]
        reason = f"{count / n:.2%} of {n} decisions take actions unknown to the baseline, line {line:.2%}"
        culprits = tuple(Culprit(name, share) for name, share in fresh)
        usual, error = float(once) / self._reference.n, float(np.sqrt(count)) / n
        return _line("new_share", count / n, min(usual, line), line, error, n, reason, culprits)

    def _vanished(self, ordered: F64, n: int, level: float) -> Measurement:
        """The largest baseline share among absent actions; the line is where absence stops being chance."""
        known, effect = self._counts[:-1], self._effects[:-1]
        chance = log_chance_of_none(known, n, self._reference.n, effect)
        absent = np.flatnonzero(ordered[:-1] == 0)
        needed = -np.log(level / self.support)
        over = absent[np.argsort(chance[absent], kind="stable")]
        if len(over) == 0:
            return Measurement(
                NAME, "vanished_share", "", 0.0, n, Verdict.OK, severity=0.0, reason="no action vanished"
            )
        worst = int(over[0])
        share = float(self._reference.shares[worst])
        line = share * needed / max(-float(chance[worst]), 1e-300)
        culprits = tuple(
            Culprit(self._names[j], float(self._reference.shares[j]))
            for j in over[:TOP]
            if -chance[j] > needed
        )
        reason = (
            f"{self._names[worst]} ({share:.2%} of the baseline) absent from {n} decisions, line {line:.2%}"
        )
        return _line("vanished_share", share, 0.0, line, 0.0, n, reason, culprits)

    def _entropy(self, ordered: F64, n: int, level: float) -> Measurement:
        """H(window) = H(baseline) - sum (p - q) ln q - KL(p || q): the first term by its long-run variance (t with
        as many degrees of freedom as there are scores), the second by the line of the divergence.
        """
        mix = self._reference.mixing(n)
        possible = self._reference.possible
        usual = smoothed(self._reference.shares, possible, mix)
        now = smoothed(ordered / n, possible, mix)
        value, before = (float(-(law * np.log(law)).sum()) for law in (now, usual))
        linear = self._reference.scores @ np.log(usual) / (1 + float(mix[0]))
        error = float(np.sqrt((linear**2).mean() * (1 / n + 1 / self._reference.n)))
        chance = self._reference.divergence(ordered, n, level / 2)
        drop = float(chance.line + chance.cells.sum() - chance.value)
        line = before - float(stats.t.isf(level / 2, len(linear))) * error - drop
        reason = (
            f"entropy of the action mix {value:.3g} nats over {n}, baseline {before:.3g}, line {line:.3g}"
        )
        return _line("entropy", value, before, line, error, n, reason)

    def _effect(self) -> float:
        return max(1.0, float(design_effects(self._reference.scores, self._reference.shares)))

    def _name(self, j: int) -> str:
        return self._names[j] if j < self.support else "(new)"


class _Odds:
    """What the baseline says of logged propensities: mean and variance of 1 / propensity, variance of surprises."""

    def __init__(self, series: ActionCounts, window: float) -> None:
        self.weight_n, self.weight_mean, variance = _moments(series.weights.sum(axis=0))
        self.weight_variance = variance
        inside = series.weights[:, 0] > 0
        if inside.sum() >= MIN_BUCKETS:
            weights = series.weights[inside]
            scores = long_run_scores(weights[:, 1], weights[:, 0], window)
            self.weight_variance = max(variance, float((scores**2).mean()))
        self.surprise_variance = _moments(series.surprises.sum(axis=0))[2]


def _three(values: F64) -> F64:
    finite = values[np.isfinite(values)]
    return np.array([len(finite), finite.sum(), (finite**2).sum()])


def _moments(three: F64) -> tuple[int, float, float]:
    """Count, mean and variance from count, sum and sum of squares."""
    n = max(float(three[0]), 1.0)
    mean = float(three[1]) / n
    return int(three[0]), mean, max(float(three[2]) / n - mean**2, 0.0)


def _names(width: int, labels: Sequence[str]) -> list[str]:
    return [labels[j] if j < len(labels) else f"#{j}" for j in range(width)]


def _too_few(n: int, plan: Plan) -> str:
    return f"{n} decisions in the window, {plan.min_samples} needed"


def _nats(found: Divergence, j: int, n: int) -> str:
    return f"{found.value[j]:.3g} nats over {n}, line {found.line[j]:.3g}"


def _line(
    statistic: str, value: float, usual: float, line: float, error: float, n: int, reason: str,
    culprits: tuple[Culprit, ...] = (),
) -> Measurement:  # fmt: skip
    severity = float((value - usual) / (line - usual)) if line != usual else 0.0
    verdict = Verdict.BREACH if severity > 1 else Verdict.OK
    return Measurement(
        NAME,
        statistic,
        "",
        float(value),
        n,
        verdict,
        float(line),
        float(error),
        severity,
        0,
        reason,
        culprits,
    )


def build(baseline: Baseline | None, plan: Plan) -> Detector:
    """With an empty series it only counts."""
    return ActionMix(baseline, plan)


ACTION_MIX = Spec(NAME, fit, build, ActionCounts, reads=frozenset({"decisions"}))
