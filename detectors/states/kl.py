"""How far each state feature has moved from the baseline, in nats, and whether chance does as much."""

from dataclasses import dataclass, replace
from math import inf

import numpy as np

from detectors.arrays import F64, Arrays, Bool
from detectors.features.bins import (
    ABOVE,
    BELOW,
    MISSING,
    bin_counts,
    feature_names,
    fit_bins,
    possible_bins,
    present_rows,
)
from detectors.inference.look_level import level_per_look
from detectors.measurement import Culprit, Measurement, Verdict, unknown
from detectors.protocol import Baseline, Detector, Plan, Rate, Spec, Window
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic
from detectors.units.units import OPTION, STATES, StateUnits
from detectors.windows.count_divergence import MIN_BUCKETS, CountReference, Divergence
from detectors.windows.sufficiency import why_too_little

NAME = "state_kl"
TOP = 5
FALSELY_NAMED = 0.1  # of the features named, on average


@dataclass(frozen=True, slots=True)
class BinCounts(Statistic):
    """counts: (d, 13) rows per feature and bin. n: (1,) rows that carry a state."""

    counts: F64
    n: F64


def fit(sample: Decisions, plan: Plan) -> Arrays:
    """Bins of every state feature."""
    return fit_bins(present_rows(sample.state))


class StateKl:
    """KL(window || baseline) of every feature, and their sum.

    Half of the false rate pays for the worst feature (Bonferroni over d), half for the sum over all features,
    which finds a small shift of many: a familywise price, as the false signals of a rule are what it costs. Which
    features are named once a line is passed is another question, and false discovery control answers it. Severity
    is the bias-corrected nats over the line.
    """

    name = NAME

    def __init__(self, baseline: Baseline | None, plan: Plan) -> None:
        self._schema = baseline.schema if baseline is not None else fit_bins(np.empty((0, 0)))
        self._plan = plan
        width = len(self._schema["bin_values"])
        self._features = feature_names(plan, "state_features", "state", width)
        self._reason, self._reference = _reference(baseline, self._schema, plan)
        window_ms = plan.window_buckets * plan.bucket_ms
        self._level = level_per_look(plan.false_per_day / 2, window_ms, plan.window_buckets, width)
        self._total_level = level_per_look(plan.false_per_day / 2, window_ms, plan.window_buckets)

    def observe(self, rows: BucketRows) -> BinCounts:
        """Bin counts of the decisions that carry a state."""
        state = present_rows(rows.decisions.state)
        usable = state.shape[1] == len(self._schema["bin_values"])
        return BinCounts(bin_counts(self._schema, state), np.array([float(len(state)) if usable else 0.0]))

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """`kl_max` (worst feature) and `kl_sum`, always; `kl` of up to five breaching features besides."""
        n = int(window.total.n[0])
        if self._reference is None:
            return _unknown(n, self._reason)
        if why := why_too_little(window, self._plan, n, "states"):
            return _unknown(n, why)
        found = self._reference.divergence(window.total.counts, n, self._level)
        worst, total = self._worst(found, n), self._sum(found, n)
        tripped = Verdict.BREACH in (worst.verdict, total.verdict)
        culprits = self._culprits(
            found, self._reference.discovered(found, n, FALSELY_NAMED) if tripped else None
        )
        if tripped and not culprits:
            total = replace(total, reason=f"{total.reason}; no single one by enough to be named")
        return (
            replace(worst, culprits=culprits),
            replace(total, culprits=culprits),
            *self._breaching(found, n),
        )

    def _worst(self, found: Divergence, n: int) -> Measurement:
        worst = int(np.argmax(found.value - found.line))
        reason = _clause(self._features[worst], found, worst, n)
        return _measured("kl_max", "", found, worst, n, reason)

    def _sum(self, found: Divergence, n: int) -> Measurement:
        assert self._reference is not None
        total = self._reference.total(found, n, self._total_level)
        value, line, error = float(total.value), float(total.line), float(total.error)
        reason = (
            f"all {len(self._features)} features together have moved {value:.3g} nats from the baseline "
            f"over {n} states, line {line:.3g}"
        )
        verdict = Verdict.BREACH if value > line else Verdict.OK
        return Measurement(
            NAME,
            "kl_sum",
            "",
            value,
            n,
            verdict,
            line,
            error,
            _severity(value, line),
            0,
            reason,
        )

    def _breaching(self, found: Divergence, n: int) -> tuple[Measurement, ...]:
        if not (found.value > found.line).any():
            return ()
        over_line = np.array(
            [_severity(v, w) for v, w in zip(found.value.tolist(), found.line.tolist(), strict=True)]
        )
        ranked = np.argsort(-over_line, kind="stable")[:TOP]
        over = [int(j) for j in ranked if found.value[j] > found.line[j]]
        return tuple(
            _measured("kl", self._features[j], found, j, n, _clause(self._features[j], found, j, n))
            for j in over
        )

    def _culprits(self, found: Divergence, named: Bool | None) -> tuple[Culprit, ...]:
        """The features that moved most, once a line is passed only those that false discovery control lets be named."""
        moved = np.maximum(found.value, 0.0)
        share = moved / max(float(moved.sum()), 1e-300)
        ranked = np.argsort(-share, kind="stable")[:TOP]
        return tuple(
            Culprit(self._features[j], float(share[j]))
            for j in ranked
            if share[j] > 0 and (named is None or named[j])
        )


