"""The decisions of one deployment that wait for rewards, and what each reward changes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import get_args

import numpy as np

from detectors.arrays import F64, I32, I64, U8, U64, Bool
from monitor.batch import RewardBatch
from monitor.frames import take
from monitor.joins.combine import Arrivals, Combine, add, combined, declare
from monitor.joins.fingerprint import fingerprints
from monitor.joins.ordering import in_order, order_of
from monitor.joins.runs import Array, Column, Runs, Spill, first_of_each


@dataclass(frozen=True, slots=True)
class NewDecisions:
    """What the join remembers of n decisions. Missing: value NaN, action -1, unit, episode and segments 0, step -1."""

    id: U64
    ts_ms: I64
    bucket_ms: I64
    key: I32
    value: F64
    action: I32
    unit: U64
    episode: U64
    step: I64
    segments: U64

    def __len__(self) -> int:
        return len(self.ts_ms)


class Fate(IntEnum):
    """What became of a reward."""

    SETTLED = 0
    UNMATCHED = 1
    LATE = 2
    DUPLICATE = 3


@dataclass(frozen=True, slots=True)
class Settled:
    """The decisions that rewards reached in one call, one row each, in canonical order (decision ts, id).

    reward_before, truth_before: NaN before the first. delay_ms: event time from the decision to the newest of these
    rewards. first: no reward had come before this call. flags: those of all rewards so far, OR-ed. components,
    costs: name -> (before, after). fate: one `Fate` per reward handed in, in the order handed in.
    """

    decisions: NewDecisions
    reward_before: F64
    reward: F64
    truth_before: F64
    truth: F64
    delay_ms: I64
    first: Bool
    flags_before: U8
    flags: U8
    components: dict[str, tuple[F64, F64]]
    costs: dict[str, tuple[F64, F64]]
    fate: U8

    def __len__(self) -> int:
        return len(self.delay_ms)


@dataclass(frozen=True, slots=True)
class Expired:
    """The decisions that left, in canonical order.

    reward: what was combined, NaN where no number ever came. touched: some reward record came, if only a cost.
    """

    decisions: NewDecisions
    reward: F64
    touched: Bool

    def __len__(self) -> int:
        return len(self.reward)


_COLUMNS = {
    "age_ms": Column("u4", 0),  # ts_ms - bucket_ms: half the bytes
    "key": Column("i4", -1),
    "value": Column("f8", np.nan),
    "action": Column("i4", -1),
    "unit": Column("u8", 0),
    "episode": Column("u8", 0),
    "step": Column("i8", -1),
    "segments": Column("u8", 0),
    "flags": Column("u1", 0),
    "first_print": Column("u8", 0),
}
_TOLD = sorted(_COLUMNS.keys() & {spec.name for spec in fields(NewDecisions)})  # by the decision itself
_LONG_AGO = np.iinfo(np.int64).min


class JoinTable:
    """Pending decisions by the 64-bit hash of their id, until the horizon has passed.

    What it holds after a sequence of calls does not depend on the order of rows inside a call. A decision whose
    hash equals that of a pending one is refused as a duplicate; with n pending, a new decision meets a foreign
    equal hash with probability n / 2**64: at 10 million pending and a billion decisions a day, 0.0005 a day. A
    reward of an unknown decision lands on a foreign one with the same probability.

    The fingerprint of a decision's first reward lies in its row, those of further rewards in a table of their
    own that expires with the decisions.
    """

    def __init__(self, horizon_ms: int, combine: Combine = "sum", spill: Spill | None = None) -> None:
        if combine not in get_args(Combine):
            raise ValueError(f"combine is {combine!r}, not one of {', '.join(get_args(Combine))}")
        self._horizon_ms = horizon_ms
        self._combine: Combine = combine
        self._rows = Runs(_COLUMNS, spill)
        self._prints = Runs({}, spill)
        declare(self._rows, "reward", combine)
        declare(self._rows, "truth", "last")

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """Memory of all columns and indexes."""
        return self._rows.nbytes + self._prints.nbytes

    def insert(self, decisions: NewDecisions) -> Bool:
        """Remembers decisions. Returns which: False where the id is pending already, or came earlier in this call."""
        order = _canonical(decisions)
        columns: dict[str, Array] = {name: getattr(decisions, name)[order] for name in _TOLD}
        columns["age_ms"] = (decisions.ts_ms - decisions.bucket_ms)[order].astype(np.uint32)
        fresh = np.empty(len(decisions), np.bool_)
        fresh[order] = self._rows.insert(decisions.id[order], decisions.ts_ms[order], columns)
        return fresh

    def settle(self, rewards: RewardBatch) -> Settled:
        """Combines rewards into their decisions: in order of (ts, id, fingerprint), whatever order they come in."""
        n, places = len(rewards), self._rows.find(rewards.id)
        matched = np.flatnonzero(places >= 0)
        rewards, places = take(rewards, places >= 0), places[matched]
        prints = fingerprints(rewards)
        if not in_order(rewards.ts_ms, rewards.id):
            order = order_of(rewards.ts_ms, rewards.id, prints)
            rewards, places, prints, matched = (
                take(rewards, order),
                places[order],
                prints[order],
                matched[order],
            )
        untouched = self._rows.read("first_print", places) == 0
        fates = self._fates(rewards, prints, places)
        kept = fates == Fate.SETTLED
        fate = np.full(n, Fate.UNMATCHED, np.uint8)
        fate[matched] = fates
        return self._apply(take(rewards, kept), places[kept], untouched[kept], fate)

    def expire(self, before_ms: int) -> Expired:
        """Decisions with ts_ms < before_ms leave, with the fingerprints of their rewards."""
        self._prints.expire(before_ms)
        places = self._rows.expire(before_ms)
        places = places[order_of(self._rows.read("ts_ms", places), self._rows.read("id", places))]
        return Expired(
            self._decisions(places),
            combined(self._rows, "reward", self._combine, places),
            self._rows.read("first_print", places) != 0,
        )

    def arrays(self) -> dict[str, Array]:
        """All that is remembered, as plain arrays; copies, so they may be written while the table goes on."""
        rows = {f"rows/{name}": column for name, column in self._rows.arrays().items()}
        return rows | {f"prints/{name}": column for name, column in self._prints.arrays().items()}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Goes on where `arrays` was taken; for a table that is still empty, with the same horizon and combine."""
        for part, table in (("rows/", self._rows), ("prints/", self._prints)):
            columns = {
                name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)
            }
            for name in columns:
                if name.startswith(("components/", "costs/")) and "#" not in name:
                    declare(self._rows, name, self._combine)
            table.restore(columns)

    def _fates(self, rewards: RewardBatch, prints: U64, places: I64) -> U8:
        late = rewards.ts_ms - self._rows.read("ts_ms", places) > self._horizon_ms
        fate = np.where(late, Fate.LATE, Fate.SETTLED).astype(np.uint8)
        in_time = np.flatnonzero(~late)
        fate[in_time[~self._unseen(places[in_time], prints[in_time])]] = Fate.DUPLICATE
        return fate

    def _unseen(self, places: I64, prints: U64) -> Bool:
        """Which rewards are new to their decision; from now on they are not."""
        new = np.zeros(len(places), np.bool_)
        blank = np.flatnonzero(self._rows.read("first_print", places) == 0)
        new[blank[first_of_each(places[blank])]] = True
        self._rows.write("first_print", places[new], prints[new])
        more = np.flatnonzero(~new & (self._rows.read("first_print", places) != prints))
        new[more] = self._prints.insert(prints[more], self._rows.read("ts_ms", places[more]), {})
        return new

    def _apply(self, rewards: RewardBatch, places: I64, untouched: Bool, fate: U8) -> Settled:
        arrivals = self._arrivals(places, rewards.ts_ms)
        decisions = self._decisions(arrivals.places)
        newest = np.full(len(decisions), _LONG_AGO)
        np.maximum.at(newest, arrivals.group, rewards.ts_ms)
        first = np.zeros(len(decisions), np.bool_)
        first[arrivals.group] = untouched
        flags_before, flags = self._add_flags(rewards.flags, arrivals)
        reward_before, reward = add(self._rows, "reward", self._combine, rewards.reward, arrivals)
        truth_before, truth = add(self._rows, "truth", "last", rewards.truth, arrivals)
        return Settled(
            decisions, reward_before, reward, truth_before, truth, newest - decisions.ts_ms, first, flags_before, flags,
            self._add_named("components", rewards.components, arrivals),
            self._add_named("costs", rewards.costs, arrivals), fate,
        )  # fmt: skip

    def _arrivals(self, places: I64, ts_ms: I64) -> Arrivals:
        found, group = np.unique(places, return_inverse=True)
        order = order_of(self._rows.read("ts_ms", found), self._rows.read("id", found))
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return Arrivals(found[order], rank[group], ts_ms)

    def _add_flags(self, new: U8, arrivals: Arrivals) -> tuple[U8, U8]:
        before = self._rows.read("flags", arrivals.places)
        after = before.copy()
        np.bitwise_or.at(after, arrivals.group, new)
        if new.any():
            self._rows.write("flags", arrivals.places, after)
        return before, after

    def _add_named(
        self, kind: str, columns: Mapping[str, F64], arrivals: Arrivals
    ) -> dict[str, tuple[F64, F64]]:
        """Names without a number in these rewards are left out, so that none depends on how polls were cut."""
        changed: dict[str, tuple[F64, F64]] = {}
        for name in sorted(columns):
            if not np.isnan(columns[name]).all():
                declare(self._rows, f"{kind}/{name}", self._combine)
                changed[name] = add(self._rows, f"{kind}/{name}", self._combine, columns[name], arrivals)
        return changed

    def _decisions(self, places: I64) -> NewDecisions:
        read = {name: self._rows.read(name, places) for name in ("id", "ts_ms", *_COLUMNS)}
        bucket_ms = read["ts_ms"] - read["age_ms"]
        return NewDecisions(bucket_ms=bucket_ms, **{name: read[name] for name in ("id", "ts_ms", *_TOLD)})


def _canonical(decisions: NewDecisions) -> I64:
    """Order by (ts, id); equal ids at one time, a fault of the sender, by all else they say."""
    return order_of(decisions.ts_ms, *(getattr(decisions, spec.name) for spec in fields(decisions)))
