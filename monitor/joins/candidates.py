"""Decisions that name candidates, kept until their rewards are final."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detectors.arrays import F64, I32, I64, U8, U64, Bool
from detectors.candidates.sums import CandidateRows
from monitor.batch import DecisionBatch
from monitor.joins.runs import Array, Column, Runs

MOST = 8  # candidates of one deployment that wait for rewards at a time
MOST_ROWS = 2_000_000  # decisions that wait for them, at 60 to 300 bytes
_LONG_AGO = -(1 << 62)
_NAN = Column("f8", np.nan)
_VIEW = ("p", "q", "v")


@dataclass(frozen=True, slots=True)
class Matured:
    """Decisions whose horizon has passed, in canonical order; columns (n,). candidates: name -> (n, 3) p, q, v.

    flags: of their rewards. A state of version 0.1 lacks the columns from ts_ms on.
    """

    key: I32
    propensity: F64
    reward: F64
    costs: dict[str, F64]
    candidates: dict[str, F64]
    ts_ms: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    unit: U64 = field(default_factory=lambda: np.empty(0, np.uint64))
    episode: U64 = field(default_factory=lambda: np.empty(0, np.uint64))
    step: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    flags: U8 = field(default_factory=lambda: np.empty(0, np.uint8))

    def __len__(self) -> int:
        return len(self.key)

    @property
    def is_whole(self) -> bool:
        """Whether every column is there."""
        return len(self.ts_ms) == len(self.key)

    def rows(self, name: str) -> CandidateRows:
        """What the decisions say of a candidate."""
        p, q, v = self.candidates[name].T
        return CandidateRows(self.propensity, p, q, v, self.reward, dict(self.costs), self.unit)


class PendingCandidates:
    """What a reward will be weighed with; empty, and free, while no decision names a candidate.

    At most MOST candidates wait at a time, in slots that are given on when no pending decision names their candidate
    any more; decisions name others in vain (`left_out` counts them). So do decisions beyond MOST_ROWS, whatever they
    will earn (`crowded_out`). A reward replaces what was known before it (it comes combined), a cost of a reward the
    cost of its decision.
    """

    def __init__(self) -> None:
        columns = [f"{part}{slot}" for slot in range(MOST) for part in _VIEW]
        self._rows = Runs(
            {
                "key": Column("i4", -1), "unit": Column("u8", 0), "episode": Column("u8", 0), "step": Column("i8", -1),
                "flags": Column("u1", 0), **dict.fromkeys(("propensity", "reward", *columns), _NAN),
            }
        )  # fmt: skip
        self._slots: dict[str, tuple[int, int]] = {}  # candidate -> slot, newest event time that names it
        self._costs: list[str] = []
        self.left_out = self.crowded_out = 0

    def __len__(self) -> int:
        return len(self._rows)

    def insert(self, d: DecisionBatch, key: I32, kept: Bool | None = None) -> None:
        """Remember the decisions that name any candidate, and those of `kept` (n,) that a shadow may yet name."""
        views = {
            name: view for name, view in sorted(d.candidates.items()) if self._has_slot(name, view, d.ts_ms)
        }
        wanted = [~np.isnan(view[:, 0]) for view in views.values()] + ([] if kept is None else [kept])
        if not wanted:
            return
        rows = np.flatnonzero(np.logical_or.reduce(wanted))
        rows = rows[np.lexsort((d.id[rows], d.ts_ms[rows]))]
        room = max(MOST_ROWS - len(self._rows), 0)
        self.crowded_out += max(len(rows) - room, 0)
        rows = rows[:room]
        columns: dict[str, Array] = {
            "key": key[rows], "propensity": d.propensity[rows], "unit": d.unit[rows], "episode": d.episode[rows],
            "step": d.step[rows],
        }  # fmt: skip
        columns |= {self._cost(name): column[rows] for name, column in sorted(d.costs.items())}
        for name, view in views.items():
            slot = self._slots[name][0]
            columns |= {f"{part}{slot}": column for part, column in zip(_VIEW, view[rows].T, strict=True)}
        self._rows.insert(d.id[rows], d.ts_ms[rows], columns)

    def name(self, candidate: str, ids: U64, view: F64) -> None:
        """What a candidate would have done (n, 3) about waiting decisions (n,), where they do not say it themselves."""
        places = self._rows.find(ids)
        ids, view, places = ids[places >= 0], view[places >= 0], places[places >= 0]
        if not len(ids) or not self._has_slot(candidate, view, self._rows.read("ts_ms", places)):
            return
        slot = self._slots[candidate][0]
        unsaid = np.isnan(self._rows.read(f"p{slot}", places))
        for part, column in zip(_VIEW, view[unsaid].T, strict=True):
            self._rows.write(f"{part}{slot}", places[unsaid], column)

    def settle(self, ids: U64, reward: F64, costs: Mapping[str, F64], flags: U8) -> None:
        """What rewards have come to by now."""
        places = self._rows.find(ids)
        here = places >= 0
        self._rows.write("reward", places[here], reward[here])
        ended = here & (flags > 0)
        if ended.any():
            self._rows.write("flags", places[ended], self._rows.read("flags", places[ended]) | flags[ended])
        for name, column in sorted(costs.items()):
            known = here & ~np.isnan(column)
            if known.any():
                self._rows.write(self._cost(name), places[known], column[known])

    def expire(self, before_ms: int) -> Matured | None:
        """Decisions older than before_ms leave, with all that came for them."""
        places, read = self._rows.expire(before_ms), self._rows.read
        matured = None
        if len(places):
            places = places[np.lexsort((read("id", places), read("ts_ms", places)))]
            matured = Matured(
                read("key", places),
                read("propensity", places),
                read("reward", places),
                {name: read(f"cost/{name}", places) for name in self._costs},
                {
                    name: np.stack([read(f"{part}{slot}", places) for part in _VIEW], axis=1)
                    for name, (slot, _) in sorted(self._slots.items())
                },
                *(read(name, places) for name in ("ts_ms", "unit", "episode", "step", "flags")),
            )
        self._slots = {name: held for name, held in self._slots.items() if held[1] >= before_ms}
        return matured

    def state(self) -> dict[str, Any]:
        """All that is remembered, as plain arrays and names."""
        return {
            "rows": self._rows.arrays(),
            "slots": dict(self._slots),
            "left_out": self.left_out,
            "crowded_out": self.crowded_out,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken; for a table that is still empty."""
        for column in state["rows"]:
            if column.startswith("cost/"):
                self._cost(column.removeprefix("cost/"))
        self._rows.restore(state["rows"])
        self._slots, self.left_out = dict(state["slots"]), state["left_out"]
        self.crowded_out = state.get("crowded_out", 0)

    def _has_slot(self, name: str, view: F64, ts_ms: I64) -> bool:
        """Whether the candidate is named here and can be kept."""
        named = ~np.isnan(view[:, 0])
        if not named.any():
            return False
        if name not in self._slots:
            free = sorted(set(range(MOST)) - {slot for slot, _ in self._slots.values()})
            if not free:
                self.left_out += int(np.count_nonzero(named))
                return False
            self._slots[name] = free[0], _LONG_AGO
        slot, newest = self._slots[name]
        self._slots[name] = slot, max(newest, int(ts_ms[named].max()))
        return True

    def _cost(self, name: str) -> str:
        if name not in self._costs:
            self._costs = sorted([*self._costs, name])
            self._rows.declare(f"cost/{name}", _NAN)
        return f"cost/{name}"
