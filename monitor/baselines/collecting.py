"""Makes a baseline out of sealed buckets: a bounded sample fixes the schema, then everything is counted."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from detectors.arrays import Arrays
from detectors.protocol import Baseline, Detector, Plan, Spec
from detectors.rows import Decisions
from detectors.statistic import Statistic, stack
from monitor.frames import concat, take
from monitor.judging.windows import Group, tables_present

SAMPLE_ROWS = 200_000  # decisions that fix bin edges and scales
MAX_BUCKETS = 10_000  # buckets of a series (a year of hours); a longer baseline is counted in wider buckets
MAX_WINDOWS = 64  # of what is counted by windows; of a longer baseline half of them are kept, a quarter, ...


@dataclass(slots=True)
class Collector:
    """Groups in, one statistic per detector and bucket out, summed over all accepted keys."""

    specs: Sequence[Spec]
    plans: Mapping[str, Plan]
    bucket_ms: int
    labels: Sequence[str]
    segments: Sequence[str] = ()
    waiting: list[Group] = field(default_factory=list)
    waiting_rows: int = 0
    detectors: dict[str, Detector] = field(default_factory=dict)
    schemas: dict[str, Arrays] = field(default_factory=dict)
    series: dict[str, dict[int, Statistic]] = field(default_factory=dict)
    sparse: dict[str, int] = field(default_factory=dict)  # times that windows have been halved
    decisions: int = 0
    rewards: int = 0

    def add(self, groups: Sequence[Group]) -> None:
        """Count groups, or keep them until there are enough rows to fix the schema."""
        for group in groups:
            self.decisions += len(group.rows.decisions)
            self.rewards += int(np.count_nonzero(np.isnan(group.rows.outcomes.reward_before)))
            if self.detectors:
                self._count(group)
            else:
                self.waiting.append(group)
                self.waiting_rows += len(group.rows.decisions)
        if not self.detectors and self.waiting_rows >= SAMPLE_ROWS:
            self._fix()

    def finish(self) -> dict[str, Baseline]:
        """The parts of the baseline; ValueError when no decision was seen."""
        if not self.detectors:
            self._fix()
        return {
            spec.name: Baseline(
                schema=self.schemas[spec.name],
                series=stack([self.series[spec.name][start] for start in sorted(self.series[spec.name])]),
                starts_ms=sorted(self.series[spec.name]),
                bucket_ms=self._width_of(spec),
                labels=tuple(self.labels),
                segments=tuple(self.segments),
            )
            for spec in self.specs
            if self.series.get(spec.name)
        }

    def _fix(self) -> None:
        tables = [group.rows.decisions for group in self.waiting if len(group.rows.decisions)]
        if not tables:
            raise ValueError("no decision of this deployment was found")
        sample = _thinned(concat(tables))
        for spec in self.specs:
            plan = replace(self.plans[spec.name], bucket_ms=self.bucket_ms)
            self.schemas[spec.name] = self.schemas.get(spec.like, {}) | spec.fit(sample, plan)
            empty = Baseline(self.schemas[spec.name], {}, (), self.bucket_ms, self.labels)
            self.detectors[spec.name] = spec.build(empty, plan)
        waiting, self.waiting = self.waiting, []
        for group in waiting:
            self._count(group)

    def _count(self, group: Group) -> None:
        present = tables_present(group.rows)
        for spec in self.specs:
            width = self._width_of(spec)
            start = group.bucket_ms // width * width
            if present & spec.reads and self._kept(spec, start):
                series = self.series.setdefault(spec.name, {})
                seen = self.detectors[spec.name].observe(group.rows)
                series[start] = series[start] + seen if start in series else seen
                self._thin(spec)
        if max((len(series) for series in self.series.values()), default=0) > MAX_BUCKETS:
            self._coarsen()

    def _width_of(self, spec: Spec) -> int:
        """Of what is counted by windows: the window, in event time."""
        plan = self.plans[spec.name]
        return plan.window_buckets * plan.bucket_ms if spec.by_window else self.bucket_ms

    def _kept(self, spec: Spec, start: int) -> bool:
        """All buckets; of windows that are too many, those whose hash ends in so many zeros: no season is missed."""
        halved = self.sparse.get(spec.name, 0)
        return not halved or _hashed(start) % 2**halved == 0

    def _thin(self, spec: Spec) -> None:
        series = self.series[spec.name]
        while spec.by_window and len(series) > MAX_WINDOWS:
            self.sparse[spec.name] = self.sparse.get(spec.name, 0) + 1
            for start in [start for start in series if not self._kept(spec, start)]:
                del series[start]

    def _coarsen(self) -> None:
        self.bucket_ms *= 2
        coarse = [spec.name for spec in self.specs if not spec.by_window and spec.name in self.series]
        for name in coarse:
            series = self.series[name]
            wider: dict[int, Statistic] = {}
            for start in sorted(series):
                wide = start // self.bucket_ms * self.bucket_ms
                wider[wide] = wider[wide] + series[start] if wide in wider else series[start]
            self.series[name] = wider


def _hashed(start: int) -> int:
    return int.from_bytes(
        hashlib.blake2b(start.to_bytes(8, "big", signed=True), digest_size=8).digest(), "big"
    )


def _thinned(sample: Decisions) -> Decisions:
    """At most SAMPLE_ROWS rows, evenly spread over the sample."""
    step = -(-len(sample) // SAMPLE_ROWS)
    return sample if step <= 1 else take(sample, np.arange(0, len(sample), step))
