"""The real broker behaves as the tests assume: records, SCRAM, and a restart on the same ports and data.

A consumer that joins its group before it has the topic's metadata assigns itself nothing and may stay so for
`metadata_max_age_ms` (3 of 28 cold starts on two busy cores, with the warning "No partition metadata for topic"). Name
the topics in the constructor and call `partitions_for_topic` before the first `poll` (0 of 28). Not the other way
round: with `subscribe` after `partitions_for_topic` the group was joined twice in 12 starts of 12.
"""

import time
import uuid
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tests.conftest import MakeTopics
from tests.kafka_broker import KafkaBroker

pytestmark = pytest.mark.kafka


def test_records_come_back_from_both_partitions_in_order(
    kafka_bootstrap: str, make_topics: MakeTopics
) -> None:
    topic = make_topics("decisions", partitions=2)["decisions"]
    address = {"bootstrap_servers": kafka_bootstrap}
    _produce(address, topic, 200, partitions=2)
    assert _consume(address, topic, 200) == {p: list(range(p, 200, 2)) for p in (0, 1)}


def test_scram_user_reads_what_the_plain_listener_wrote(
    kafka_broker: KafkaBroker, kafka_scram: dict[str, Any]
) -> None:
    topic = _new_topic(kafka_broker)
    _produce({"bootstrap_servers": kafka_broker.bootstrap}, topic, 50, partitions=1)
    assert _consume(kafka_scram, topic, 50) == {0: list(range(50))}


def test_restarted_broker_keeps_its_address_and_its_records(kafka_broker: KafkaBroker) -> None:
    topic = _new_topic(kafka_broker)
    address = {"bootstrap_servers": kafka_broker.bootstrap}
    _produce(address, topic, 20, partitions=1)
    kafka_broker.stop()
    assert not kafka_broker.running
    kafka_broker.start()
    assert {"bootstrap_servers": kafka_broker.bootstrap} == address
    assert _consume(address, topic, 20) == {0: list(range(20))}


def _new_topic(broker: KafkaBroker) -> str:
    """A topic on the owned broker, which `make_topics` does not reach when another one is named."""
    from kafka import KafkaAdminClient
    from kafka.admin import NewTopic

    topic = f"fixture-{uuid.uuid4().hex[:10]}"
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    admin.close()
    return topic


def _produce(address: dict[str, Any], topic: str, count: int, partitions: int) -> None:
    producer = KafkaProducer(**address)
    for number in range(count):
        producer.send(topic, str(number).encode(), partition=number % partitions)
    producer.flush(timeout=20)
    producer.close()


def _consume(address: dict[str, Any], topic: str, count: int) -> dict[int, list[int]]:
    """The first `count` numbers of a topic by partition, read in a consumer group of its own."""
    consumer = KafkaConsumer(
        topic, group_id=f"group-{topic}", auto_offset_reset="earliest", enable_auto_commit=False, **address
    )
    consumer.partitions_for_topic(topic)  # metadata first: see the note above
    seen: dict[int, list[int]] = {}
    deadline = time.monotonic() + 20
    while sum(map(len, seen.values())) < count and time.monotonic() < deadline:
        for where, records in consumer.poll(timeout_ms=200).items():
            seen.setdefault(where.partition, []).extend(int(record.value) for record in records)
    consumer.commit()
    committed = {p: consumer.committed(TopicPartition(topic, p)) for p in seen}
    consumer.close()
    assert committed == {p: len(numbers) for p, numbers in seen.items()}
    return seen
