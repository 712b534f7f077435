"""Where does the critic err? Its bias, calibration slope and explained variance by action and by segment, pooled.

Described only: whether it promises too much anywhere is judged by the sums of `critic_over`, which read the same
statistic bucket by bucket.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.actions.table import ActionCodes, action_names
from detectors.arrays import F64, I32, I64, Arrays, Bool
from detectors.critic.critic import fit
from detectors.critic.packed_segments import unpack
from detectors.measurement import Culprit, Measurement, unknown
from detectors.protocol import Baseline, Plan, Rate, Spec, Window
from detectors.rows import BucketRows
from detectors.statistic import Statistic, widened
from detectors.windows.mean_shift import described

NAME = "critic_groups"
MAX_ACTIONS = 256  # action codes above are in the whole only; segment codes fit a byte by themselves
N, E, V, EE, VV, VE = range(6)  # n, value - target, value, their squares and product
ACTION, SEGMENT = "action", "segment"
FIELDS = {ACTION: "actions", SEGMENT: "segments"}
_CULPRITS = 5


@dataclass(frozen=True, slots=True)
class GroupSums(Statistic):
    """Of decisions whose target is known, values about the schema's centre. whole: (6,). actions, segments: (6, codes).

    Rows: how many, value - target, value, their squares and their product.
    """

    whole: F64
    actions: F64
    segments: F64


@dataclass(frozen=True, slots=True)
class _Reference:
    """Of one kind of group: which column of sums (6, groups + 1) a name stands in; the last holds nothing."""

    codes: ActionCodes
    sums: F64

    @classmethod
    def of(cls, baseline: Baseline, field: str, names: Sequence[str]) -> "_Reference":
        held = np.asarray(baseline.series[field], np.float64).sum(axis=0)
        known = action_names(held.shape[1], names)
        codes = ActionCodes({name: i for i, name in enumerate(known)}, len(known))
        return cls(codes, np.column_stack([held, np.zeros(len(held))]))

    def at(self, width: int, names: Sequence[str]) -> F64:
        """(6, width) what the baseline holds of each group."""
        return np.asarray(self.sums[:, self.codes.of(width, names)])


class CriticGroups:
    """references: kind of group -> the baseline's own sums, where there is one."""

    name = NAME

    def __init__(self, plan: Plan, centre: float, references: dict[str, _Reference]) -> None:
        self._plan, self._centre, self._references = plan, centre, references

    def observe(self, rows: BucketRows) -> GroupSums:
        """A target that replaces another takes the other's part away."""
        r = rows.returns
        usable = ~np.isnan(r.value) & ~np.isnan(r.target)
        again = usable & ~np.isnan(r.target_before)
        segments = unpack(r.segments)
        new = _sums(r.value - self._centre, r.value - r.target, r.action, segments, usable)
        if not again.any():
            return new
        old = _sums(r.value - self._centre, r.value - r.target_before, r.action, segments, again)
        return GroupSums(
            *(
                _widened_difference(a, b)
                for a, b in zip(new.arrays().values(), old.arrays().values(), strict=True)
            )
        )

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """Of each kind of group the worst, and the next; nothing where there is one group or none."""
        found: list[Measurement] = []
        for kind, names in ((ACTION, window.labels), (SEGMENT, window.segments)):
            sums = getattr(window.total, FIELDS[kind])
            if (sums[N] > 0).sum() > 1:
                found += self._measured(kind, sums, action_names(sums.shape[1], names))
        return tuple(found)

    def _measured(self, kind: str, sums: F64, names: Sequence[str]) -> Iterator[Measurement]:
        """Of groups of which both the window and the baseline hold enough."""
        least, reference = self._plan.min_samples, self._references.get(kind)
        if reference is None:
            yield from _unknown(kind, sums, "no baseline that knows it")
            return
        usual = reference.at(sums.shape[1], names)
        enough = np.flatnonzero((sums[N] >= least) & (usual[N] >= least))
        if not len(enough):
            yield from _unknown(
                kind, sums, f"no {kind} has {least} decisions whose target is known, here and in the baseline"
            )
            return
        few = int((sums[N] > 0).sum()) - len(enough)
        said = f"; {few} with fewer than {least} decisions left out" if few else ""
        mine, usual, mine_names = sums[:, enough], usual[:, enough], [names[i] for i in enough.tolist()]
        for statistic, words, worth, sign in _STATISTICS:
            found = _Stray(f"{statistic}_by_{kind}", words, worth(mine), worth(usual), sign)
            yield found.measurement(mine_names, mine[N], said)


