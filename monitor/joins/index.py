"""Where a 64-bit id stands: open addressing in a few tables, each forgotten whole."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import I64, U64, Bool

SMALLEST = 4096  # slots of the first table
LOAD = 0.3  # chains of 0.6 cost a quarter more CPU per decision and save 8 bytes a row
ROOM = 4  # slots of a new table per row alive: it holds 1.2 times what is alive, in 16 bytes a row

FEW = 256  # so few ids look at several slots in one round: calls cost more than memory then
_AHEAD = np.arange(12)

_SCATTER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio (Knuth, TAOCP 3, 6.4)
_HALF = np.uint64(32)


class Index:
    """Place of each id in tables of one generation each, the newest last.

    A table is never cleaned: it holds 1.2 times what is alive when it opens, and by the time it is full its
    predecessor has usually expired. So there is no pause, and two tables are searched at most once traffic is
    steady. An entry that outlives its row does no harm: `find` believes the row, not the entry.
    """

    def __init__(self) -> None:
        self._tables = [Table(SMALLEST)]

    def has_room(self, n: int) -> bool:
        """Whether n more ids fit into the newest table."""
        return self._tables[-1].has_room(n)

    def open(self, n: int, alive: int) -> None:
        """Starts the next table, for at least n ids."""
        self._tables.append(Table(max(SMALLEST, ROOM * alive, int(n / LOAD) + 1)))

    def add(self, ids: U64, places: I64, runs: Iterable[int]) -> None:
        """Enters ids known to be absent; runs: which runs their places lie in."""
        self._tables[-1].runs.update(runs)
        self._tables[-1].add(ids, places)

    def find(self, ids: U64, known: U64, here: Bool) -> I64:
        """The place of each id, or -1; a place holds an id if `known[place]` is that id and `here[place]` is set."""
        found = np.full(len(ids), -1, np.int64)
        todo = np.arange(len(ids))
        for table in reversed(self._tables):
            found[todo] = table.find(ids[todo], known, here)
            todo = todo[found[todo] < 0]
            if not len(todo):
                break
        return found

    def forget(self, runs: Iterable[int]) -> None:
        """These runs of rows are empty; a table without runs is dropped, the newest excepted."""
        for table in self._tables:
            table.runs.difference_update(runs)
        self._tables = [table for table in self._tables[:-1] if table.runs] + self._tables[-1:]

    @property
    def nbytes(self) -> int:
        """Memory of the tables."""
        return sum(table.slots.nbytes for table in self._tables)


class Table:
    """Linear probing over slots that hold place + 1, 0 where free."""

    def __init__(self, size: int) -> None:
        self.slots: NDArray[np.uint32] = np.zeros(size, np.uint32)
        self.used = 0
        self.runs: set[int] = set()

    def has_room(self, n: int) -> bool:
        """Whether n more entries keep it under its load."""
        return self.used + n <= LOAD * len(self.slots)

    def add(self, ids: U64, places: I64) -> None:
        """Enters ids that are not in it."""
        self.used += len(ids)
        entry, at = (places + 1).astype(np.uint32), self._start(ids)
        while len(at):
            free = self.slots[at] == 0
            self.slots[at[free]] = entry[free]
            lost = self.slots[at] != entry  # taken before, or by a neighbour in this very round
            at, entry = self._next(at[lost]), entry[lost]

    def find(self, ids: U64, known: U64, here: Bool) -> I64:
        """As `Index.find`, in this table alone."""
        found = np.full(len(ids), -1, np.int64)
        todo, at = np.arange(len(ids)), self._start(ids)
        while len(todo) > FEW:
            entry = self.slots[at]
            some = entry.nonzero()[0]
            todo, at, place = todo[some], at[some], entry[some].astype(np.int64) - 1
            hit = known[place] == ids[todo]
            hit[hit] = here[place[hit]]
            found[todo[hit]] = place[hit]
            todo, at = todo[~hit], self._next(at[~hit])
        while len(todo):
            entry = self.slots[(at[:, None] + _AHEAD) % len(self.slots)]
            place = entry.astype(np.int64) - 1
            hit = (entry != 0) & (known[place] == ids[todo, None]) & here[place]
            row, column = hit.nonzero()
            found[todo[row]] = place[row, column]
            onward = ~hit.any(axis=1) & entry.all(axis=1)
            todo, at = todo[onward], at[onward] + len(_AHEAD)
        return found

    def _start(self, ids: U64) -> I64:
        spread = ((ids * _SCATTER) >> _HALF) * np.uint64(len(self.slots))
        return (spread >> _HALF).astype(np.int64)

    def _next(self, at: I64) -> I64:
        at = at + 1
        at[at == len(self.slots)] = 0
        return at
