"""Decisions that name candidates, kept until their rewards are final."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.arrays import F64, I32, I64, U64
from detectors.candidates import CandidateRows
from monitor.joins.runs import Array, Column, Runs

MOST = 8  # candidates of one deployment that wait for rewards at a time
_LONG_AGO = -(1 << 62)
_NAN = Column("f8", np.nan)
_VIEW = ("p", "q", "v")


@dataclass(frozen=True, slots=True)
class Matured:
    """Decisions whose horizon has passed, in canonical order; columns (n,). candidates: name -> (n, 3) p, q, v."""

    key: I32
    propensity: F64
    reward: F64
    costs: dict[str, F64]
    candidates: dict[str, F64]

    def __len__(self) -> int:
        return len(self.key)

    def rows(self, name: str, key: int) -> CandidateRows:
        """What the decisions of one key say of a candidate."""
        mine = self.key == key
        p, q, v = self.candidates[name][mine].T
        costs = {cost: column[mine] for cost, column in self.costs.items()}
        return CandidateRows(self.propensity[mine], p, q, v, self.reward[mine], costs)


class PendingCandidates:
    """What a reward will be weighed with; empty, and free, while no decision names a candidate.

    At most MOST candidates wait at a time, in slots that are given on when no pending decision names their candidate
    any more; decisions name others in vain (`left_out` counts them). A reward replaces what was known before it (it
    comes combined), a cost of a reward the cost of its decision.
    """

    def __init__(self) -> None:
        columns = [f"{part}{slot}" for slot in range(MOST) for part in _VIEW]
        self._rows = Runs(
            {"key": Column("i4", -1), **dict.fromkeys(("propensity", "reward", *columns), _NAN)}
        )
        self._slots: dict[str, tuple[int, int]] = {}  # candidate -> slot, newest event time that names it
        self._costs: list[str] = []
        self.left_out = 0

    def __len__(self) -> int:
        return len(self._rows)

    def insert(
        self,
        ids: U64,
        ts_ms: I64,
        key: I32,
        propensity: F64,
        costs: Mapping[str, F64],
        candidates: Mapping[str, F64],
    ) -> None:
        """Remember the decisions that name any candidate; all columns (n,), candidates name -> (n, 3)."""
        views = {name: view for name, view in sorted(candidates.items()) if self._has_slot(name, view, ts_ms)}
        if not views:
            return
        rows = np.flatnonzero(np.logical_or.reduce([~np.isnan(view[:, 0]) for view in views.values()]))
        rows = rows[np.lexsort((ids[rows], ts_ms[rows]))]
        columns: dict[str, Array] = {"key": key[rows], "propensity": propensity[rows]}
        columns |= {self._cost(name): column[rows] for name, column in sorted(costs.items())}
        for name, view in views.items():
            slot = self._slots[name][0]
            columns |= {f"{part}{slot}": column for part, column in zip(_VIEW, view[rows].T, strict=True)}
        self._rows.insert(ids[rows], ts_ms[rows], columns)

    def settle(self, ids: U64, reward: F64, costs: Mapping[str, F64]) -> None:
        """What rewards have come to by now."""
        places = self._rows.find(ids)
        here = places >= 0
        self._rows.write("reward", places[here], reward[here])
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
            )
        self._slots = {name: held for name, held in self._slots.items() if held[1] >= before_ms}
        return matured

    def state(self) -> dict[str, Any]:
        """All that is remembered, as plain arrays and names."""
        return {"rows": self._rows.arrays(), "slots": dict(self._slots), "left_out": self.left_out}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken; for a table that is still empty."""
        for column in state["rows"]:
            if column.startswith("cost/"):
                self._cost(column.removeprefix("cost/"))
        self._rows.restore(state["rows"])
        self._slots, self.left_out = dict(state["slots"]), state["left_out"]

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