@dataclass(frozen=True, slots=True)
class _Stray:
    """value, usual: (groups,) of the window and of the baseline. sign: of the bad side."""

    statistic: str
    words: str
    value: F64
    usual: F64
    sign: int

    def measurement(self, names: Sequence[str], n: F64, said: str) -> Measurement:
        """The group that strays most to the bad side, in standard errors of a mean of so many; the next as culprits."""
        moved = (self.value - self.usual) * self.sign
        strays = np.nan_to_num(moved * np.sqrt(n), nan=-np.inf)
        order = np.argsort(-strays, kind="stable")
        worst = int(order[0])
        many = round(float(n[worst]))
        if not np.isfinite(strays[worst]):
            return described(NAME, self.statistic, np.nan, many, "values or targets are constant")
        reason = (
            f"{self.words} in {names[worst]} {self.value[worst]:.4g} against {self.usual[worst]:.4g}"
            f" in the baseline (n {many}){said}"
        )
        culprits = tuple(
            Culprit(names[i], float(moved[i] * self.sign))
            for i in order[:_CULPRITS].tolist()
            if strays[i] > 0
        )
        return described(NAME, self.statistic, float(self.value[worst]), many, reason, culprits=culprits)


def _unknown(kind: str, sums: F64, why: str) -> Iterator[Measurement]:
    for statistic, _, _, _ in _STATISTICS:
        yield unknown(NAME, f"{statistic}_by_{kind}", round(float(sums[N].max())), why)


def _bias(sums: F64) -> F64:
    return np.asarray(sums[E] / sums[N])


def _slope(sums: F64) -> F64:
    """(groups,) least squares of target on value: 1 - cov(value, value - target) / var(value); NaN where constant."""
    spread = _spread(sums[VV], sums[V], sums[N])
    shared = sums[VE] / sums[N] - sums[V] * sums[E] / sums[N] ** 2
    return np.asarray(1 - np.divide(shared, spread, out=np.full(len(spread), np.nan), where=spread > 0))


def _explained(sums: F64) -> F64:
    """(groups,) 1 - var(value - target) / var(target); NaN where the target is constant."""
    target, square = sums[V] - sums[E], sums[VV] - 2 * sums[VE] + sums[EE]
    spread, noise = _spread(square, target, sums[N]), _spread(sums[EE], sums[E], sums[N])
    return np.asarray(1 - np.divide(noise, spread, out=np.full(len(spread), np.nan), where=spread > 0))


def _spread(square: F64, total: F64, n: F64) -> F64:
    """(groups,) variances; 0 where they drown in rounding."""
    spread = square / n - (total / n) ** 2
    return np.where(spread > 1e-12 * square / n, spread, 0.0)


_STATISTICS: Sequence[tuple[str, str, Callable[[F64], F64], int]] = (
    ("bias", "value - target", _bias, 1),
    ("calibration_slope", "slope of target on value", _slope, -1),
    ("explained_variance", "share of the target's variance that the critic explains", _explained, -1),
)


def _sums(value: F64, error: F64, action: I32, segments: Sequence[I64], kept: Bool) -> GroupSums:
    if not kept.all():
        value, error, action = value[kept], error[kept], action[kept]
        segments = [codes[kept] for codes in segments]
    weights = (error, value, error**2, value**2, value * error)
    whole = np.array([len(value), *(weight.sum() for weight in weights)], np.float64)
    pools = [_by_code(codes, weights) for codes in segments]
    width = max((pool.shape[1] for pool in pools), default=0)
    pooled = np.zeros((len(whole), width))
    for pool in pools:
        pooled[:, : pool.shape[1]] += pool
    return GroupSums(whole, _by_code(np.where(action < MAX_ACTIONS, action, -1), weights), pooled)


def _by_code(codes: I32 | I64, weights: Sequence[F64]) -> F64:
    """(6, codes) how many and the sums of each weight, of rows that have a code."""
    named = codes >= 0
    if not named.all():
        codes, weights = codes[named], [weight[named] for weight in weights]
    if not len(codes):
        return np.zeros((len(weights) + 1, 0))
    counts = np.bincount(codes).astype(np.float64)
    return np.stack([counts, *(np.bincount(codes, weight) for weight in weights)])


def _widened_difference(a: F64, b: F64) -> F64:
    width = max(a.shape[-1], b.shape[-1])
    return np.asarray(widened(a, width) - widened(b, width))


def build(baseline: Baseline | None, plan: Plan) -> CriticGroups:
    """With the baseline's centre and, where it has a series, its groups."""
    schema: Arrays = {} if baseline is None else baseline.schema
    centre = float(schema["centre"][0]) if "centre" in schema else 0.0
    references = {}
    if baseline is not None and len(baseline.starts_ms):
        names = {ACTION: baseline.labels, SEGMENT: baseline.segments}
        references = {kind: _Reference.of(baseline, field, names[kind]) for kind, field in FIELDS.items()}
    return CriticGroups(plan, centre, references)


CRITIC_GROUPS = Spec(
    NAME,
    fit,
    build,
    GroupSums,
    reads=frozenset({"returns"}),
    by_action=frozenset({"actions"}),
    by_segment=frozenset({"segments"}),
    rates=(
        Rate("whole", "whole", part=(E,), by_bucket=True),
        Rate("actions", "actions", part=(E,), of=(N,), by_bucket=True),
        Rate("segments", "segments", part=(E,), of=(N,), by_bucket=True),
    ),
)
