"""The topics themselves as a log with an end: every partition from its beginning to what it holds now."""

from collections.abc import Callable, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from monitor.batch import Kind
from monitor.config import SourceConfig
from monitor.kafka.broker_trouble import BrokerTrouble
from monitor.kafka.kafka_source import FETCH_BYTES, SourceError, client_settings, name_of, plain
from monitor.source import Records

POLL_MS = 2_000
EMPTY_POLLS = 15  # in a row before a partition counts as lost (30 s)


class KafkaLog:
    """Read partition by partition like files, outside of any group; raises SourceError where a broker fails."""

    def __init__(self, config: SourceConfig, block: int = 5_000) -> None:
        self._block = block
        self._kinds = {config.topics[name]: kind for name, kind in _KINDS.items()}
        self._make: Callable[[], Any] = lambda: KafkaConsumer(
            **client_settings(config), enable_auto_commit=False, max_partition_fetch_bytes=FETCH_BYTES
        )
        with BrokerTrouble() as seen:
            try:
                self._consumer = self._make()
                self._ends = self._found()
            except KafkaError as error:
                raise SourceError(f"{seen.trouble} [{plain(error)}]") from error
        self._readers: dict[str, Any] = {}

    def open(self) -> list[str]:
        """The partitions that have not been read to their end."""
        return [name_of(partition) for partition in self._ends]

    def read(self, partition: str) -> Records | None:
        """The next block of a partition, or None at its end."""
        mine = next(p for p in self._ends if name_of(p) == partition)
        consumer = self._readers.get(partition) or self._reader(mine)
        for _ in range(EMPTY_POLLS):
            if consumer.position(mine) >= self._ends[mine]:
                break
            records = consumer.poll(timeout_ms=POLL_MS, max_records=self._block).get(mine, ())
            kept = [record for record in records if record.offset < self._ends[mine]]
            if kept:
                return self._records(mine, kept)
        else:
            raise SourceError(
                f"{partition}: nothing came for {POLL_MS * EMPTY_POLLS // 1000} s before its end"
            )
        self.leave(partition)
        return None

    def leave(self, partition: str) -> None:
        """Read no more of a partition."""
        consumer = self._readers.pop(partition, None)
        if consumer is not None:
            consumer.close(autocommit=False)
        self._ends = {p: end for p, end in self._ends.items() if name_of(p) != partition}
        if not self._ends:
            self._consumer.close(autocommit=False)

    def _found(self) -> dict[TopicPartition, int]:
        partitions = [
            TopicPartition(topic, number)
            for topic in self._kinds
            for number in sorted(self._consumer.partitions_for_topic(topic) or ())
        ]
        ends, begins = self._consumer.end_offsets(partitions), self._consumer.beginning_offsets(partitions)
        return {p: ends[p] for p in partitions if ends[p] > begins[p]}

    def _reader(self, partition: TopicPartition) -> Any:
        consumer = self._make()
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        self._readers[name_of(partition)] = consumer
        return consumer

    def _records(self, partition: TopicPartition, kept: Sequence[Any]) -> Records:
        offsets, payloads = [record.offset for record in kept], [record.value for record in kept]
        return Records(name_of(partition), self._kinds[partition.topic], offsets, payloads, offsets[-1] + 1)


_KINDS = {"decisions": Kind.DECISION, "rewards": Kind.REWARD, "metrics": Kind.METRIC}
