"""Kafka as the daemon's consumer sees it: partitions that fill with time, polls of any size, rebalances, outages."""

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaConnectionError

from tests.simulation.world import World


@dataclass(frozen=True)
class Record:
    """offset and value as kafka-python names them; arrives_ms: when the broker has it."""

    offset: int
    value: bytes
    arrives_ms: float


@dataclass
class Broker:
    """The topics. away: nobody answers. lent: partitions that another member of the group reads now."""

    world: World
    logs: dict[TopicPartition, list[Record]]
    away: bool = False
    lent: set[TopicPartition] = field(default_factory=set)
    committed: dict[TopicPartition, int] = field(default_factory=dict)

    def end(self, partition: TopicPartition) -> int:
        """The offset after the last record that has arrived."""
        return bisect_right(self.logs[partition], self.world.ms, key=lambda record: record.arrives_ms)


class Consumer:
    """What `KafkaSource` asks of kafka-python's consumer; one per process of the daemon."""

    def __init__(self, broker: Broker, rng: random.Random) -> None:
        self._broker, self._rng, self._world = broker, rng, broker.world
        self._positions: dict[TopicPartition, int] = {}
        self._listener: Any = None
        self._joining = rng.choice((0, 0, 1, 3, 10))  # polls until the group gives a new member anything
        self._shy, self._mute = (
            rng.choice(sorted(broker.logs)),
            rng.choice((0, 0, 5)),
        )  # who comes so many polls later
        self.closed = False

    def subscribe(self, topics: Sequence[str], listener: Any) -> None:
        self._listener = listener

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {p.partition for p in self._broker.logs if p.topic == topic}

    def poll(self, timeout_ms: float, max_records: int) -> dict[TopicPartition, list[Record]]:
        """Some of what has arrived; time passes until something has."""
        self._world.moment()
        if self._broker.away:
            self._world.ms += timeout_ms
            if self._rng.random() < 0.3:
                raise KafkaConnectionError("the broker is away")
            return {}
        self._rebalance()
        found = self._fetched(max_records)
        if not found and timeout_ms:
            self._world.ms += timeout_ms * self._rng.choice((0.3, 1, 2, 5))
            found = self._fetched(max_records)
        return found

    def end_offsets(self, partitions: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        self._world.moment()
        if self._broker.away:
            raise KafkaConnectionError("the broker is away")
        return {p: self._broker.end(p) for p in partitions}

    def position(self, partition: TopicPartition, timeout_ms: int) -> int | None:
        return self._positions.get(partition)

    def highwater(self, partition: TopicPartition) -> int:
        return self._broker.end(partition)

    def commit_async(self, offsets: dict[TopicPartition, Any]) -> None:
        self._world.moment()
        self._broker.committed |= {p: meta.offset for p, meta in offsets.items()}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        assert partition in self._positions, f"seek on {partition}, which is not assigned"
        self._positions[partition] = offset

    def seek_to_beginning(self, partition: TopicPartition) -> None:
        self.seek(partition, 0)

    def seek_to_end(self, partition: TopicPartition) -> None:
        self.seek(partition, self._broker.end(partition))

    def close(self, autocommit: bool) -> None:
        self.closed = True

    def _rebalance(self) -> None:
        if self._joining:
            self._joining -= 1
            return
        wanted = set(self._broker.logs) - self._broker.lent
        if wanted == set(self._positions):
            return
        self._listener.on_partitions_revoked(sorted(self._positions))
        self._positions = dict.fromkeys(wanted, -1)
        self._listener.on_partitions_assigned(sorted(wanted))

    def _fetched(self, max_records: int) -> dict[TopicPartition, list[Record]]:
        """A random part of each partition's arrived records; any partition may be passed over."""
        found = {}
        self._mute -= 1
        for partition in sorted(self._positions):
            if partition == self._shy and self._mute >= 0:
                continue
            at, end = self._positions[partition], self._broker.end(partition)
            assert at >= 0, f"{partition} was assigned and not sought"
            if at < end and self._rng.random() < 0.8:
                upto = min(end, at + max_records, at + self._rng.choice((1, 7, 40, 1000)))
                found[partition] = self._broker.logs[partition][at:upto]
                self._positions[partition] = upto
        return found
