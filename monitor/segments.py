"""Which segments decisions lie in: values by name, as they were logged, to packed codes of a deployment's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from detectors.arrays import I32, I64, U64
from detectors.critic.packed_segments import pack
from monitor.vocabulary import OTHER, Labels, Vocabulary


@dataclass(slots=True)
class Segments:
    """One deployment's. known: name -> the code of each of its values, -1 where it has not been seen yet."""

    vocabulary: Vocabulary
    deployment: int
    known: dict[str, I64] = field(default_factory=dict)

    def of(self, columns: Mapping[str, I32], n: int) -> U64:
        """(n,) packed codes of rows in canonical order, from codes of values by segment name.

        New values get their codes in the order of rows, so that they do not depend on how the log was cut.
        """
        if not columns:
            return np.zeros(n, np.uint64)
        names = sorted(columns)
        labels = self.vocabulary.segments_of(self.deployment)
        fresh = [pair for name in names for pair in self._fresh(name, columns[name])]
        before = labels.dropped
        for _, name, value in sorted(fresh):
            self._learn(labels, name, value)
        coded = [self.known[name][columns[name]] for name in names]
        packed, dropped = pack(coded)
        other = labels.codes.get(OTHER, -2)
        labels.dropped = before + dropped + sum(int((codes == other).sum()) for codes in coded)
        return packed

    def _fresh(self, name: str, values: I32) -> list[tuple[int, str, int]]:
        """(row, name, value) where each value that has no code yet is met first."""
        table = self.vocabulary.segments[name].names
        known = self.known.setdefault(name, np.full(1, -1))
        if len(known) < len(table) + 1:  # the last is never a value: where -1 points
            known = self.known[name] = np.concatenate([known, np.full(len(table) + 1 - len(known), -1)])
        rows = np.flatnonzero((values >= 0) & (known[values] < 0))
        if not len(rows):
            return []
        found, first = np.unique(values[rows], return_index=True)
        return [(row, name, value) for row, value in zip(rows[first].tolist(), found.tolist(), strict=True)]

    def _learn(self, labels: Labels, name: str, value: int) -> None:
        self.known[name][value] = labels.code(f"{name}={self.vocabulary.segments[name].names[value]}")