def _reference(baseline: Baseline | None, schema: Arrays, plan: Plan) -> tuple[str, CountReference | None]:
    if baseline is None:
        return "no baseline", None
    if len(schema["bin_values"]) == 0:
        return "the baseline holds no states", None
    if len(baseline.starts_ms) < MIN_BUCKETS:
        return f"the baseline holds {len(baseline.starts_ms)} buckets, {MIN_BUCKETS} needed", None
    series = BinCounts.of_arrays(baseline.series)
    if series.n.sum() < plan.min_samples:
        return "the baseline holds too few states", None
    window = plan.window_buckets * plan.bucket_ms / baseline.bucket_ms
    possible, effect = possible_bins(schema), _effect(plan, len(schema["bin_values"]))
    return "", CountReference.of_series(series.counts, series.n[:, 0], possible, window, effect)


def _effect(plan: Plan, features: int) -> F64:
    """(features,) design effects of units on counts in bins.

    Where means of users differ, one direction of bins has all of the effect on means, the others little; half of it on
    all gives nearly the same far tail.
    """
    units: StateUnits | None = plan.options.get(OPTION, {}).get(STATES)
    if units is None:
        return np.ones(features)
    each = units.effects() if units.width == features else np.full(features, units.effect())
    return np.asarray((1 + each) / 2)


def _measured(
    statistic: str,
    subject: str,
    found: Divergence,
    j: int,
    n: int,
    reason: str,
) -> Measurement:
    value, line = float(found.value[j]), float(found.line[j])
    verdict = Verdict.BREACH if value > line else Verdict.OK
    return Measurement(
        NAME,
        statistic,
        subject,
        value,
        n,
        verdict,
        line,
        float(found.error[j]),
        _severity(value, line),
        0,
        reason,
    )


def _clause(feature: str, found: Divergence, j: int, n: int) -> str:
    cells = found.cells[j]
    worst = int(np.argmax(cells))
    what = {
        MISSING: ", mostly by going missing",
        BELOW: ", mostly below or outside its known values",
        ABOVE: ", mostly above its known values",
    }
    why = what.get(worst, "") if cells[worst] > cells.sum() / 2 else ""
    nats = f"{found.value[j]:.3g} nats over {n} states, line {found.line[j]:.3g}"
    return f"{feature} has moved away from the baseline: {nats}{why}"


def _severity(value: float, line: float) -> float:
    """Value over line; a line of zero (features that never varied) is crossed by anything or by nothing."""
    if line > 0:
        return value / line
    return inf if value > line else 0.0


def _unknown(n: int, reason: str) -> tuple[Measurement, ...]:
    return (unknown(NAME, "kl_max", n, reason), unknown(NAME, "kl_sum", n, reason))


def build(baseline: Baseline | None, plan: Plan) -> Detector:
    """With an empty series it only counts."""
    return StateKl(baseline, plan)


RATES = (Rate("counts", "n", cells=True),)
STATE_KL = Spec(NAME, fit, build, BinCounts, reads=frozenset({"decisions"}), rates=RATES)
