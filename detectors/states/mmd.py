"""How far the states as a whole have moved from the baseline: maximum mean discrepancy, a mergeable sum."""

from dataclasses import dataclass

import numpy as np

from detectors.arrays import F64, Arrays
from detectors.features.bins import feature_names, present_rows
from detectors.features.random_fourier import FourierMap, fit_fourier
from detectors.inference.long_run_covariance import long_run_scores
from detectors.inference.look_level import level_per_look
from detectors.inference.quadratic_form import Traces, at_least, quantile, traces_of_scores
from detectors.measurement import Culprit, Measurement, Verdict, unknown
from detectors.protocol import Baseline, Detector, Plan, Rate, Spec, Window
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic
from detectors.units.units import OPTION, STATES, StateUnits
from detectors.windows.count_divergence import MIN_BUCKETS
from detectors.windows.own_windows import raised, window_sums
from detectors.windows.sufficiency import why_too_little

NAME = "state_mmd"
TOP = 5


@dataclass(frozen=True, slots=True)
class FourierSums(Statistic):
    """sums: (D,) of cosines and sines. n: (1,) rows that carry a state."""

    sums: F64
    n: F64


def fit(sample: Decisions, plan: Plan) -> Arrays:
    """Standardisation and frequencies."""
    return fit_fourier(present_rows(sample.state))


@dataclass(frozen=True, slots=True)
class MmdReference:
    """Kernel mean of the baseline (D,), its rows, traces of the long-run covariance and the line per unit of 1/n + 1/N.

    noise: (D/2,) long-run variance of each frequency, cosine and sine together.
    """

    mean: F64
    n: float
    traces: Traces
    line: float
    noise: F64

    @classmethod
    def of_series(cls, sums: F64, n: F64, window: float, level: float, effect: float = 1.0) -> "MmdReference":
        """From bucket sums (T, D) over n (T,) rows; window: its length in these buckets.

        effect: design effect that units have on the means of features: nearly that on smooth functions of them, more
        than that on others.
        """
        norm = np.sqrt(2 / sums.shape[1])
        mean, rows = sums.sum(axis=0) * norm / n.sum(), float(n.sum())
        scores = long_run_scores(sums * norm, n, window)
        traces = at_least(traces_of_scores(scores), np.asarray(1 - (mean**2).sum()) * effect)
        span = max(1, round(window))
        own, own_n = window_sums(sums * norm, span), window_sums(n, span)
        own, own_n = own[own_n > 0], own_n[own_n > 0]
        distances = ((own / own_n[:, None] - mean) ** 2).sum(axis=1) / (1 / own_n - 1 / rows)
        line = float(raised(quantile(level, traces), distances, level))
        return cls(mean, rows, traces, line, (scores**2).mean(axis=0).reshape(2, -1).sum(axis=0))


class StateMmd:
    """Squared MMD, unbiased.

    The squared distance of kernel means less its expectation under the baseline's own
    long-run covariance (Gretton et al. 2012, lemma 6; for dependent rows Chwialkowski & Gretton 2014).
    """

    name = NAME

    def __init__(self, baseline: Baseline | None, plan: Plan) -> None:
        self._plan = plan
        self._schema = baseline.schema if baseline is not None else fit_fourier(np.empty((0, 0)))
        self._features = feature_names(plan, "state_features", "state", len(self._schema["center"]))
        self._map = FourierMap.of_schema(self._schema)
        self._reason, self._reference = _reference(baseline, self._schema, plan)

    def observe(self, rows: BucketRows) -> FourierSums:
        """Feature sums of the decisions that carry a state."""
        state = present_rows(rows.decisions.state)
        if state.shape[1] != len(self._schema["center"]):
            state = np.empty((0, len(self._schema["center"])))
        return FourierSums(self._map.sums(state), np.array([float(len(state))]))

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """`mmd2` of the window, with the features along which the witness function is steepest."""
        n, reference = int(window.total.n[0]), self._reference
        if reference is None:
            return (unknown(NAME, "mmd2", n, self._reason),)
        if why := why_too_little(window, self._plan, n, "states"):
            return (unknown(NAME, "mmd2", n, why),)
        scale = 1 / n + 1 / reference.n
        change = window.total.sums * np.sqrt(2 / len(reference.mean)) / n - reference.mean
        value = float((change**2).sum() - reference.traces.c1 * scale)
        line = float(reference.line - reference.traces.c1) * scale
        error = float(np.sqrt(2 * reference.traces.c2)) * scale
        verdict = Verdict.BREACH if value > line else Verdict.OK
        reason = (
            f"the states have moved away from the baseline: squared MMD {value:.3g} over {n}, line {line:.3g}"
        )
        culprits = self._culprits(change, reference.noise * scale)
        return (
            Measurement(NAME, "mmd2", "", value, n, verdict, line, error, value / line, 0, reason, culprits),
        )

    def _culprits(self, change: F64, noise: F64) -> tuple[Culprit, ...]:
        """Features by the mean squared slope of the witness function along them, less what noise gives."""
        power = np.maximum((change.reshape(2, -1) ** 2).sum(axis=0) - noise, 0.0)
        slope = (np.asarray(self._schema["frequencies"], dtype=np.float64) ** 2) @ power
        share = slope / max(float(slope.sum()), 1e-300)
        ranked = np.argsort(-share, kind="stable")[:TOP]
        return tuple(Culprit(self._features[j], float(share[j])) for j in ranked if share[j] > 0)


def _reference(baseline: Baseline | None, schema: Arrays, plan: Plan) -> tuple[str, MmdReference | None]:
    if baseline is None:
        return "no baseline", None
    if len(schema["center"]) == 0:
        return "the baseline holds no states", None
    if len(baseline.starts_ms) < MIN_BUCKETS:
        return f"the baseline holds {len(baseline.starts_ms)} buckets, {MIN_BUCKETS} needed", None
    series = FourierSums.of_arrays(baseline.series)
    if series.n.sum() < plan.min_samples:
        return "the baseline holds too few states", None
    window_ms = plan.window_buckets * plan.bucket_ms
    level = level_per_look(plan.false_per_day, window_ms, plan.window_buckets)
    units: StateUnits | None = plan.options.get(OPTION, {}).get(STATES)
    effect = 1.0 if units is None else units.effect()
    window = window_ms / baseline.bucket_ms
    return "", MmdReference.of_series(series.sums, series.n[:, 0], window, level, effect)


def build(baseline: Baseline | None, plan: Plan) -> Detector:
    """With an empty series it only counts."""
    return StateMmd(baseline, plan)


RATES = (Rate("sums", "n"),)
STATE_MMD = Spec(NAME, fit, build, FourierSums, reads=frozenset({"decisions"}), rates=RATES)
