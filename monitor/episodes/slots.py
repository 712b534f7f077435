"""One row per open episode: who it is, when it was last touched, and the sums of what was retired."""

import numpy as np

from detectors.arrays import I32, I64, U64, Arrays, Bool

ENDED, SETTLED, BROKEN = 1, 2, 4  # bits of flags: an end was seen; it was given out; a retired part had holes
_FREE = -1
_NAMES = ("code", "key", "named", "touched_ms", "skipped", "reward", "cost", "flags")


class SlotTable:
    """Columns indexed by slot; freed slots are used again, the latest freed first."""

    def __init__(self, costs: int) -> None:
        self.code = np.zeros(0, np.uint64)
        self.key = np.zeros(0, np.int32)
        self.named = np.zeros(0, np.bool_)
        self.touched_ms = np.zeros(0, np.int64)
        self.skipped = np.zeros(0, np.int64)
        self.reward = np.zeros(0)
        self.cost = np.zeros((0, costs))
        self.flags = np.zeros(0, np.uint8)
        self._spare = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.code) - len(self._spare)

    def live(self) -> I64:
        """The slots in use."""
        return np.flatnonzero(self.touched_ms != _FREE)

    def open(self, code: U64, key: I32, named: Bool) -> I64:
        """Takes a slot for each new episode."""
        if len(code) > len(self._spare):
            self._grow(max(len(code), len(self.code), 1024))
        slots = self._spare[len(self._spare) - len(code) :]
        self._spare = self._spare[: len(self._spare) - len(code)]
        self.code[slots], self.key[slots], self.named[slots] = code, key, named
        self.touched_ms[slots] = 0
        self.skipped[slots], self.reward[slots], self.cost[slots], self.flags[slots] = 0, 0.0, np.nan, 0
        return slots

    def free(self, slots: I64) -> None:
        """Gives slots back."""
        self.touched_ms[slots] = _FREE
        self._spare = np.concatenate([self._spare, slots])

    def arrays(self) -> Arrays:
        """All columns, and the slots that are free in the order they will be used."""
        return {**{name: getattr(self, name).copy() for name in _NAMES}, "spare": self._spare.copy()}

    def restore(self, arrays: Arrays) -> None:
        """The inverse of `arrays`."""
        for name in _NAMES:
            setattr(self, name, arrays[name].astype(getattr(self, name).dtype))
        self._spare = arrays["spare"].astype(np.int64)

    def _grow(self, more: int) -> None:
        size = len(self.code)
        for name in _NAMES:
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros((more, *column.shape[1:]), column.dtype)]))
        self.touched_ms[size:] = _FREE
        self._spare = np.concatenate([self._spare, np.arange(size + more - 1, size - 1, -1)])
