"""What makes an event unusable once its form is right: time, names, ranges, widths."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from detectors.arrays import F64, I32, I64, Bool
from monitor.decoding import distributions
from monitor.decoding.columns import MISSING_CODE, floats, lengths, translated
from monitor.decoding.decode_settings import DecodeSettings
from monitor.decoding.reasons import Fault, Faults, Reason
from monitor.decoding.timestamps import BAD, to_ms
from monitor.decoding.vectors import NO_VECTORS, Vectors
from monitor.decoding.wire import Decision, Metric, Reward
from monitor.vocabulary import Vocabulary

Row = TypeVar("Row", Decision, Reward, Metric)


@dataclass(frozen=True, slots=True)
class Checked:
    """Columns found on the way, one entry per row checked; those of unusable rows mean nothing.

    propensity, entropy and states: of decisions only; deployment: not of rewards.
    """

    ts_ms: I64
    deployment: I32 = field(default_factory=lambda: np.empty(0, np.int32))
    propensity: F64 = field(default_factory=lambda: np.empty(0, np.float64))
    entropy: F64 = field(default_factory=lambda: np.empty(0, np.float64))
    states: Vectors = NO_VECTORS

    def take(self, index: I64) -> "Checked":
        """The rows chosen."""
        return Checked(
            self.ts_ms[index],
            self.deployment[index] if len(self.deployment) else self.deployment,
            self.propensity[index] if len(self.propensity) else self.propensity,
            self.entropy[index] if len(self.entropy) else self.entropy,
            self.states.take(index) if len(self.states) else self.states,
        )


NOTHING_CHECKED = Checked(np.empty(0, np.int64))


def check_decisions(
    rows: Sequence[Decision],
    at: Sequence[int],
    states: Vectors,
    vocabulary: Vocabulary,
    settings: DecodeSettings,
    faults: Faults,
) -> Checked:
    """Finds the unusable decisions; widths come last, so that only a usable decision fixes them."""
    ts_ms = _check_times(rows, at, faults)
    deployment = _check_deployments(rows, at, vocabulary, settings, faults)
    _check_policies(rows, at, deployment, vocabulary, settings, faults)
    entropy, shares = _check_distributions(rows, at, faults)
    propensity = _check_propensities(rows, at, shares, faults)
    _check_candidates(rows, at, faults)
    _check_widths(_vectors(rows, states, vocabulary, settings), at, deployment, faults)
    return Checked(ts_ms, deployment, propensity, entropy, states)


def check_rewards(rows: Sequence[Reward], at: Sequence[int], faults: Faults) -> Checked:
    """Finds the unusable rewards."""
    ts_ms = _check_times(rows, at, faults)
    empty = np.flatnonzero(np.isnan(floats([row.reward for row in rows]))).tolist()
    for i in empty:
        fault = _without_reward(rows[i])
        if fault:
            faults.setdefault(at[i], fault)
    return Checked(ts_ms)


def check_metrics(
    rows: Sequence[Metric],
    at: Sequence[int],
    vocabulary: Vocabulary,
    settings: DecodeSettings,
    faults: Faults,
) -> Checked:
    """Finds the unusable metrics."""
    ts_ms = _check_times(rows, at, faults)
    deployment = _check_deployments(rows, at, vocabulary, settings, faults)
    _check_policies(rows, at, deployment, vocabulary, settings, faults)
    return Checked(ts_ms, deployment)


def _mark(faults: Faults, at: Sequence[int], bad: Bool, reason: Reason, detail: str) -> None:
    for i in np.flatnonzero(bad).tolist():
        faults.setdefault(at[i], Fault(reason, detail))


def _usable(faults: Faults, at: Sequence[int]) -> Bool:
    if not faults:
        return np.ones(len(at), np.bool_)
    return np.fromiter((place not in faults for place in at), np.bool_, len(at))


def _check_times(rows: Sequence[Row], at: Sequence[int], faults: Faults) -> I64:
    times = [row.ts for row in rows]
    ts_ms = to_ms(times)
    for i in np.flatnonzero(ts_ms == BAD).tolist():
        faults.setdefault(at[i], Fault(Reason.BAD_TIMESTAMP, f"ts {str(times[i])[:40]!r}"))
    return ts_ms


def _check_deployments(
    rows: Sequence[Decision] | Sequence[Metric],
    at: Sequence[int],
    vocabulary: Vocabulary,
    settings: DecodeSettings,
    faults: Faults,
) -> I32:
    known: dict[str | None, int] = {name: vocabulary.deployments.code(name) for name in settings.deployments}
    if settings.default_deployment is not None:
        known[None] = known.get(settings.default_deployment, MISSING_CODE)
    names = [row.deployment for row in rows]
    column = translated(names, known)
    for i in np.flatnonzero(column == MISSING_CODE).tolist():
        faults.setdefault(at[i], _no_deployment(names[i]))
    return column


def _no_deployment(name: str | None) -> Fault:
    if name is None:
        return Fault(Reason.MISSING_FIELD, "no `deployment`, and the config names no default")
    return Fault(Reason.UNKNOWN_DEPLOYMENT, f"deployment {name[:80]!r} is not in the config")


def _check_policies(
    rows: Sequence[Decision] | Sequence[Metric],
    at: Sequence[int],
    deployment: I32,
    vocabulary: Vocabulary,
    settings: DecodeSettings,
    faults: Faults,
) -> None:
    for name, wanted in settings.deployments.items():
        if wanted.policies is None:
            continue
        for i in np.flatnonzero(deployment == vocabulary.deployments.code(name)).tolist():
            policy = rows[i].policy
            if policy is not None and policy not in wanted.policies:
                faults.setdefault(
                    at[i], Fault(Reason.UNKNOWN_POLICY, f"policy {policy[:80]!r} is not listed")
                )


def _check_distributions(rows: Sequence[Decision], at: Sequence[int], faults: Faults) -> tuple[F64, F64]:
    """Entropies, and the logged action's share where the propensity is missing."""
    entropy, shares = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    probs = [row.action_probs for row in rows]
    sizes = lengths(probs)
    _mark(faults, at, sizes == 0, Reason.PROBS_SUM, "`action_probs` is empty")
    there = np.flatnonzero(sizes > 0)
    if len(there):
        flat, starts = distributions.flatten([p for p in probs if p])
        places = [at[i] for i in there.tolist()]
        range_detail = "a value of `action_probs` is not in [0, 1]"
        _mark(faults, places, distributions.out_of_range(flat, starts), Reason.PROPENSITY_RANGE, range_detail)
        sum_detail = "`action_probs` do not add up to 1"
        _mark(faults, places, distributions.off_sum(flat, starts), Reason.PROBS_SUM, sum_detail)
        entropy[there] = distributions.entropies(flat, starts)
        for i in there.tolist():
            if rows[i].propensity is None:
                shares[i] = distributions.logged_share(rows[i])
    return entropy, shares


