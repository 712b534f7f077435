"""Whether the states are fit to be compared: missing, stuck or out-of-range features, and traffic without support."""

from dataclasses import dataclass

import numpy as np

from detectors.arrays import F64, Arrays, Bool
from detectors.features.bins import feature_names
from detectors.features.finite_columns import finite_columns
from detectors.features.random_fourier import robust_scale, whole_steps
from detectors.inference.look_level import level_per_look
from detectors.inference.rare_counts import count_effects, log_chance_of_none, most_expected
from detectors.measurement import Culprit, Measurement, Verdict, unknown
from detectors.protocol import Baseline, Detector, Plan, Spec, Window
from detectors.rows import BucketRows, Decisions, no_decisions
from detectors.statistic import Statistic
from detectors.windows.count_divergence import MIN_BUCKETS
from detectors.windows.own_windows import raised, window_sums
from detectors.windows.sufficiency import why_too_little

NAME = "state_quality"
TOP = 5
SHARES = ("missing_share", "outside_share", "support")
CELLS = 2**15  # values counted at a time: they stay in cache
_LONGER = 2.0  # times the longest stillness of the baseline
STEP, CLIP = 2.0**10, 64.0  # steps of a robust unit, so that sums of squares stay exact


@dataclass(frozen=True, slots=True)
class QualityCounts(Statistic):
    """What went wrong in how many decisions.

    Per feature (d,): missing, outside (the sample's range), typical (at the sample's commonest value), sum and
    square of robust units. all_missing, unsupported, n: (1,) decisions without any state, with a feature outside
    its range, and in all.
    """

    missing: F64
    outside: F64
    typical: F64
    sum: F64
    square: F64
    all_missing: F64
    unsupported: F64
    n: F64


def fit(sample: Decisions, plan: Plan) -> Arrays:
    """Range, commonest value and robust scale of every feature."""
    state = sample.state
    center, scale = robust_scale(state)
    low, high, typical = (np.full(state.shape[1], np.nan) for _ in range(3))
    for j, finite in enumerate(finite_columns(state)):
        if len(finite):
            values, counts = np.unique(finite, return_counts=True)
            low[j], high[j], typical[j] = values[0], values[-1], values[np.argmax(counts)]
    return {"low": low, "high": high, "typical": typical, "center": center, "scale": scale}


