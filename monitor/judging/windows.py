"""The buckets of one deployment: additive statistics per key and detector, and the windows over them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import nan

import numpy as np

from detectors.measurement import Measurement, Verdict
from detectors.protocol import Detector, Spec, Window
from detectors.rows import BucketRows
from detectors.statistic import Statistic
from monitor.judging.window_rows import WindowRows

Buckets = dict[int, Statistic]  # bucket start -> statistic, oldest first


@dataclass(frozen=True, slots=True)
class Group:
    """What is new for one key and one bucket."""

    key: int
    bucket_ms: int
    rows: BucketRows


@dataclass(slots=True)
class Windows:
    """buckets: key -> detector -> buckets. Older ones are dropped once no window or late reward can reach them.
    rows: the same of the current windows as arrays, a cache that no checkpoint holds and that goes with its window.
    """

    specs: Sequence[Spec]
    detectors: Mapping[str, Detector]
    bucket_ms: int
    window_ms: int
    horizon_ms: int
    buckets: dict[int, dict[str, Buckets]] = field(default_factory=dict)
    last_seen_ms: dict[int, int] = field(default_factory=dict)
    rows: dict[tuple[int, str], WindowRows] = field(default_factory=dict)

    def add(self, groups: Sequence[Group]) -> None:
        """Count new rows, each in its own bucket."""
        for group in groups:
            statistics = observed(group.rows, self.specs, self.detectors)
            self.count(group.key, group.bucket_ms, statistics, len(group.rows.decisions))

    def count(self, key: int, bucket_ms: int, statistics: Mapping[str, Statistic], decisions: int) -> None:
        """Add what was counted, here or by a shard, to its bucket."""
        mine = self.buckets.setdefault(key, {spec.name: {} for spec in self.specs})
        for name, statistic in statistics.items():
            _add(mine[name], bucket_ms, statistic)
            if (key, name) in self.rows:
                self.rows[key, name].stale.add(bucket_ms)
        if decisions:
            self.last_seen_ms[key] = max(bucket_ms, self.last_seen_ms.get(key, 0))

    def measure(
        self, key: int, now_ms: int, labels: Sequence[str], segments: Sequence[str] = ()
    ) -> list[Measurement]:
        """What every detector says of the window that ends now."""
        measured: list[Measurement] = []
        for spec in self.specs:
            window = self.window(key, spec.name, now_ms, labels, segments) if spec.judges else None
            if window is not None:
                measured += guarded(spec.name, partial(self.detectors[spec.name].measure, window))
        return measured

    def window(
        self, key: int, detector: str, now_ms: int, labels: Sequence[str], segments: Sequence[str] = ()
    ) -> Window | None:
        """The buckets of the window that ends at `now_ms`, or None where there is none."""
        mine = self.buckets.get(key, {}).get(detector, {})
        rows = self.rows.get((key, detector))
        if rows is None:
            rows = self.rows[key, detector] = WindowRows(stale=set(mine))
        rows.follow(mine, now_ms - self.window_ms, now_ms)
        if not rows.starts:
            return None
        starts = list(rows.starts)
        chosen = list(map(mine.__getitem__, starts))
        return Window(rows.total(type(chosen[0])), chosen, starts, now_ms, labels, rows, segments)

    def keys_in_window(self, now_ms: int) -> list[int]:
        """The keys that have anything in the window that ends at `now_ms`."""
        oldest = now_ms - self.window_ms
        return sorted(
            key
            for key, mine in self.buckets.items()
            if any(_any_since(b, oldest, now_ms) for b in mine.values())
        )

    def awake(self, now_ms: int) -> bool:
        """Whether any window that ends after `now_ms` can hold something."""
        oldest = now_ms - self.window_ms
        return any(b and next(reversed(b)) >= oldest for mine in self.buckets.values() for b in mine.values())

    def prune(self, now_ms: int) -> None:
        """Forget what no window and no late reward can reach, and the rows of windows that hold nothing any more.

        A policy that serves no longer keeps its name for a day of windows, but not its megabytes of rows.
        """
        for mine in self.buckets.values():
            for spec in self.specs:
                late = self.horizon_ms if spec.reads & {"outcomes", "returns"} else 0
                oldest = now_ms - self.window_ms - late - self.bucket_ms
                kept = mine[spec.name]
                while kept and (first := next(iter(kept))) < oldest:
                    del kept[first]
                if not kept:
                    kept.clear()  # a dict of which all is deleted keeps its size
        for name in [name for name, rows in self.rows.items() if rows.are_over(now_ms - self.window_ms)]:
            del self.rows[name]

    def retired(self, now_ms: int, after_ms: int) -> list[int]:
        """Keys without a decision for so long that they no longer count as watched."""
        return [key for key, seen in self.last_seen_ms.items() if seen < now_ms - after_ms]

    def forget(self, key: int) -> None:
        """Drop a key."""
        self.buckets.pop(key, None)
        for spec in self.specs:
            self.rows.pop((key, spec.name), None)
        self.last_seen_ms.pop(key, None)


def observed(
    rows: BucketRows, specs: Sequence[Spec], detectors: Mapping[str, Detector]
) -> dict[str, Statistic]:
    """The statistics of new rows, of every detector that reads any of the tables that hold something."""
    present = tables_present(rows)
    return {spec.name: detectors[spec.name].observe(rows) for spec in specs if present & spec.reads}


def guarded(detector: str, says: Callable[[], Sequence[Measurement]]) -> Sequence[Measurement]:
    """What a detector says; one that fails says `error` for itself and takes nobody else's watch away."""
    try:
        return says()
    except (ArithmeticError, ValueError, LookupError, np.linalg.LinAlgError) as error:
        reason = f"{type(error).__name__}: {error}"
        return (Measurement(detector, "failed", "", nan, 0, Verdict.ERROR, reason=reason),)


def tables_present(rows: BucketRows) -> frozenset[str]:
    """The names of the tables that hold anything."""
    present = [
        name
        for name, table in (
            ("decisions", rows.decisions),
            ("outcomes", rows.outcomes),
            ("returns", rows.returns),
            ("episodes", rows.episodes),
        )
        if len(table)
    ]
    if rows.metrics.values:
        present.append("metrics")
    if rows.expired:
        present.append("outcomes")
    return frozenset(present)


def _any_since(buckets: Buckets, oldest_ms: int, now_ms: int) -> bool:
    newest = next((start for start in reversed(buckets) if start < now_ms), oldest_ms - 1)
    return newest >= oldest_ms


def _add(buckets: Buckets, start_ms: int, statistic: Statistic) -> None:
    if start_ms in buckets:
        buckets[start_ms] = buckets[start_ms] + statistic
        return
    newest = next(reversed(buckets), None)
    buckets[start_ms] = statistic
    if newest is not None and newest > start_ms:  # a late bucket: keep the order of time
        for start in sorted(buckets):
            buckets[start] = buckets.pop(start)
