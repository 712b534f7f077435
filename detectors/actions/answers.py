"""Does the policy answer states as it did? What it takes against what its answers in the baseline foretell.

A multinomial logistic model of the action given the state, fitted to a sample of accepted decisions (the fixed
curvature bound of Böhning, Annals of the Institute of Statistical Mathematics 44, 1992), foretells shares in whatever
states come. Taken minus foretold has mean zero for an unchanged policy, as far as the model holds; how far it does not,
the sample shows in the outer thirds of each direction of the states, and so much is allowed. It signals nothing: it
tells whose doing a moved action mix is.
"""

from dataclasses import dataclass

import numpy as np

from detectors.actions.table import action_names
from detectors.arrays import F64, I64, Arrays
from detectors.charts.cusum import noise
from detectors.features.moments import CLIP, exact_units, fit_nothing
from detectors.features.moments import fit as fit_units
from detectors.inference.laws import normal_quantile
from detectors.measurement import Culprit, Measurement, Verdict, unknown
from detectors.protocol import Baseline, Detector, Plan, Spec, Window
from detectors.rows import BucketRows, Decisions
from detectors.statistic import Statistic
from detectors.windows.mean_shift import window_in
from detectors.windows.sufficiency import why_too_little

NAME, STATISTIC = "action_answers", "answers"
LEVEL = 0.01  # chance that an unchanged policy is called changed, per look (Bonferroni over actions)
MOST_NAMED = 31  # actions; the rest are one
FEWEST_BUCKETS = 30
_FIT_ROWS, _ROUNDS, _RIDGE = 8_000, 150, 1.0
_STEP, _TURN_STEP = 2.0**20, 2.0**12  # probabilities and weights are whole multiples of these: sums are exact
_FEWEST = 5.0  # expected spread below which an action is not judged
_FAR = 0.2  # more of the window beyond what the baseline's states reach: the model does not know
_EXPLAINED = 0.5  # of the mix's way that the states must foretell before it is called theirs
_CHUNK = 2_048


@dataclass(frozen=True, slots=True)
class AnswerCounts(Statistic):
    """Of decisions with a discrete action and a state. rows: (2,) all, and those with a feature beyond reach.

    units: (p,) sums of the states in robust units. taken: (A,) per action code. foretold, spread: (C,) sums of the
    model's probabilities p and of p (1 - p), per action of the model and one more for all others.
    """

    rows: F64
    units: F64
    taken: F64
    foretold: F64
    spread: F64