def _check_propensities(rows: Sequence[Decision], at: Sequence[int], shares: F64, faults: Faults) -> F64:
    said = floats([row.propensity for row in rows])
    propensity = np.where(np.isnan(said), np.minimum(shares, 1.0), said)
    bad = (propensity <= 0.0) | (propensity > 1.0)
    for i in np.flatnonzero(bad).tolist():
        faults.setdefault(
            at[i], Fault(Reason.PROPENSITY_RANGE, f"propensity {propensity[i]:.6g} is not in (0, 1]")
        )
    return propensity


def _check_candidates(rows: Sequence[Decision], at: Sequence[int], faults: Faults) -> None:
    records = [row.candidates for row in rows]
    said = [c.p for record in records if record for c in record.values()]
    if not said or not _any_outside(floats(said)):
        return
    bad = [
        i for i, record in enumerate(records) if record and any(_no_probability(c.p) for c in record.values())
    ]
    for i in bad:
        faults.setdefault(at[i], Fault(Reason.PROPENSITY_RANGE, "a candidate's `p` is not in [0, 1]"))


def _any_outside(p: F64) -> bool:
    return bool(((p < 0.0) | (p > 1.0)).any())


def _no_probability(p: float | None) -> bool:
    return p is not None and not 0.0 <= p <= 1.0


