"""One deployment on a shard: its joins and its statistics, bucket by bucket; measured and judged elsewhere."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from alerts.blindness import Traffic
from alerts.signal import Signal
from alerts.violations import ViolationEvent
from detectors.protocol import Detector, Spec
from detectors.statistic import Statistic
from monitor.config import DeploymentConfig
from monitor.joining import Joining, name_of
from monitor.judging.watched import traffic_of
from monitor.judging.windows import observed
from monitor.sealed import Sealed
from monitor.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Count:
    """What one seal adds to one bucket of one policy and stage; times of its first and last decision, or -1."""

    end_ms: int
    policy: str
    stage: str
    bucket_ms: int
    traffic: Traffic
    first_ms: int
    last_ms: int
    statistics: Mapping[str, Statistic]


@dataclass(slots=True)
class Tally:
    """Stands where a Watched stands on a shard. counts, violations: since the caller last took them."""

    config: DeploymentConfig
    code: int
    vocabulary: Vocabulary
    joining: Joining
    specs: Sequence[Spec]
    detectors: Mapping[str, Detector]
    baseline: str
    counts: list[Count] = field(default_factory=list)
    violated: list[ViolationEvent] = field(default_factory=list)

    def seal(self, end_ms: int) -> Sealed:
        """Count the bucket that ends now, and rewards that came for older ones."""
        groups = self.joining.take()
        self.counts += [
            Count(
                end_ms,
                *name_of(group.key, self.vocabulary),
                group.bucket_ms,
                traffic_of([group.rows]),
                int(group.rows.decisions.ts_ms.min()) if len(group.rows.decisions) else -1,
                int(group.rows.decisions.ts_ms.max(initial=-1)),
                observed(group.rows, self.specs, self.detectors),
            )
            for group in groups
        ]
        decisions = sum(len(group.rows.decisions) for group in groups)
        return Sealed(self.config.name, end_ms, self.config.window_ms, self.baseline, {}, [], decisions)

    def awake(self, now_ms: int) -> bool:
        """Whether a seal may still say something: what waits for its reward is told when its horizon passes."""
        return bool(self.joining.piles) or self.joining.open_decisions > 0

    def violations(self, events: Sequence[ViolationEvent]) -> list[Signal]:
        """Kept for the judge, who is told at once."""
        self.violated += events
        return []

    def take(self) -> list[Count]:
        """What was counted since the last call."""
        counts, self.counts = self.counts, []
        return counts

    def take_violations(self) -> list[ViolationEvent]:
        """What was seen since the last call."""
        violated, self.violated = self.violated, []
        return violated

    def actions_in(self, count: Count) -> list[str]:
        """Names of the action codes, as far as its statistics reach."""
        reach = self._reach(count, {spec.name: spec.by_action for spec in self.specs})
        return self.vocabulary.action_labels(self.code).names[:reach]

    def segments_in(self, count: Count) -> list[str]:
        """Names of the segment codes, as far as its statistics reach."""
        reach = self._reach(count, {spec.name: spec.by_segment for spec in self.specs})
        return self.vocabulary.segments_of(self.code).names[:reach]

    def _reach(self, count: Count, fields: Mapping[str, Collection[str]]) -> int:
        """The widest of these fields of its statistics."""
        widths = [
            getattr(statistic, name).shape[-1]
            for detector, statistic in count.statistics.items()
            for name in fields.get(detector, ())
        ]
        return max(widths, default=0)
