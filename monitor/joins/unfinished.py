"""Steps that name candidates, kept until their episode is over."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.arrays import I32, U64, Bool
from monitor.batch import DONE, TRUNCATED
from monitor.episodes.hash_index import mixed
from monitor.frames import concat, take
from monitor.joins.candidates import Matured

MOST_ROWS = 100_000  # of all open episodes
MOST_STEPS = 10_000  # of one episode


@dataclass(slots=True)
class Unfinished:
    """rows: in canonical order, of episodes that go on. left_out: steps without an episode, or beyond the room.

    An episode is over when a reward of one of its steps says so (done, truncated), or when none of its steps has
    become final for a whole horizon: then it is taken as it is, cut off.
    """

    horizon_ms: int
    rows: Matured | None = None
    left_out: int = 0

    def __len__(self) -> int:
        """Steps that wait."""
        return 0 if self.rows is None else len(self.rows)

    def finished(self, matured: Matured | None, end_ms: int) -> Matured | None:
        """The steps of episodes that are over by now, the newly final ones among them."""
        parts = [part for part in (self.rows, matured) if part is not None]
        if not parts:
            return None
        rows = concat(parts)
        named = (rows.episode != 0) & (rows.step >= 0) & (rows.step < MOST_STEPS)
        self.left_out += int(np.count_nonzero(~named))
        rows = take(rows, named)
        if not len(rows):
            self.rows = None
            return None
        over, newest = self._over(rows, end_ms)
        rest = take(rows, ~over) if over.any() else rows
        if len(rest) > MOST_ROWS:  # the episodes that have waited longest give way, whole
            ages = np.sort(newest[~over])
            kept = newest[~over] > ages[len(rest) - MOST_ROWS - 1]
            self.left_out += int(np.count_nonzero(~kept))
            rest = take(rest, kept)
        self.rows = rest if len(rest) else None
        return take(rows, over) if over.any() else None

    def state(self) -> dict[str, Any]:
        """All that is remembered."""
        return {"rows": self.rows, "left_out": self.left_out}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.rows, self.left_out = state["rows"], state["left_out"]

    def _over(self, rows: Matured, end_ms: int) -> tuple[Bool, Any]:
        """(n,) whether each step's episode is over, and the newest time of any of its steps."""
        _, place = np.unique(episodes(rows.key, rows.episode), return_inverse=True)
        ended = np.bincount(place, (rows.flags & (DONE | TRUNCATED)) > 0) > 0
        newest = np.full(len(ended), np.iinfo(np.int64).min)
        np.maximum.at(newest, place, rows.ts_ms)
        idle = newest < end_ms - 2 * self.horizon_ms
        return (ended | idle)[place], newest[place]


def episodes(key: I32, episode: U64) -> U64:
    """(n,) one code per episode of a policy and stage: one that changes hands is two."""
    return mixed(episode ^ mixed(key.astype(np.uint64)))
