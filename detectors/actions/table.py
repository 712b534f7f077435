"""The discrete actions of a window against the baseline's: shares, newcomers, absentees, entropy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np

from detectors.arrays import F64, I64
from detectors.inference.laws import student_quantile
from detectors.inference.rare_counts import count_effects, log_chance_of_none, most_expected
from detectors.measurement import Culprit, Measurement, Verdict
from detectors.windows.count_divergence import CountReference, Divergence, Null
from detectors.windows.judged import judged

TOP = 5
DISCRETE = ("mix_kl", "new_share", "vanished_share", "entropy")


@dataclass(slots=True)
class ActionCodes:
    """place: action name -> its cell, `other` for the rest. The codes of the labels that were asked for last."""

    place: Mapping[str, int]
    other: int
    names: list[str] = field(default_factory=list)
    codes: I64 = field(default_factory=lambda: np.empty(0, np.int64))

    def of(self, width: int, labels: Sequence[str]) -> I64:
        """(width,) the cell of each code of these labels; from then on `names` are theirs."""
        names = action_names(width, labels)
        if names != self.names:
            self.names = names
            self.codes = np.array([self.place.get(name, self.other) for name in names], dtype=np.int64)
        return self.codes


@dataclass(frozen=True, slots=True)
class _Entropy:
    """Of the baseline's smoothed law in nats: all of it, what its last cell adds, variance of its estimate per row."""

    nats: float
    last: float
    variance: float


class ActionTable:
    """The baseline's discrete actions, in the order of their names, with one more cell for actions it never took.

    effect: design effect that units have on the mix, where that is known.
    """

    def __init__(
        self, detector: str, counts: F64, n: F64, labels: Sequence[str], window: float, effect: float = 1.0
    ) -> None:
        self._detector = detector
        names = action_names(counts.shape[1], labels)
        taken = [j for j in np.argsort(names, kind="stable") if counts[:, j].sum() > 0]
        self._names = [names[j] for j in taken]
        self._cells = ActionCodes({name: i for i, name in enumerate(self._names)}, len(self._names))
        ordered = np.concatenate([counts[:, taken], np.zeros((len(counts), 1))], axis=1)
        self._counts, self._window = ordered.sum(axis=0), window
        possible = np.ones(ordered.shape[1], dtype=bool)
        self._reference = CountReference.of_series(ordered, n, possible, window, effect)
        self._effects = count_effects(ordered, n, window)
        self._entropies: dict[float, _Entropy] = {}

    @property
    def support(self) -> int:
        """How many actions the baseline takes."""
        return len(self._names)

    def measured(self, counts: F64, labels: Sequence[str], n: int, level: float) -> list[Measurement]:
        """`mix_kl`, `new_share`, `vanished_share` and `entropy` of counts (K,) by the codes of `labels`."""
        codes = self._cells.of(len(counts), labels)
        ordered = np.bincount(codes, weights=counts, minlength=self.support + 1).astype(np.float64)
        unseen = counts[codes == self.support]
        known = np.append(ordered[:-1], 0.0)
        unseen = np.sort(unseen[unseen > 0])
        found = self._reference.divergence(known, n, level, unseen)
        fresh = [
            (self._cells.names[j], float(counts[j]) / n)
            for j in np.flatnonzero((codes == self.support) & (counts > 0))
        ]
        return [
            self._kl(found, ordered / n, n),
            self._new(ordered[-1], fresh, n, level),
            self._vanished(ordered, n, level),
            self._entropy(known, unseen / n, n, level),
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
        return judged(self._detector, "mix_kl", value, 0.0, line, float(found.error), n, reason, culprits)

    def _new(self, count: float, fresh: list[tuple[str, float]], n: int, level: float) -> Measurement:
        """Good (1953): actions seen once in the baseline tell how often a never seen one is to be expected."""
        once = np.array(float((self._counts == 1).sum()))
        line = float(most_expected(level, once, n, self._reference.n, np.array(self._effect()))) / n
        fresh = sorted(fresh, key=lambda item: (-item[1], item[0]))[:TOP]
        reason = f"{count / n:.2%} of {n} decisions take actions unknown to the baseline, line {line:.2%}"
        culprits = tuple(Culprit(name, share) for name, share in fresh)
        usual, error = float(once) / self._reference.n, float(np.sqrt(count)) / n
        return judged(
            self._detector, "new_share", count / n, min(usual, line), line, error, n, reason, culprits
        )

    def _vanished(self, ordered: F64, n: int, level: float) -> Measurement:
        """The largest baseline share among absent actions; the line is where absence stops being chance."""
        known, effect = self._counts[:-1], self._effects[:-1]
        chance = log_chance_of_none(known, n, self._reference.n, effect)
        absent = np.flatnonzero(ordered[:-1] == 0)
        needed = -np.log(level / self.support)
        over = absent[np.argsort(chance[absent], kind="stable")]
        if len(over) == 0:
            return Measurement(
                self._detector,
                "vanished_share",
                "",
                0.0,
                n,
                Verdict.OK,
                severity=0.0,
                reason="no action vanished",
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
        return judged(self._detector, "vanished_share", share, 0.0, line, 0.0, n, reason, culprits)

    def _entropy(self, known: F64, unseen: F64, n: int, level: float) -> Measurement:
        """H(window) = H(baseline) - sum (p - q) ln q - KL(p || q).

        The line prices the first term by its long-run variance (t with as many degrees of freedom as there are
        scores) and the second by the line of the divergence.
        """
        null = self._reference.null(n)
        usual, mix = self._usual(null), float(null.mix[0])
        value = _log_terms(self._reference.smoothed(known / n, null))
        if len(unseen):
            value += _log_terms((unseen + mix / len(known)) / (1 + mix)) - len(unseen) * usual.last
        before, error = usual.nats, sqrt(usual.variance * (1 / n + 1 / self._reference.n))
        drop = float(self._reference.chance(n, level / 2))
        line = before - float(student_quantile(level / 2, len(self._reference.scores))) * error - drop
        reason = (
            f"entropy of the action mix {value:.3g} nats over {n}, baseline {before:.3g}, line {line:.3g}"
        )
        return judged(self._detector, "entropy", value, before, line, error, n, reason)

    def _usual(self, null: Null) -> _Entropy:
        if null.n not in self._entropies:
            linear = self._reference.scores @ np.log(null.law) / (1 + float(null.mix[0]))
            variance = float((linear**2).mean())
            self._entropies[null.n] = _Entropy(_log_terms(null.law), _log_terms(null.law[-1:]), variance)
        return self._entropies[null.n]

    def _effect(self) -> float:
        return max(1.0, float(self._reference.effects))

    def _name(self, j: int) -> str:
        return self._names[j] if j < self.support else "(new)"


def _log_terms(law: F64) -> float:
    return -float((law * np.log(law)).sum())


def action_names(width: int, labels: Sequence[str]) -> list[str]:
    """The labels of the codes below `width`."""
    return [*labels[:width], *(f"#{j}" for j in range(len(labels), width))]
