"""The bucket topic as Kafka has it: written by shards in order, confirmed before anything is built on it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from monitor.config import SourceConfig
from monitor.kafka.broker_trouble import BrokerTrouble
from monitor.kafka.kafka_source import SourceError, client_settings, plain
from monitor.sharding.lanes import METRICS
from monitor.sharding.wire import Message, encode

PARTITION = 0  # all lanes in one: the order in which a lane told is kept, and who owns it is the judge
FLUSH_S = 10.0
MOST_UNCONFIRMED = 2_000
LARGEST = 16 << 20
KEEP_MS = 7 * 86_400_000


class BucketWriter:
    """`put` hands over, `flush` waits until the broker has all of it; what failed goes first the next time."""

    def __init__(self, producer: Any, topic: str) -> None:
        self._producer, self._topic = producer, topic
        self._unconfirmed: list[tuple[bytes, bytes, Any]] = []

    def put(self, messages: Sequence[Message]) -> None:
        """Send in this order."""
        for message in messages:
            self._send(message.key, encode(message))
        if len(self._unconfirmed) > MOST_UNCONFIRMED:
            self.flush()

    def flush(self) -> None:
        """Everything that was put is on the broker, or SourceError."""
        if not self._unconfirmed:
            return
        with suppress(KafkaError):
            self._producer.flush(timeout=FLUSH_S)
        lost = [
            i for i, (_, _, sent) in enumerate(self._unconfirmed) if not (sent.is_done and sent.succeeded())
        ]
        if not lost:
            self._unconfirmed = []
            return
        again, self._unconfirmed = self._unconfirmed[lost[0] :], []
        for key, value, _ in again:
            self._send(key, value)
        raise SourceError(f"{len(again)} bucket messages were not confirmed by {self._topic}; sent again")

    def close(self) -> None:
        """What is not confirmed is told again by whoever goes on from the checkpoint."""
        self._producer.close(timeout=2)

    def _send(self, key: bytes, value: bytes) -> None:
        try:
            sent = self._producer.send(self._topic, key=key, value=value, partition=PARTITION)
        except KafkaError as error:
            raise SourceError(f"{self._topic} takes no bucket messages [{plain(error)}]") from error
        self._unconfirmed.append((key, value, sent))


def bucket_writer(config: SourceConfig) -> BucketWriter:
    """A writer whose broker answers; the topic is made where it is missing and we may."""
    make: Callable[..., Any] = KafkaProducer
    try:
        with BrokerTrouble() as seen:
            producer = make(
                **client_settings(config), acks="all", retries=5, linger_ms=2, max_block_ms=5_000,
                compression_type="lz4", max_in_flight_requests_per_connection=1, max_request_size=LARGEST,
            )  # fmt: skip
    except KafkaError as error:
        raise SourceError(f"{seen.trouble} [{plain(error)}]") from error
    return BucketWriter(producer, config.topics["buckets"])


def make_topic(config: SourceConfig) -> None:
    """One partition, compacted: a bucket told again replaces itself. Without the right to make it, it may be there."""
    with suppress(KafkaError, ValueError):
        make: Callable[..., Any] = KafkaAdminClient
        admin = make(**client_settings(config))
        try:
            configs = {
                "cleanup.policy": "compact,delete",
                "retention.ms": str(KEEP_MS),
                "max.message.bytes": str(LARGEST),
            }
            topic = NewTopic(
                config.topics["buckets"], num_partitions=1, replication_factor=-1, topic_configs=configs
            )
            if config.topics["buckets"] not in admin.list_topics():
                admin.create_topics([topic])
        finally:
            admin.close()


def lanes_of_topics(config: SourceConfig) -> list[str]:
    """Every lane that the topics have now; SourceError where decisions and rewards are not partitioned alike."""
    make: Callable[..., Any] = KafkaConsumer
    try:
        with BrokerTrouble() as seen:
            consumer = make(**client_settings(config), enable_auto_commit=False)
            found = {
                kind: sorted(consumer.partitions_for_topic(config.topics[kind]) or ())
                for kind in ("decisions", "rewards", "metrics")
            }
            consumer.close()
    except KafkaError as error:
        raise SourceError(f"{seen.trouble} [{plain(error)}]") from error
    if not found["decisions"] or found["decisions"] != found["rewards"]:
        raise SourceError(
            f"{config.topics['decisions']} has {len(found['decisions'])} partitions and {config.topics['rewards']} "
            f"{len(found['rewards'])}: a shard needs both, with as many"
        )
    return [*map(str, found["decisions"]), *(f"{METRICS}{number}" for number in found["metrics"])]
