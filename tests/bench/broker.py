"""End to end over a real broker, to the last verdict, beside bare loops: CPU, medians (least to most) of five turns."""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import structlog
from confluent_kafka import Consumer
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from monitor.baselines.baseline import save
from monitor.baselines.building import build_baseline
from monitor.batch import Kind
from monitor.clocks import RealClock
from monitor.config_file import load_config
from monitor.decoding.wire import reader
from monitor.garbage import Sweeper, collect_rarely
from monitor.observability.telemetry import Telemetry
from monitor.observability.watch import Watch
from monitor.replaying import Observer
from monitor.service import Service, start
from monitor.source import Files
from tests.bench.log import pairs, write_log
from tests.bench.table import Row, cpu_of
from tests.bench.world import NAME, START_MS, Traffic, baseline_of
from tests.kafka_broker import BrokerUnavailableError, KafkaBroker

DECISIONS, FEATURES, PER_SECOND = 200_000, 32, 5_000.0
TURNS = 5
QUIET_MS = 60_000  # before a last pair: all that came before it is sealed
# Of the baseline: 240 buckets of the same kind of events.
ACCEPTED, ACCEPTED_PER_SECOND = 60_000, 50.0
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


@dataclass(frozen=True, slots=True)
class Turn:
    """Events per CPU second of each, one after the other on the same machine."""

    polled: float
    parsed: float
    whole: float
    consumed: float
    fast: float


def _measured(bootstrap: str) -> Iterator[Row]:
    last_ms = _fill(bootstrap)
    collect_rarely()  # as the command line does
    with tempfile.TemporaryDirectory() as folder:
        baseline = _accepted(Path(folder))
        _turn(bootstrap, last_ms, baseline)
        turns = [_turn(bootstrap, last_ms, baseline) for _ in range(TURNS)]
    polled, parsed, whole, consumed, fast = zip(*map(astuple, turns), strict=True)
    yield Row("(a) bare poll loop that counts", "1", _rates(polled))
    yield Row("(b) poll and typed parse", f"{_ratios(parsed, polled)} of (a)", _rates(parsed))
    ratio = (
        f"{_ratios(whole, parsed)} of (b), goal {GOAL_SHARE}; {median(whole) / GOAL:.2f} of {GOAL:,} events/s"
    )
    yield Row(f"the daemon, d = {FEATURES}, all rules", ratio, _rates(whole))
    yield Row(
        "(c) bare confluent-kafka consume loop", f"{_ratios(consumed, polled)} of (a)", _rates(consumed)
    )
    ratio = f"{_ratios(fast, whole)} of the daemon with kafka-python, goal {GOAL_FAST}"
    yield Row('the daemon with client = "confluent"', ratio, _rates(fast))


def _turn(bootstrap: str, last_ms: int, baseline: Path) -> Turn:
    events = 2 * DECISIONS
    return Turn(
        polled=events / cpu_of(lambda: _poll_all(bootstrap, parse=False)),
        parsed=events / cpu_of(lambda: _poll_all(bootstrap, parse=True)),
        whole=events / _end_to_end(bootstrap, "kafka-python", last_ms, baseline),
        consumed=events / cpu_of(lambda: _consume_all(bootstrap)),
        fast=events / _end_to_end(bootstrap, "confluent", last_ms, baseline),
    )


def _rates(each: Sequence[float]) -> str:
    return f"{median(each):,.0f} events/s ({min(each):,.0f} to {max(each):,.0f})"


def _ratios(rates: Sequence[float], others: Sequence[float]) -> str:
    """Of the same turns."""
    each = [rate / other for rate, other in zip(rates, others, strict=True)]
    return f"{median(each):.2f} ({min(each):.2f} to {max(each):.2f})"


