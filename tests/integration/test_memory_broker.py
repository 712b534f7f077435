"""The in-memory broker carries the daemon's own client, and its limits are the ones it states."""

import time
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer

from monitor.demo.memory_broker import API_VERSION, MemoryBroker, MemoryBrokerError
from tests.kafka_broker import is_open


def test_topics_have_the_partitions_they_were_made_with() -> None:
    with MemoryBroker({"decisions": 2, "signals": 1}) as broker:
        producer = KafkaProducer(**_client(broker))
        assert producer.partitions_for("decisions") == {0, 1}
        assert producer.partitions_for("signals") == {0}
        producer.close()


SESSION_MS = 6_000  # a second join of a group is answered only when this has nearly passed


def test_a_group_of_one_reads_every_record_of_two_partitions_in_order(memory_broker: MemoryBroker) -> None:
    memory_broker.create_topic("decisions", 2)
    producer = KafkaProducer(**_client(memory_broker))
    for number in range(2000):
        producer.send("decisions", str(number).encode(), partition=number % 2)
    producer.flush(timeout=20)
    consumer = KafkaConsumer(
        "decisions",
        group_id="watch",
        auto_offset_reset="earliest",
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=SESSION_MS // 3,
        **_client(memory_broker),
    )
    seen: dict[int, list[int]] = {0: [], 1: []}
    deadline = time.monotonic() + 60
    while sum(map(len, seen.values())) < 2000 and time.monotonic() < deadline:
        for where, records in consumer.poll(timeout_ms=200).items():
            seen[where.partition].extend(int(record.value) for record in records)
    consumer.close()
    producer.close()
    assert seen == {0: list(range(0, 2000, 2)), 1: list(range(1, 2000, 2))}


def test_a_second_topic_of_the_same_name_is_refused_in_words(memory_broker: MemoryBroker) -> None:
    memory_broker.create_topic("decisions", 2)
    with pytest.raises(MemoryBrokerError, match="'decisions' with 3 partitions"):
        memory_broker.create_topic("decisions", 3)


def test_a_stopped_broker_frees_its_port_and_may_be_stopped_again() -> None:
    broker = MemoryBroker().start()
    host, port = broker.bootstrap.split(":")
    assert host == "127.0.0.1"
    assert is_open(int(port))
    broker.stop()
    broker.stop()
    assert not is_open(int(port))


def test_address_of_a_broker_that_never_started_is_an_error() -> None:
    with pytest.raises(MemoryBrokerError, match="not been started"):
        _ = MemoryBroker().bootstrap


def _client(broker: MemoryBroker) -> dict[str, Any]:
    return {"bootstrap_servers": broker.bootstrap, "api_version": API_VERSION}
