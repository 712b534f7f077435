"""Gauges with labels that come from outside, by group, under one limit: no sender of odd names can grow them."""

from collections.abc import Hashable, Mapping

from prometheus_client import Gauge

Series = tuple[Gauge, tuple[str, ...]]  # a gauge and the values of its labels


class BoundedSeries:
    """At most `limit` series over all groups; first come, first served, until their group lets go of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._children: dict[Hashable, dict[Series, Gauge]] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def room(self) -> int:
        """How many more series fit."""
        return self._limit - self._count

    def groups(self) -> list[Hashable]:
        """Those that show anything."""
        return list(self._children)

    def show(self, group: Hashable, values: Mapping[Series, float]) -> int:
        """A group's series and values from now on; what it showed before and does not now disappears.

        Returns how many were left out because the limit is reached.
        """
        shown = self._children.setdefault(group, {})
        for series in [series for series in shown if series not in values]:
            self._discard(shown, series)
        left_out = 0
        for series, value in values.items():
            child = shown.get(series)
            if child is None and self.room <= 0:
                left_out += 1
                continue
            if child is None:
                gauge, labels = series
                child = shown[series] = gauge.labels(*labels)
                self._count += 1
            child.set(value)
        if not shown:
            del self._children[group]
        return left_out

    def forget(self, group: Hashable) -> None:
        """The group is gone, and all that it showed."""
        for series in list(shown := self._children.pop(group, {})):
            self._discard(shown, series)

    def _discard(self, shown: dict[Series, Gauge], series: Series) -> None:
        gauge, labels = series
        gauge.remove(*labels)
        del shown[series]
        self._count -= 1
