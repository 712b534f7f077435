"""Shards and a judge without a broker: a log cut into partitions, lanes that read them, one merger."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monitor.assembly import load_baselines
from monitor.batch import Kind
from monitor.config import Config
from monitor.config_file import load_config
from monitor.sealed import Sealed
from monitor.sharding.lanes import Lane, Lanes, lanes_for
from monitor.sharding.merger import Merger
from monitor.sharding.wire import Message, encode
from monitor.source import Records
from tests.integration.replayed import Seen, pipeline_of
from tests.integration.traffic import Event, partition_of, wire

KINDS = {"decision": Kind.DECISION, "reward": Kind.REWARD, "metric": Kind.METRIC}
BUCKETS = "rl.buckets/0"


def cut(made: Sequence[Event], config: Config, partitions: int) -> dict[str, list[Event]]:
    """Partition name -> its events, in the order of the log."""
    logs: dict[str, list[Event]] = {}
    for event in made:
        topic = config.source.topics[event["type"] + "s"]
        logs.setdefault(f"{topic}/{partition_of(event, partitions)}", []).append(event)
    return logs


def polls(logs: dict[str, list[Event]], size: int) -> Iterator[Records]:
    """Every partition in turn, so that none runs far ahead."""
    for start in range(0, max(map(len, logs.values())), size):
        for partition, events in sorted(logs.items()):
            some = events[start : start + size]
            if some:
                offsets = list(range(start, start + len(some)))
                kind = KINDS[some[0]["type"]]
                yield Records(partition, kind, offsets, [wire(e) for e in some], offsets[-1] + 1)


def lanes_of(config: Config, folder: Path) -> Lanes:
    """The lanes of one shard."""
    return lanes_for(config, load_baselines(config, folder))


def told(lane: Lane, *, end: bool = False) -> list[Message]:
    """What a lane has to tell now; `end` is the silence after the log."""
    for _ in lane.pipeline.flush() if end else lane.pipeline.advance():
        pass
    lane.idleness.flushed = end
    return [*lane.violations(), *lane.buckets(), *lane.progress()]


def shard_messages(lanes: Lanes, logs: dict[str, list[Event]], size: int = 50) -> list[Message]:
    """Everything that one shard tells of its partitions, to the end."""
    for partition in logs:
        lanes.of(partition).pipeline.watermark.expect(partition)
    found: list[Message] = []
    for records in polls(logs, size):
        lane = lanes.of(records.partition)
        lane.pipeline.feed(records)
        found += told(lane)
    for lane in lanes.lanes.values():
        found += told(lane, end=True)
    return found


@dataclass
class JudgeOfShards:
    """A merger over messages given to it."""

    config_path: Path
    expected: Sequence[str]
    offset: int = 0
    seen: Seen = field(default_factory=lambda: Seen([], [], []))

    def __post_init__(self) -> None:
        config = load_config(self.config_path)
        self.merger = Merger(pipeline_of(config, self.config_path.parent), self.expected)

    def hear(self, messages: Sequence[Message]) -> list[Sealed]:
        """One poll and what follows from it."""
        offsets = list(range(self.offset, self.offset + len(messages)))
        self.offset += len(messages)
        fed = self.merger.feed(Records(BUCKETS, None, offsets, [encode(m) for m in messages], self.offset))
        self.seen.signals.extend(fed.signals)
        self.seen.rejected.extend(fed.rejected)
        sealed = list(self.merger.advance())
        self.seen.sealed.extend(sealed)
        for one in sealed:
            self.seen.signals.extend(one.signals)
        return sealed
