"""Rewards that came before their decision: kept for a while, and given back when the decision arrives."""

from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from detectors.arrays import I64, U64
from monitor.batch import RewardBatch
from monitor.frames import concat, take
from monitor.joins.fingerprint import fingerprints
from monitor.joins.runs import Array

TRIM = 8  # when full, an eighth is dropped at once: a flood of orphans then costs little per orphan


class Orphans:
    """At most `limit` rewards by the id of the decision they wait for.

    They lie in parts sorted by id whose lengths fall geometrically, so few parts are searched and each reward is
    moved log(limit) times.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[RewardBatch] = []

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def add(self, rewards: RewardBatch) -> RewardBatch:
        """Keeps rewards. Returns what had to be dropped for it: the oldest, where the limit is exceeded."""
        self._push(rewards)
        if len(self) <= self._limit:
            return take(rewards, slice(0))
        rows = _canonical(concat(self._parts))
        cut = len(rows) - (self._limit - self._limit // TRIM)
        self._parts = []
        self._push(take(rows, slice(cut, None)))
        return take(rows, slice(cut))

    def offer(self, ids: U64) -> RewardBatch:
        """The rewards that wait for one of these new decisions, in canonical order; they are kept no longer."""
        return self._remove([_rows_of(part.id, ids) for part in self._parts])

    def expire(self, before_ms: int) -> RewardBatch:
        """Rewards with ts_ms < before_ms, in canonical order; they are kept no longer."""
        return self._remove([np.flatnonzero(part.ts_ms < before_ms) for part in self._parts])

    def arrays(self) -> dict[str, Array]:
        """All that is kept, as plain arrays."""
        arrays: dict[str, Array] = {}
        rows = concat(self._parts) if self._parts else no_rewards()
        for spec in fields(rows):
            column = getattr(rows, spec.name)
            named = column if isinstance(column, dict) else None
            arrays |= (
                {spec.name: column} if named is None else {f"{spec.name}/{k}": v for k, v in named.items()}
            )
        return arrays

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Goes on where `arrays` was taken."""
        plain = {name: column for name, column in arrays.items() if "/" not in name}
        named = {
            kind: {
                name.removeprefix(kind): column for name, column in arrays.items() if name.startswith(kind)
            }
            for kind in ("components/", "costs/")
        }
        self._parts = []
        self._push(RewardBatch(**plain, components=named["components/"], costs=named["costs/"]))

    def _push(self, rewards: RewardBatch) -> None:
        if not len(rewards):
            return
        self._parts.append(take(rewards, np.argsort(rewards.id, kind="stable")))
        while len(self._parts) > 1 and 2 * len(self._parts[-1]) >= len(self._parts[-2]):
            merged = concat([self._parts.pop(-2), self._parts.pop()])
            self._parts.append(take(merged, np.argsort(merged.id, kind="stable")))

    def _remove(self, rows: list[I64]) -> RewardBatch:
        taken = [take(part, index) for part, index in zip(self._parts, rows, strict=True) if len(index)]
        if not taken:
            return no_rewards()
        rest = [
            take(part, np.delete(np.arange(len(part)), index)) if len(index) else part
            for part, index in zip(self._parts, rows, strict=True)
        ]
        self._parts = [part for part in rest if len(part)]
        return _canonical(concat(taken))


def no_rewards() -> RewardBatch:
    """An empty table."""
    i, f = np.empty(0, np.int64), np.empty(0)
    return RewardBatch(i, i, np.empty(0, np.uint64), f, f, np.empty(0, np.uint8))


def _rows_of(held: U64, ids: U64) -> I64:
    """Where any of `ids` stands in the sorted `held`, which may hold an id several times."""
    wanted = np.unique(ids)
    start, stop = np.searchsorted(held, wanted, "left"), np.searchsorted(held, wanted, "right")
    count = stop - start
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    rows: I64 = np.repeat(start, count) + within
    return rows


def _canonical(rewards: RewardBatch) -> RewardBatch:
    return take(rewards, np.lexsort((fingerprints(rewards), rewards.id, rewards.ts_ms)))