@dataclass(frozen=True, slots=True)
class _Widths:
    """One kind of vector over the rows of a batch. sizes: (n,) their lengths, -1 where there is none.

    widths: deployment -> length that its vectors have, as far as known; entered here when it becomes known.
    """

    reason: Reason
    sizes: I64
    widths: dict[int, int]

    def misfit(self, row: int, code: int) -> Fault | None:
        """Where the row's vector is not as long as is known by now."""
        size = int(self.sizes[row])
        width = self.widths.get(code, size)
        return None if size <= 0 or size == width else self.fault(row, width)

    def fault(self, row: int, width: int) -> Fault:
        return Fault(self.reason, f"{self.sizes[row]} numbers, {width} expected")


def _vectors(
    rows: Sequence[Decision], states: Vectors, vocabulary: Vocabulary, settings: DecodeSettings
) -> list[_Widths]:
    """States, and actions where any is a vector."""
    for name, wanted in settings.deployments.items():
        code = vocabulary.deployments.code(name)
        if wanted.state_width is not None:
            vocabulary.state_width[code] = wanted.state_width
        if wanted.envelope.low is not None:
            vocabulary.action_width[code] = len(wanted.envelope.low)
    vectors = [_Widths(Reason.STATE_LENGTH, states.sizes, vocabulary.state_width)]
    actions = [row.action for row in rows]
    if list in set(map(type, actions)):
        sizes = lengths([action if isinstance(action, list) else None for action in actions])
        vectors.append(_Widths(Reason.ACTION_LENGTH, sizes, vocabulary.action_width))
    return vectors


def _check_widths(vectors: Sequence[_Widths], at: Sequence[int], deployment: I32, faults: Faults) -> None:
    """Vectors of one deployment have one width: the one known, else that of its first usable event."""
    for kind in vectors:
        _mark(faults, at, kind.sizes == 0, kind.reason, "an empty vector")
    _learn_widths(vectors, at, deployment, faults)
    for kind in vectors:
        for code, width in kind.widths.items():
            for i in np.flatnonzero((kind.sizes > 0) & (kind.sizes != width) & (deployment == code)).tolist():
                faults.setdefault(at[i], kind.fault(i, width))


def _learn_widths(vectors: Sequence[_Widths], at: Sequence[int], deployment: I32, faults: Faults) -> None:
    """Row by row, since an event that is unusable for one of its vectors does not say how long the other is."""
    usable = _usable(faults, at)
    seen = [(kind.widths, np.unique(deployment[usable & (kind.sizes > 0)]).tolist()) for kind in vectors]
    if all(code in widths for widths, codes in seen for code in codes):
        return
    for i in np.flatnonzero(usable).tolist():
        code = int(deployment[i])
        misfits = [fault for kind in vectors if (fault := kind.misfit(i, code)) is not None]
        if misfits:
            faults[at[i]] = misfits[0]
            continue
        for kind in vectors:
            if kind.sizes[i] > 0:
                kind.widths.setdefault(code, int(kind.sizes[i]))


def _without_reward(row: Reward) -> Fault | None:
    """A reward event without a number for `reward` must carry something else."""
    if row.components or row.costs or (row.truth is not None and row.truth == row.truth):
        return None
    if row.reward is None or row.truth is None:
        return Fault(Reason.NOT_FINITE, "the reward is null")
    if row.done or row.truncated or row.final:
        return None
    return Fault(Reason.MISSING_FIELD, "none of reward, components, truth, costs, done, truncated, final")