class StateQuality:
    """Four statistics of data quality, always told.

    `missing_share`, `outside_share`, `stuck` (worst feature) and `support` (share of decisions outside the
    training range). Each of the four spends a quarter of the false rate, split over features (Bonferroni).
    """

    name = NAME

    def __init__(self, baseline: Baseline | None, plan: Plan) -> None:
        self._plan = plan
        schema = fit(no_decisions(), plan) if baseline is None else baseline.schema
        self._schema: dict[str, F64] = {
            name: np.asarray(array, dtype=np.float64) for name, array in schema.items()
        }
        self._width = len(self._schema["low"])
        self._features = feature_names(plan, "state_features", "state", self._width)
        self._reason, self._past = _past(baseline, self._width, plan)
        window_ms = plan.window_buckets * plan.bucket_ms
        self._level = level_per_look(plan.false_per_day / 4, window_ms, plan.window_buckets, self._width)
        self._row_level = level_per_look(plan.false_per_day / 4, window_ms, plan.window_buckets)

    def observe(self, new: BucketRows) -> QualityCounts:
        """Counts of one bucket's decisions; a state of another width counts as missing."""
        state = new.decisions.state
        if state.shape[1] != self._width:
            state = np.full((len(new.decisions), self._width), np.nan)
        rows = max(CELLS // max(self._width, 1), 1)
        parts = [self._counted(state[start : start + rows]) for start in range(0, max(len(state), 1), rows)]
        return QualityCounts.merged(parts)

    def _counted(self, state: F64) -> QualityCounts:
        """Of rows that stay in cache; all sums are exact, so that it does not matter how they are cut."""
        schema, finite = self._schema, np.isfinite(state)
        outside = state < schema["low"]
        outside |= state > schema["high"]
        outside &= finite
        units = np.subtract(state, schema["center"])
        np.divide(units, schema["scale"], out=units)
        if not finite.all():
            units[~finite] = 0.0
        np.minimum(np.maximum(units, -CLIP, out=units), CLIP, out=units)
        units = whole_steps(units, STEP)
        missing = ~finite
        return QualityCounts(
            _total(missing), _total(outside), _total(state == schema["typical"]),
            units.sum(axis=0), np.square(units, out=units).sum(axis=0), _total(np.all(missing, axis=1, keepdims=True)),
            _total(np.any(outside, axis=1, keepdims=True)), np.array([float(len(state))]),
        )  # fmt: skip

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """The four statistics, always."""
        total, n = window.total, int(window.total.n[0])
        if self._past is None:
            return tuple(unknown(NAME, statistic, n, self._reason) for statistic in (*SHARES, "stuck"))
        if why := why_too_little(window, self._plan, n, "decisions"):
            stuck = self._stuck(window, n)  # so few rows can prove that a feature sticks, not that none does
            if stuck.verdict is not Verdict.BREACH:
                stuck = unknown(NAME, "stuck", n, why)
            return (*(unknown(NAME, statistic, n, why) for statistic in SHARES), stuck)
        return (
            self._share("missing_share", total.missing, n, self._level, "missing"),
            self._share("outside_share", total.outside, n, self._level, "outside the training range"),
            self._share(
                "support", total.unsupported, n, self._row_level, "outside the training data in any feature"
            ),
            self._stuck(window, n),
        )

    def _share(self, statistic: str, counts: F64, n: int, level: float, what: str) -> Measurement:
        assert self._past is not None
        shares, usual = counts / n, self._past.share(statistic)
        lines = self._past.line(statistic, n, level)
        severity = (shares - usual) / np.maximum(lines - usual, 1e-12)
        worst = int(np.argmax(severity))
        subject = "of the decisions lie" if statistic == "support" else f"of {self._features[worst]} is"
        reason = f"{shares[worst]:.2%} {subject} {what}, {usual[worst]:.2%} in the baseline, line {lines[worst]:.2%}"
        named: tuple[Culprit, ...] = ()
        if statistic != "support" and severity[worst] > 1:
            over = [int(j) for j in np.argsort(-severity, kind="stable")[:TOP] if severity[j] > 1]
            named = tuple(Culprit(self._features[j], float(shares[j])) for j in over)
        verdict = Verdict.BREACH if severity[worst] > 1 else Verdict.OK
        error = float(np.sqrt(max(shares[worst] * (1 - shares[worst]), 0.0) / n))
        return Measurement(
            NAME, statistic, "", float(shares[worst]), n, verdict, float(lines[worst]), error,
            float(severity[worst]), 0, reason, named,
        )  # fmt: skip

    def _stuck(self, window: Window, n: int) -> Measurement:
        """The newest buckets decide: a feature that sticks is to be named before the states are called different."""
        assert self._past is not None
        still = self._past.still(*(window.series(name) for name in ("n", "missing", "sum", "square")))
        stuck = self._past.stuck(still, self._level)
        names = [self._features[int(j)] for j in np.flatnonzero(stuck)]
        rows = int(still[stuck].min()) if names else n
        reason = f"{len(names)} features do not move over {rows} decisions" + (
            f": {', '.join(names[:TOP])}" if names else ""
        )
        culprits = tuple(Culprit(name, 1.0 / len(names)) for name in names[:TOP])
        verdict = Verdict.BREACH if names else Verdict.OK
        value = float(len(names))
        return Measurement(NAME, "stuck", "", value, n, verdict, 0.5, 0.0, value / 0.5, 0, reason, culprits)


class _Past:
    """What the baseline's series says of each count."""

    def __init__(self, series: QualityCounts, window: float) -> None:
        self._n = series.n[:, 0]
        self._unseen = {"missing_share": 1, "outside_share": 2, "support": 2 * series.outside.shape[1]}
        self._rows = float(self._n.sum())
        self._counts = {
            "missing_share": series.missing,
            "outside_share": series.outside,
            "support": series.unsupported,
        }
        self._effects = {
            name: count_effects(counts, self._n, window) for name, counts in self._counts.items()
        }
        span = max(1, round(window))
        own_n = window_sums(self._n, span)[:, None]
        self._own = {name: window_sums(c, span) / np.maximum(own_n, 1) for name, c in self._counts.items()}
        self._lines: dict[tuple[str, int], F64] = {}
        self._shares = {name: np.asarray(c.sum(axis=0) / self._rows) for name, c in self._counts.items()}
        self._moving = self._rows - series.missing.sum(axis=0) - series.typical.sum(axis=0)
        self._typical_effect = count_effects(series.typical, self._n, window)
        self._longest = _longest_stillness(series)

    def share(self, statistic: str) -> F64:
        """(d,) or (1,): the baseline's share."""
        return self._shares[statistic]

    def line(self, statistic: str, n: int, level: float) -> F64:
        """(d,) or (1,): the share that n rows exceed with probability `level`; n is rounded down to 1/8 octave."""
        step = int(np.floor(8 * np.log2(n)))
        if (statistic, step) not in self._lines:
            rows = 2 ** (step / 8)
            counts = self._counts[statistic].sum(axis=0)
            effect, unseen = self._effects[statistic], self._unseen[statistic]
            line = most_expected(level, counts, rows, self._rows, effect, unseen) / rows
            self._lines[statistic, step] = raised(line, self._own[statistic], level)
        return self._lines[statistic, step]

    def still(self, n: F64, missing: F64, total: F64, square: F64) -> F64:
        """(d,) rows of the newest buckets (oldest first) over which each feature has not moved at all."""
        found = np.zeros(missing.shape[1])
        alive, rows, sums, squares = np.ones(len(found), dtype=bool), 0.0, 0.0, 0.0
        for i in reversed(range(len(n))):
            rows = rows + n[i] - missing[i]
            sums, squares = sums + total[i], squares + square[i]
            alive &= _constant(sums, squares, rows) | (rows <= 1)
            if not alive.any():
                break
            found = np.where(alive, rows, found)
        return np.asarray(np.where(found > 1, found, 0.0))

    def stuck(self, still: F64, level: float) -> Bool:
        """(d,) bool: still for longer than ever in the baseline, by far, and not by chance."""
        chance = log_chance_of_none(self._moving, still, self._rows, self._typical_effect)
        return np.asarray((still > _LONGER * self._longest) & (chance < np.log(level)))


def _longest_stillness(series: QualityCounts) -> F64:
    """(d,) the most rows over successive buckets in which a feature kept one value."""
    rows = np.maximum(series.n - series.missing, 0.0)
    mean = series.sum / np.maximum(rows, 1)
    still = _constant(series.sum, series.square, rows) | (rows <= 1)
    run, longest, last = np.zeros(rows.shape[1]), np.zeros(rows.shape[1]), np.full(rows.shape[1], np.nan)
    for i in range(len(rows)):
        same = np.isnan(last) | (np.abs(mean[i] - last) < 0.5 / STEP) | (rows[i] == 0)
        run = np.where(still[i], np.where(same, run + rows[i], rows[i]), 0.0)
        last = np.where(rows[i] > 0, mean[i], last)
        longest = np.maximum(longest, run)
    return longest


def _constant(total: F64, square: F64, n: F64) -> Bool:
    rows = np.maximum(n, 1)
    return np.asarray((n > 1) & (square / rows - (total / rows) ** 2 < 0.25 / STEP**2))


def _total(mask: Bool) -> F64:
    if not mask.any():  # nearly always, and a sum of bools costs ten times as much
        return np.zeros(mask.shape[1])
    return np.asarray(mask.sum(axis=0), dtype=np.float64)


def _past(baseline: Baseline | None, width: int, plan: Plan) -> tuple[str, _Past | None]:
    if baseline is None:
        return "no baseline", None
    if width == 0:
        return "the baseline holds no states", None
    if len(baseline.starts_ms) < MIN_BUCKETS:
        return f"the baseline holds {len(baseline.starts_ms)} buckets, {MIN_BUCKETS} needed", None
    window = plan.window_buckets * plan.bucket_ms / baseline.bucket_ms
    return "", _Past(QualityCounts.of_arrays(baseline.series), window)


def build(baseline: Baseline | None, plan: Plan) -> Detector:
    """With an empty series it only counts."""
    return StateQuality(baseline, plan)


STATE_QUALITY = Spec(NAME, fit, build, QualityCounts, reads=frozenset({"decisions"}))
