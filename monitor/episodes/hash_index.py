"""A hash table in columns: 64-bit codes to small integers, a whole batch at a time."""

import numpy as np

from detectors.arrays import I64, U64

_EMPTY, _REMOVED = -1, -2


class HashIndex:
    """Open addressing with linear probing (Knuth, TAOCP 3, 6.4 algorithm L), vectorised over the codes of a call.

    Rounds, not rows, are looped over. Codes of one `insert` are distinct and absent, values distinct and >= 0.
    """

    def __init__(self, size: int = 1024) -> None:
        self._codes = np.zeros(size, np.uint64)
        self._values = np.full(size, _EMPTY, np.int64)
        self._used = 0
        self._live = 0

    def find(self, codes: U64) -> I64:
        """(n,) value of each code, -1 where absent."""
        places = self._places(codes)
        return np.where(places >= 0, self._values[places], -1)

    def insert(self, codes: U64, values: I64) -> None:
        """Adds codes that are not there yet."""
        if 2 * (self._used + len(codes)) > len(self._values):
            self._rebuild(len(codes))
        at, todo = self._home(codes), np.arange(len(codes))
        while len(todo):
            free = self._values[at] == _EMPTY
            self._codes[at[free]] = codes[todo[free]]
            self._values[at[free]] = values[todo[free]]
            lost = self._values[at] != values[todo]  # taken before, or by another code of this batch
            todo, at = todo[lost], self._after(at[lost])
        self._used += len(codes)
        self._live += len(codes)

    def remove(self, codes: U64) -> None:
        """Forgets codes that are there."""
        self._values[self._places(codes)] = _REMOVED
        self._live -= len(codes)

    def _places(self, codes: U64) -> I64:
        places = np.full(len(codes), -1, np.int64)
        at, todo = self._home(codes), np.arange(len(codes))
        while len(todo):
            value = self._values[at]
            hit = (value >= 0) & (self._codes[at] == codes[todo])
            places[todo[hit]] = at[hit]
            more = ~hit & (value != _EMPTY)
            todo, at = todo[more], self._after(at[more])
        return places

    def _home(self, codes: U64) -> I64:
        return (mixed(codes) & np.uint64(len(self._values) - 1)).astype(np.int64)

    def _after(self, at: I64) -> I64:
        return (at + 1) & (len(self._values) - 1)

    def _rebuild(self, extra: int) -> None:
        live = self._values >= 0
        codes, values = self._codes[live], self._values[live]
        size = len(self._values)
        while size < 4 * (len(codes) + extra):
            size *= 2
        self._codes, self._values = np.zeros(size, np.uint64), np.full(size, _EMPTY, np.int64)
        self._used = self._live = 0
        if len(codes):
            self.insert(codes, values)


def mixed(codes: U64) -> U64:
    """(n,) well-spread bits of each code (finaliser of SplitMix64, Steele, Lea & Flood 2014)."""
    z = codes + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
