"""The lanes of a shard: which partition belongs to which, and the core of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from monitor.assembly import build_pipeline, build_tallying_core, spill_for, vocabulary_for
from monitor.baselines.baseline import BaselineFile
from monitor.config import Config
from monitor.idleness import Idleness
from monitor.persistence.state import counted_as, restore, snapshot
from monitor.pipeline import Pipeline
from monitor.sharding.tally import Tally
from monitor.sharding.wire import BucketMessage, Message, ProgressMessage, ViolationMessage

METRICS = "metrics-"


@dataclass(slots=True)
class Lane:
    """One core, how long it has been silent, and what it last told of its progress."""

    name: str
    pipeline: Pipeline
    idleness: Idleness
    told: ProgressMessage | None = None

    @property
    def idle(self) -> bool:
        """Whether it is silent and has sealed all that it had begun."""
        return self.idleness.flushed

    def violations(self) -> list[Message]:
        """Forbidden actions that were seen since the last call."""
        return [
            ViolationMessage(self.name, tally.config.name, event)
            for tally in self._tallies()
            for event in tally.take_violations()
        ]

    def buckets(self) -> list[Message]:
        """What was counted at the seals since the last call."""
        return [
            BucketMessage(
                lane=self.name,
                deployment=tally.config.name,
                end_ms=count.end_ms,
                policy=count.policy,
                stage=count.stage,
                bucket_ms=count.bucket_ms,
                decisions=count.traffic.decisions,
                rewarded=count.traffic.rewarded,
                first_ms=count.first_ms,
                last_ms=count.last_ms,
                counted_as=counted_as(tally),
                actions=tally.actions_in(count),
                statistics={name: part.arrays() for name, part in count.statistics.items()},
                segments=tally.segments_in(count),
            )
            for tally in self._tallies()
            for count in tally.take()
        ]

    def progress(self) -> list[Message]:
        """How far the lane is, where that has changed; told after the buckets."""
        now = ProgressMessage(self.name, self.pipeline.core.edge_ms, self.idle)
        if now == self.told or (now.sealed_ms is None and not now.idle):
            return []
        self.told = now
        return [now]

    def _tallies(self) -> list[Tally]:
        return [tally for tally in self.pipeline.core.watched.values() if isinstance(tally, Tally)]


@dataclass(slots=True)
class Lanes:
    """Lanes by name, made when a partition of theirs is first named; a lane that goes keeps its memory."""

    make: Callable[[], Pipeline]
    topics: Mapping[str, str]
    idle_timeout_ms: int
    longest_bucket_ms: int
    lanes: dict[str, Lane] = field(default_factory=dict)

    def of(self, partition: str) -> Lane:
        """The lane of a partition."""
        name = lane_of(partition, self.topics)
        if name not in self.lanes:
            self.lanes[name] = self._lane(name)
        return self.lanes[name]

    def snapshot(self) -> dict[str, bytes]:
        """The memory of all lanes, for a checkpoint."""
        return {
            f"lane/{name}/{part}": data
            for name, lane in sorted(self.lanes.items())
            for part, data in snapshot(lane.pipeline).items()
        }

    def restore(self, parts: Mapping[str, bytes]) -> list[str]:
        """Go on from a snapshot; the deployments that begin anew."""
        found: dict[str, dict[str, bytes]] = {}
        for name, data in parts.items():
            kind, _, rest = name.partition("/")
            lane, _, part = rest.partition("/")
            if kind == "lane":
                found.setdefault(lane, {})[part] = data
        anew: set[str] = set()
        for lane, mine in found.items():
            self.lanes[lane] = self._lane(lane)
            anew |= set(restore(self.lanes[lane].pipeline, mine))
        return sorted(anew)

    def _lane(self, name: str) -> Lane:
        return Lane(name, self.make(), Idleness(self.idle_timeout_ms, self.longest_bucket_ms))


def lane_of(partition: str, topics: Mapping[str, str]) -> str:
    """Decisions and rewards of one number are one lane, since they share their key; metrics join nothing."""
    topic, _, number = partition.rpartition("/")
    return f"{METRICS}{number}" if topic == topics["metrics"] else number


def lanes_for(config: Config, baselines: Mapping[str, BaselineFile]) -> Lanes:
    """Lanes that count what the config watches."""

    def make() -> Pipeline:
        vocabulary = vocabulary_for(config, baselines)
        core = build_tallying_core(config, baselines, vocabulary, spill_for(config))
        return build_pipeline(config, core, vocabulary)

    longest_ms = max(deployment.bucket_ms for deployment in config.deployments.values())
    return Lanes(make, config.source.topics, config.source.idle_timeout_ms, longest_ms)