def fit(sample: Decisions, plan: Plan) -> Arrays:
    """The states' units, the actions modelled, the weights, (X'X)^-1 of the sample and the misfit (C,)."""
    usable = sample.action >= 0
    if sample.state.shape[1]:
        usable &= ~np.isnan(sample.state).all(axis=1)
    at = np.flatnonzero(usable)
    schema = fit_units(sample, plan)
    if not sample.state.shape[1] or len(at) < plan.min_samples:
        return _nothing(schema)
    at = at[:: -(-len(at) // _FIT_ROWS)]
    counts = np.bincount(sample.action[at])
    codes = np.argsort(-counts, kind="stable")[:MOST_NAMED]
    codes = np.sort(codes[counts[codes] > 0])
    x = _with_one(exact_units(schema, sample.state[at], np.asarray(schema["center"], np.float64)))
    y = _cells(sample.action[at].astype(np.int64), codes)
    inverse = np.linalg.inv(x.T @ x + _RIDGE * np.eye(x.shape[1]))
    weights = np.zeros((x.shape[1], y.shape[1]))
    weights[-1] = np.log((y.sum(axis=0) + 0.5) / len(y))
    for _ in range(_ROUNDS):
        weights += 2 * inverse @ (x.T @ (y - _law(weights.T @ x.T).T))
    weights = np.rint(weights * _TURN_STEP) / _TURN_STEP
    found = {"codes": codes.astype(np.int64), "weights": weights, "inverse": inverse}
    return {**schema, **found, "misfit": _misfit(x[:, :-1], y - _law(weights.T @ x.T).T)}


class ActionAnswers:
    """The detector: what it says explains; no rule listens to it."""

    name = NAME

    def __init__(self, baseline: Baseline | None, plan: Plan) -> None:
        self._plan, self._baseline = plan, baseline
        self._schema = baseline.schema if baseline is not None else _nothing(fit_nothing())
        self._center = np.asarray(self._schema["center"], np.float64)
        self._weights = np.asarray(self._schema["weights"], np.float64)
        self._names: list[str] = []
        self._reason = "the baseline does not know which action the policy answers a state with"
        if baseline is not None and "rows" in baseline.series and self._weights.size:
            self._learn(baseline, plan)

    def _learn(self, baseline: Baseline, plan: Plan) -> None:
        series = {name: np.asarray(values, np.float64) for name, values in baseline.series.items()}
        n = series["rows"][:, 0]
        filled = n > 0
        if filled.sum() < FEWEST_BUCKETS:
            held = int(filled.sum())
            self._reason = (
                f"the baseline holds {held} buckets with states and actions, {FEWEST_BUCKETS} needed"
            )
            return
        names = action_names(
            max(series["taken"].shape[1], int(self._schema["codes"].max()) + 1), baseline.labels
        )
        self._names = [names[int(code)] for code in self._schema["codes"]]
        taken = self._by_name(series["taken"], names)
        span = window_in(baseline, plan)
        strays = taken - series["foretold"]
        self._n, self._usual = float(n.sum()), strays.sum(axis=0) / n.sum()
        self._shares = taken.sum(axis=0) / n.sum(), series["foretold"].sum(axis=0) / n.sum()
        own = (strays - n[:, None] * self._usual)[filled]
        self._noise = np.array([noise(column, n[filled], span)[0] for column in own.T])
        self._inflation = np.maximum(
            self._noise * n.sum() / np.maximum(series["spread"].sum(axis=0), 1e-9), 1.0
        )
        self._far = float(series["rows"][:, 1].sum() / n.sum())

    def observe(self, rows: BucketRows) -> AnswerCounts:
        """Taken and foretold of the decisions that carry a state of the known width and a discrete action."""
        d = rows.decisions
        state, action = d.state, d.action
        if not self._weights.size:
            nothing = np.empty(0)
            return AnswerCounts(np.zeros(2), nothing, nothing, nothing, nothing)
        if state.shape[1] != len(self._center):
            state, action = np.empty((0, len(self._center))), action[:0]
        usable = action >= 0
        if len(state):
            usable &= ~np.isnan(state).all(axis=1)
        if not usable.all():
            state, action = state[usable], action[usable]
        starts = range(0, max(len(state), 1), _CHUNK)
        return AnswerCounts.merged(
            [self._counted(state[i : i + _CHUNK], action[i : i + _CHUNK]) for i in starts]
        )

    def _counted(self, state: F64, action: np.ndarray) -> AnswerCounts:
        units = exact_units(self._schema, state, self._center)
        law = _law(self._weights[:-1].T @ units.T + self._weights[-1][:, None])
        law = np.rint(np.multiply(law, _STEP, out=law), out=law)
        spread = np.rint(law * (1 - law / _STEP)).sum(axis=1)
        far = np.abs(units).max(axis=1, initial=0.0) >= CLIP
        return AnswerCounts(
            np.array([float(len(units)), float(far.sum())]), units.sum(axis=0),
            np.bincount(action).astype(np.float64), law.sum(axis=1) / _STEP, spread / _STEP,
        )  # fmt: skip

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """`answers`: the share of decisions that go to other actions than foretold, against its line."""
        total = window.total
        n = int(total.rows[0])
        if not self._names:
            return (unknown(NAME, STATISTIC, n, self._reason),)
        if why := why_too_little(window, self._plan, n, "decisions with a state"):
            return (unknown(NAME, STATISTIC, n, why),)
        if total.rows[1] / n > self._far + _FAR:
            return (
                unknown(NAME, STATISTIC, n, f"{total.rows[1] / n:.0%} of states lie beyond the baseline's"),
            )
        taken = self._by_name(total.taken[None], action_names(len(total.taken), window.labels))[0]
        return (self._judged(total, taken, n),)

    def _judged(self, total: AnswerCounts, taken: F64, n: int) -> Measurement:
        strays = taken / n - total.foretold / n - self._usual
        mean = np.append(total.units / n, 1.0)
        inverse = np.asarray(self._schema["inverse"], np.float64)
        learnt = float(mean @ inverse @ mean)
        variance = self._inflation * total.spread / n * (1 / n + learnt) + self._noise / self._n
        judged = total.spread >= _FEWEST
        level = LEVEL / 2 / max(int(judged.sum()), 1)
        room = float(normal_quantile(level)) * np.sqrt(variance) + np.asarray(
            self._schema["misfit"], np.float64
        )
        over = np.where(judged, np.abs(strays) / np.maximum(room, 1e-12), 0.0)
        worst = int(np.argmax(over))
        names = [*self._names, "(all others)"]
        says = f"{names[worst]} taken {taken[worst] / n:.1%} where {taken[worst] / n - strays[worst]:.1%} were foretold"
        value, line, severity = float(abs(strays[worst])), float(room[worst]), float(over[worst])
        ranked = [int(j) for j in np.argsort(-over, kind="stable")[:5] if over[j] > 1]
        if severity > 1:
            why = f"the policy's answer to the same states changed ({says})"
            return Measurement(
                NAME, STATISTIC, "", value, n, Verdict.BREACH, line, float(np.sqrt(variance[worst])), severity,
                reason=why, culprits=tuple(Culprit(names[j], float(strays[j])) for j in ranked),
            )  # fmt: skip
        moved = np.abs(taken / n - self._shares[0]).sum() / 2
        foretold = np.abs(total.foretold / n - self._shares[1]).sum() / 2
        why = f"the policy's answers did not change by more than {line:.1%} of decisions ({names[worst]})"
        if foretold < _EXPLAINED * moved and moved > room.sum() / 2:
            return unknown(
                NAME, STATISTIC, n, f"{why}, and states foretell only {foretold:.1%} of {moved:.1%}"
            )
        return Measurement(
            NAME,
            STATISTIC,
            "",
            value,
            n,
            Verdict.OK,
            line,
            float(np.sqrt(variance[worst])),
            severity,
            reason=why,
        )

    def _by_name(self, counts: F64, names: list[str]) -> F64:
        """(t, C) counts (t, A) of these names in the order of the model's actions, others in the last."""
        place = {name: i for i, name in enumerate(self._names)}
        wide = np.zeros((len(counts), len(self._names) + 1))
        codes = np.array(
            [place.get(name, len(self._names)) for name in names[: counts.shape[1]]], dtype=np.int64
        )
        np.add.at(wide.T, codes, counts.T)
        return wide


def build(baseline: Baseline | None, plan: Plan) -> Detector:
    """With the baseline's model, where it has one."""
    return ActionAnswers(baseline, plan)


def _nothing(units: Arrays) -> Arrays:
    empty = np.empty((0, 0))
    return {
        **units,
        "codes": np.empty(0, np.int64),
        "weights": empty,
        "inverse": empty,
        "misfit": np.empty(0),
    }


def _with_one(units: F64) -> F64:
    return np.column_stack([units, np.ones(len(units))])


def _cells(action: I64, codes: I64) -> F64:
    """(n, C) one-hot, in the last cell all actions that are not among the codes."""
    at = np.minimum(np.searchsorted(codes, action), len(codes) - 1)
    cell = np.where(codes[at] == action, at, len(codes))
    hot = np.zeros((len(action), len(codes) + 1))
    hot[np.arange(len(action)), cell] = 1.0
    return hot


def _law(scores: F64) -> F64:
    """(C, n) probabilities from scores (C, n), in place."""
    scores -= scores.max(axis=0)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=0)
    return scores


def _misfit(units: F64, strays: F64) -> F64:
    """(C,) the largest mean residual in an outer third of any direction, beyond two standard errors of it."""
    worst = np.zeros(strays.shape[1])
    for column in units.T:
        low, high = np.quantile(column, [1 / 3, 2 / 3])
        for part in (column < low, column > high):
            n = int(part.sum())
            if n >= 100:
                mean, error = strays[part].mean(axis=0), strays[part].std(axis=0) / np.sqrt(n)
                worst = np.maximum(worst, np.abs(mean) - 2 * error)
    return worst


ACTION_ANSWERS = Spec(
    NAME, fit, build, AnswerCounts, reads=frozenset({"decisions"}), by_action=frozenset({"taken"})
)
