"""What a baseline tells of units: how far its states and actions stray between them, in the directions of charts."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detectors.arrays import F64, I64
from detectors.features.white_frame import Frame
from detectors.protocol import Baseline
from detectors.units.clusters import FEWEST_GROUPS, MOSTLY
from detectors.units.spreads import Between, Effects, plain_of
from detectors.units.vectors import NESTED, VectorSums

OPTION = "unit_vectors"
STATES, ACTIONS = "states", "actions"


@dataclass(frozen=True, slots=True)
class StateUnits:
    """n (t, 64), sums (t, 64, p), products (t, 16, p, p) of t windows. skipped: windows for one of these."""

    n: F64
    sums: F64
    products: F64
    skipped: float

    @property
    def width(self) -> int:
        """p."""
        return int(self.sums.shape[2])

    def effect(self) -> float:
        """The design effect on the means of all features together."""
        return self._of_means().together

    def effects(self) -> F64:
        """(p,) the design effects on the means of features."""
        return self._of_means().effect

    def columns(self, frame: Frame, columns: F64, n: F64) -> Effects:
        """Of the columns (t, 2 p + 2) of a frame over n (t,) events: means stray alike, and so do spreads."""
        about, width = self._about(frame), self.width
        total = np.einsum("tgij,ij->tg", about, frame.metric)[:, :, None]
        squares = np.diagonal(about, axis1=2, axis2=3)
        means = np.concatenate([self.sums, self.sums.sum(axis=2, keepdims=True)], axis=2)
        places = [[*range(width), 2 * width], [*range(width, 2 * width)], [2 * width + 1]]
        found = [self._of_sums(means), self._of_products(squares), self._of_products(total)]
        effects = [one.effects(*plain_of(columns[:, at], n)) for one, at in zip(found, places, strict=True)]
        order = np.argsort(np.concatenate([np.array(at) for at in places]))
        fields = ("plain", "effect", "of_mean", "dof")
        plain, effect, of_mean, dof = (
            np.concatenate([getattr(e, f) for e in effects])[order] for f in fields
        )
        added = plain[width : 2 * width] * (effect[width : 2 * width] - 1) / float(self.n.sum(axis=1).mean())
        steady = np.full(len(order), np.inf)
        np.divide(2 * plain[:width] ** 2, added, out=steady[:width], where=(added > 0) & (plain[:width] > 0))
        return Effects(plain, effect, of_mean, dof, np.zeros((0, len(order))), steady)

    def means(self, frame: Frame, sums: F64, n: F64) -> Effects:
        """Of sums (t, p) along the frame's axes."""
        return self._of_sums(self.sums @ frame.axes).effects(*plain_of(sums @ frame.axes, n))

    def pairs(self, frame: Frame, pairs: F64, n: F64) -> Effects:
        """Of the frame's pairs (t, q (q + 1) / 2)."""
        about = self._about(frame)
        groups = frame.pairs(about.reshape(-1, self.width, self.width))
        return self._of_products(groups.reshape(*about.shape[:2], -1)).effects(*plain_of(pairs, n))

    def _about(self, frame: Frame) -> F64:
        """(t, 16, p, p) products of groups about the mean."""
        n, sums = self._wide()
        flat = self.products.reshape(-1, self.width, self.width)
        about = frame.about(n.ravel(), sums.reshape(-1, self.width), flat)
        return about.reshape(self.products.shape)

    def _wide(self) -> tuple[F64, F64]:
        """(t, 16) and (t, 16, p) how many and sums of the groups that share a matrix of products."""
        shape = (len(self.n), -1, NESTED)
        return self.n.reshape(shape).sum(axis=2), self.sums.reshape(*shape, self.width).sum(axis=2)

    def _of_means(self) -> Effects:
        n, sums = float(self.n.sum()), self.sums.sum(axis=(0, 1))
        squares = np.diagonal(self.products.sum(axis=(0, 1)))
        plain = np.maximum(squares / n - (sums / n) ** 2, 0.0)
        return self._of_sums(self.sums).effects(plain, np.full(self.width, np.inf))

    def _of_sums(self, sums: F64) -> Between:
        return Between.of(self.n, sums, self.skipped)

    def _of_products(self, sums: F64) -> Between:
        return Between.of(self._wide()[0], sums, self.skipped)


@dataclass(frozen=True, slots=True)
class ActionUnits:
    """counts: (t, 64, c + 1) of t windows, the last cell all but the codes (c,). skipped: windows for one of these."""

    counts: F64
    codes: I64
    skipped: float

    def effect(self) -> float:
        """The design effect on all shares together."""
        n = self.counts.sum(axis=2)
        plain = _drawn(self.counts.sum(axis=1), n.sum(axis=1))
        return Between.of(n, self.counts, self.skipped).effects(*plain).together

    def strays(self, order: I64, few: int, most: F64, wide: F64, n: F64) -> tuple[Effects, Effects]:
        """Of counts over n (t,) events: of the first `few` of these codes and one cell for all others (t, few + 1)
        `most`, of all of them and one cell (t, len(order) + 1) `wide`.
        """
        cells, events = self._cells(order), self.counts.sum(axis=2)
        lumped = np.concatenate([cells[:, :, :few], cells[:, :, few:].sum(axis=2, keepdims=True)], axis=2)
        found = (
            Between.of(events, one, self.skipped).effects(*_drawn(counts, n))
            for one, counts in ((lumped, most), (cells, wide))
        )
        first, second = found
        return first, second

    def _cells(self, order: I64) -> F64:
        """(t, 64, len(order) + 1) counts of these action codes, and of all others."""
        place = {int(code): i for i, code in enumerate(self.codes)}
        found = np.zeros((*self.counts.shape[:2], len(order) + 1))
        for i, code in enumerate(order.tolist()):
            if code in place:
                found[:, :, i] = self.counts[:, :, place[code]]
        found[:, :, -1] = self.counts.sum(axis=2) - found.sum(axis=2)
        return found


def of_baseline(part: Baseline, decisions: float = 0.0) -> Mapping[str, StateUnits | ActionUnits]:
    """`states` and `actions`, as far as the baseline knows units. decisions: of all of its windows."""
    series = VectorSums.of_arrays(
        {name: np.asarray(array, np.float64) for name, array in part.series.items()}
    )
    stated, acted, seen = series.all.sum(axis=0)
    skipped = max(decisions / max(float(seen), 1.0), 1.0)
    n, sums = series.states[:, :, 0], series.states[:, :, 1:]
    found: dict[str, StateUnits | ActionUnits] = {}
    if _enough(n, stated):
        width = sums.shape[2]
        upper = np.triu_indices(width)
        products = np.zeros((*series.products.shape[:2], width, width))
        products[:, :, upper[0], upper[1]] = series.products
        products[:, :, upper[1], upper[0]] = series.products
        found[STATES] = StateUnits(n, sums, products, skipped)
    if _enough(series.actions.sum(axis=2), acted):
        found[ACTIONS] = ActionUnits(series.actions, np.asarray(part.schema["codes"], np.int64), skipped)
    return found


def _enough(n: F64, events: float) -> bool:
    """Most events name their unit, and units are many."""
    named, groups = float(n.sum()), int((n.sum(axis=0) > 0).sum())
    return named > 0 and named >= MOSTLY * events and groups >= FEWEST_GROUPS


def _drawn(counts: F64, n: F64) -> tuple[F64, F64]:
    """(q,) variance per event of counts (t, q) of independent draws, which is known."""
    shares = counts.sum(axis=0) / n.sum()
    return shares * (1 - shares), np.full(len(shares), np.inf)