def _end_to_end(bootstrap: str, client: str, last_ms: int, baseline: Path) -> float:
    """CPU seconds of the daemon, all threads, until everything before the last pair is sealed."""
    with tempfile.TemporaryDirectory() as folder:
        service = daemon(bootstrap, Path(folder), client=client, baseline=baseline)
        try:
            return cpu_of(lambda: _step_to(service, last_ms))
        finally:
            service.stop()


def daemon(
    bootstrap: str,
    folder: Path,
    more: str = "",
    client: str = "kafka-python",
    source: str = "",
    baseline: Path | None = None,
) -> Service:
    """A service with a baseline, its own unless one is given, saving as it goes."""
    if baseline is None:
        file, baseline = baseline_of(Traffic(FEATURES)), folder / "home.base"
        save(baseline, file.facts, file.parts)
    path = folder / "policywatch.toml"
    path.write_text(
        f'[source]\nbootstrap_servers = ["{bootstrap}"]\ngroup_id = "bench-{folder.name}"\n'
        f'client = "{client}"\n{source}[state]\npath = "{folder}/state"\n'
        f"{_deployment(baseline)}{more}"
    )
    config = load_config(path)
    log = structlog.wrap_logger(
        structlog.ReturnLogger(), wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
    )
    return start(config, folder, log, Telemetry(), Watch(Telemetry(), log, RealClock(), config.digest()))


def _deployment(baseline: Path) -> str:
    return (
        f'[deployments.{NAME}]\nbaseline = "{baseline}"\n'
        'fallback_policy = "rules"\nreward_horizon = "1m"\ncosts.complaint.budget = 0.05\n'
    )


def _accepted(folder: Path) -> Path:
    """A baseline of events like those of `_fill`, with which no rule fires."""
    baseline, path, log = (folder / name for name in ("home.base", "policywatch.toml", "accepted.jsonl.gz"))
    path.write_text(f'[source]\nkind = "files"\n{_deployment(baseline)}')
    write_log(log, ACCEPTED, FEATURES, ACCEPTED_PER_SECOND)
    build_baseline(load_config(path), NAME, Files([str(log)], 1 << 20), baseline, Observer())
    return baseline


def make_topics(bootstrap: str) -> None:
    """One partition each, as a broker without automatic topics needs it."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1) for topic in ALL_TOPICS])
    admin.close()


def _fill(bootstrap: str) -> int:
    """Everything that is read, and when in event time it ends: a last pair and a metric long after the others."""
    make_topics(bootstrap)
    producer: Any = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=50, batch_size=1 << 18)
    last_ms = START_MS + int(DECISIONS * 2_000 / PER_SECOND) + QUIET_MS
    _send(producer, pairs(DECISIONS - 1, FEATURES, PER_SECOND))
    _send(producer, pairs(1, FEATURES, PER_SECOND, last_ms))
    # Without a metric time would stand until its partition counts as idle, and nothing would be sealed.
    metric = {"deployment": NAME, "metric": "sales", "ts": last_ms, "value": 1.0}
    producer.send("rl.metrics", msgspec.json.encode(metric))
    producer.flush()
    producer.close()
    return last_ms


def _send(producer: Any, events: Iterable[tuple[bytes, bytes]]) -> None:
    for decision, reward in events:
        producer.send(TOPICS[0], decision)
        producer.send(TOPICS[1], reward)


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
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": "bench-c",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    consumer = Consumer(settings)
    consumer.subscribe(list(TOPICS))
    seen = 0
    while seen < 2 * DECISIONS:
        seen += len(consumer.consume(20_000, 0.2))
    consumer.close()


def _parse(read: Any, records: Sequence[Any]) -> None:
    for record in records:
        read(record.value)


def _step_to(service: Service, last_ms: int) -> None:
    """The loop of the command line."""
    sweeper = Sweeper()
    sweeper.begin()
    while (service.daemon.pipeline.core.edge_ms or 0) < last_ms - QUIET_MS // 2:
        service.daemon.step()
        sweeper.turn(service.daemon.saved_at_ms)
