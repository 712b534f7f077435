"""End to end over a real broker: the daemon beside a bare poll loop and poll with typed parse; CPU of the client."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import Consumer
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from monitor.baseline import save
from monitor.batch import Kind
from monitor.config_file import load_config
from monitor.decoding.wire import reader
from monitor.garbage import collect_rarely
from monitor.service import RealClock, Service, start
from monitor.telemetry import Telemetry
from monitor.watch import Watch
from tests.bench.log import pairs
from tests.bench.table import Row, cpu_of
from tests.bench.world import NAME, Traffic, baseline_of
from tests.kafka_broker import BrokerUnavailableError, KafkaBroker

DECISIONS, FEATURES, PER_SECOND = 40_000, 32, 5_000.0
TOPICS = ("rl.decisions", "rl.rewards")
ALL_TOPICS = (*TOPICS, "rl.metrics", "rl.signals", "rl.dead-letters")
GOAL, GOAL_SHARE, GOAL_FAST = 50_000, 0.6, 3


def rows() -> Iterator[Row]:
    """Events per CPU second of the reading process; nothing where there is no Java."""
    try:
        broker = KafkaBroker()
        broker.start()
    except BrokerUnavailableError as error:
        yield Row("not measured", "", str(error))
        return
    try:
        yield from _measured(broker.bootstrap)
    finally:
        broker.close()


def _measured(bootstrap: str) -> Iterator[Row]:
    _fill(bootstrap)
    collect_rarely()  # as the command line does
    events = 2 * DECISIONS
    _poll_all(bootstrap, parse=False)  # the broker's caches and ours are warm for all three
    bare = events / cpu_of(lambda: _poll_all(bootstrap, parse=False))
    parsed = events / cpu_of(lambda: _poll_all(bootstrap, parse=True))
    fetched = events / cpu_of(lambda: _consume_all(bootstrap))
    whole, fast = (_end_to_end(bootstrap, client, events) for client in ("kafka-python", "confluent"))
    yield Row("(a) bare poll loop that counts", "1", f"{bare:,.0f} events/s")
    yield Row("(b) poll and typed parse", f"{parsed / bare:.2f} of (a)", f"{parsed:,.0f} events/s")
    ratio = f"{whole / parsed:.2f} of (b), goal {GOAL_SHARE}; {whole / GOAL:.2f} of {GOAL:,} events/s"
    yield Row(f"the daemon, d = {FEATURES}, all rules", ratio, f"{whole:,.0f} events/s")
    yield Row(
        "(c) bare confluent-kafka consume loop", f"{fetched / bare:.1f} of (a)", f"{fetched:,.0f} events/s"
    )
    ratio = f"{fast / whole:.2f} of the daemon with kafka-python, goal {GOAL_FAST}"
    yield Row('the daemon with client = "confluent"', ratio, f"{fast:,.0f} events/s")


def _end_to_end(bootstrap: str, client: str, events: int) -> float:
    """Events per CPU second of the daemon, all threads."""
    with tempfile.TemporaryDirectory() as folder:
        service = daemon(bootstrap, Path(folder), client=client)
        try:
            return events / cpu_of(lambda: _step_all(service, events))
        finally:
            service.stop()


def daemon(
    bootstrap: str, folder: Path, more: str = "", client: str = "kafka-python", source: str = ""
) -> Service:
    """A service with a baseline of the same kind of traffic, saving as it goes."""
    file = baseline_of(Traffic(FEATURES))
    save(folder / "home.base", file.facts, file.parts)
    path = folder / "policywatch.toml"
    path.write_text(
        f'[source]\nbootstrap_servers = ["{bootstrap}"]\ngroup_id = "bench-{folder.name}"\n'
        f'client = "{client}"\n{source}[state]\npath = "{folder}/state"\n'
        f'[deployments.{NAME}]\nbaseline = "{folder}/home.base"\n'
        f'fallback_policy = "rules"\nreward_horizon = "1m"\ncosts.complaint.budget = 0.05\n{more}'
    )
    config = load_config(path)
    log = structlog.wrap_logger(
        structlog.ReturnLogger(), wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
    )
    return start(config, folder, log, Telemetry(), Watch(Telemetry(), log, RealClock(), config.digest()))


def make_topics(bootstrap: str) -> None:
    """One partition each, as a broker without automatic topics needs it."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1) for topic in ALL_TOPICS])
    admin.close()


def _fill(bootstrap: str) -> None:
    make_topics(bootstrap)
    producer: Any = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=50, batch_size=1 << 18)
    for decision, reward in pairs(DECISIONS, FEATURES, PER_SECOND):
        producer.send(TOPICS[0], decision)
        producer.send(TOPICS[1], reward)
    producer.flush()
    producer.close()


def _poll_all(bootstrap: str, parse: bool) -> None:
    consumer: Any = KafkaConsumer(*TOPICS, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    readers = {TOPICS[0]: reader(Kind.DECISION, {}), TOPICS[1]: reader(Kind.REWARD, {})}
    seen = 0
    while seen < 2 * DECISIONS:
        for partition, records in consumer.poll(timeout_ms=200, max_records=20_000).items():
            seen += len(records)
            if parse:
                _parse(readers[partition.topic], records)
    consumer.close()


def _consume_all(bootstrap: str) -> None:
    """librdkafka with its defaults, counting."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "bench-c", "auto.offset.reset": "earliest"}
    consumer = Consumer(settings)
    consumer.subscribe(list(TOPICS))
    seen = 0
    while seen < 2 * DECISIONS:
        seen += len(consumer.consume(20_000, 0.2))
    consumer.close()


def _parse(read: Any, records: Sequence[Any]) -> None:
    for record in records:
        read(record.value)


def _step_all(service: Service, events: int) -> None:
    while sum(service.daemon.pipeline.positions.values()) < events:
        service.daemon.step()
