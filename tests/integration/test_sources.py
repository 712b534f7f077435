"""One suite for every Kafka client: what a source promises the daemon, on the real broker and on the one in memory."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from monitor.batch import Kind
from monitor.config import SourceConfig
from monitor.demo.memory_broker import API_VERSION, MemoryBroker
from monitor.kafka import confluent_client, confluent_source, kafka_source
from monitor.kafka.confluent_client import ClientMissing, library
from monitor.kafka.kafka_source import OffsetsGone, SourceError
from monitor.service import source_for
from monitor.source import Records
from tests.conftest import MakeTopics
from tests.integration.running import committed, until
from tests.kafka_broker import KafkaBroker, free_ports

CLIENTS = ("kafka-python", "confluent")
KINDS = ("decisions", "rewards", "metrics")
PARTITIONS = 2


class Ear:
    """Knows positions and remembers what it was told."""

    def __init__(self, positions: Mapping[str, int] | None = None) -> None:
        self.positions = dict(positions or {})
        self.gone: list[str] = []

    def assigned(self, partitions: Sequence[str]) -> Mapping[str, int]:
        return {name: self.positions[name] for name in partitions if name in self.positions}

    def revoked(self, partitions: Sequence[str]) -> None:
        self.gone += partitions


class Wire:
    """A broker with topics of one test, and a source of one client over them."""

    def __init__(self, config: SourceConfig, producer: KafkaProducer) -> None:
        self.config, self.producer = config, producer
        self._sources: list[Any] = []

    def topic(self, kind: str = "decisions") -> str:
        return self.config.topics[kind]

    def send(self, numbers: Sequence[int], kind: str = "decisions") -> None:
        """Record n to partition n % 2."""
        for n in numbers:
            self.producer.send(self.topic(kind), b"%d" % n, partition=n % PARTITIONS)
        self.producer.flush(timeout=20)

    def source(self, ear: Ear | None = None, **changed: Any) -> Any:
        source = source_for(replace(self.config, **changed), ear or Ear())
        self._sources.append(source)
        return source

    def close(self, source: Any) -> None:
        self._sources.remove(source)
        source.close()

    def close_all(self) -> None:
        for source in list(self._sources):
            self.close(source)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.kafka)])
def wire(request: pytest.FixtureRequest, client: str) -> Iterator[Wire]:
    yield from _wire(request.param, client, request)


@pytest.fixture
def real(request: pytest.FixtureRequest, client: str, kafka_bootstrap: str) -> Iterator[Wire]:
    yield from _wire("real", client, request)


def _wire(broker: str, client: str, request: pytest.FixtureRequest) -> Iterator[Wire]:
    version: tuple[int, ...] = ()
    if broker == "memory":
        memory: MemoryBroker = request.getfixturevalue("memory_broker")
        topics = {kind: f"{kind}-{client}" for kind in KINDS}
        for topic in topics.values():
            memory.create_topic(topic, PARTITIONS)
        servers, version = memory.bootstrap, API_VERSION
    else:
        make: MakeTopics = request.getfixturevalue("make_topics")
        topics = make(*KINDS, partitions=PARTITIONS)
        servers = request.getfixturevalue("kafka_bootstrap")
    config = SourceConfig(client=client, bootstrap_servers=(servers,), topics=topics, api_version=version,
                          group_id=f"g-{topics['decisions']}", session_timeout_ms=6_000)  # fmt: skip
    producer = KafkaProducer(
        bootstrap_servers=servers, max_request_size=16 << 20, **({"api_version": version} if version else {})
    )
    wire = Wire(config, producer)
    yield wire
    wire.close_all()
    producer.close(timeout=5)


def test_every_record_comes_once_in_offset_order_with_its_kind(wire: Wire) -> None:
    wire.send(range(3_000))
    wire.send(range(10), "rewards")
    seen = _read(wire.source(), 3_010)
    for partition in range(PARTITIONS):
        mine = [r for r in seen if r.partition == f"{wire.topic()}/{partition}"]
        assert [n for r in mine for n in _numbers(r)] == list(range(partition, 3_000, PARTITIONS))
        assert [offset for r in mine for offset in r.offsets] == list(range(1_500))
        assert all(r.next_offset == r.offsets[-1] + 1 for r in mine)
        assert {r.kind for r in mine} == {Kind.DECISION}
    assert {r.kind for r in seen if r.partition.startswith(wire.topic("rewards"))} == {Kind.REWARD}


def test_one_poll_gives_at_most_one_block_of_a_partition_and_no_more_records_than_asked_for(
    wire: Wire,
) -> None:
    wire.send(range(500))
    source = wire.source(max_poll_records=60)
    read: list[int] = []
    while len(read) < 500:
        polled = source.poll(500)
        names = [records.partition for records in polled]
        assert names == sorted(set(names))
        assert sum(len(records.offsets) for records in polled) <= 60
        read += [n for records in polled for n in _numbers(records)]
    assert sorted(read) == list(range(500))


def test_reading_goes_on_where_the_state_stands_and_not_where_the_group_committed(wire: Wire) -> None:
    wire.send(range(100))
    source = wire.source(Ear({f"{wire.topic()}/0": 40, f"{wire.topic()}/1": 50}))
    assert sorted(_all(_read(source, 10))) == list(range(80, 100, 2))
    assert set(source.partitions()) == {
        f"{topic}/{p}" for topic in wire.config.topics.values() for p in (0, 1)
    }


def test_partition_at_its_end_is_caught_up_and_one_behind_is_not(wire: Wire) -> None:
    wire.send(range(20))
    source = wire.source(max_poll_records=1)
    first = until(lambda: source.poll(200), what="a record")[0].partition
    assert not source.caught_up(first)
    _read(source, 19)
    assert until(lambda: [] if source.poll(50) else [source.caught_up(first)]) == [True]
    assert source.caught_up(f"{wire.topic('metrics')}/1"), "an empty partition has no more to say"
    assert not source.caught_up("somebody-elses/0")
    assert source.lag()[first] == 0
    wire.send(range(20, 24))
    assert not source.caught_up(first)


def test_start_latest_reads_only_what_comes_after(wire: Wire) -> None:
    wire.send(range(50))
    source = wire.source(start="latest")
    until(lambda: source.poll(100) or source.caught_up(f"{wire.topic()}/0"), what="the end of the log")
    wire.send(range(50, 60))
    assert sorted(_all(_read(source, 10))) == list(range(50, 60))


def test_position_that_the_broker_no_longer_has_is_for_a_person_to_decide(wire: Wire) -> None:
    wire.send(range(10))
    source = wire.source(Ear({f"{wire.topic()}/1": 1_000}))
    with pytest.raises(OffsetsGone, match=f"{wire.topic()}/1.*1000"):
        until(lambda: source.poll(200) and False, 10)


def test_record_that_comes_while_resting_is_kept_for_the_next_poll(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (kafka_source, confluent_source):
        monkeypatch.setattr(module, "ANSWER_S", 0.0)
    wire.send([0])
    source = wire.source()
    _read(source, 1)
    wire.send(range(2, 22, 2))
    for _ in range(40):
        source.rest()
        time.sleep(0.01)
    assert _all(_read(source, 10)) == list(range(2, 22, 2))


def test_first_record_does_not_wait_for_the_end_of_the_poll(wire: Wire) -> None:
    source = wire.source()
    wire.send([0])
    _read(source, 1)
    wire.send([2])
    began = time.monotonic()
    assert until(lambda: source.poll(5_000))
    assert time.monotonic() - began < 2.5


def test_committed_positions_are_shown_by_the_broker(real: Wire) -> None:
    real.send(range(20))
    source = real.source()
    _read(source, 20)
    source.commit({f"{real.topic()}/0": 7, "somebody-elses/0": 3})
    until(
        lambda: (
            source.poll(50)
            or committed(real.config.bootstrap_servers[0], real.config.group_id, real.topic()) == 7
        )
    )


def test_partitions_move_between_two_members_and_nothing_is_lost_or_doubled(real: Wire) -> None:
    """Both keep positions as the daemon does: where each stood when a partition went."""
    real.send(range(200))
    positions: dict[str, int] = {}
    ear, other_ear = Ear(), Ear()
    ear.positions = other_ear.positions = positions
    first = real.source(ear, max_poll_records=20)
    seen: list[int] = []

    def read(*sources: Any) -> int:
        for source in sources:
            for records in source.poll(50):
                seen.extend(_numbers(records))
                positions[records.partition] = records.next_offset
        return len(seen)

    until(lambda: read(first) >= 60)
    second = real.source(other_ear, max_poll_records=20)
    until(lambda: read(first, second) and len(second.partitions()) == len(first.partitions()) == 3)
    assert set(first.partitions()) | set(second.partitions()) == {
        f"{topic}/{p}" for topic in real.config.topics.values() for p in (0, 1)
    }
    assert set(second.partitions()) <= set(ear.gone)
    real.send(range(200, 400))
    until(lambda: read(first, second) >= 400)
    real.close(second)
    real.send(range(400, 440))
    until(lambda: read(first) >= 440)
    assert sorted(seen) == list(range(440))


def test_record_longer_than_a_fetch_still_comes(real: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (kafka_source, confluent_client):
        monkeypatch.setattr(module, "FETCH_BYTES", 100_000)
    real.producer.send(real.topic(), b"x" * 900_000, partition=0).get(timeout=20)
    real.send([2])
    lengths = [len(p or b"") for r in _read(real.source(), 2) for p in r.payloads]
    assert lengths == [900_000, 1]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (kafka_source, confluent_client):
        monkeypatch.setattr(module, "BOOTSTRAP_MS", 2_000)


def test_missing_broker_is_refused_in_words(client: str, hasty: None) -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(SourceError, match="the connection was refused"):
        source_for(SourceConfig(client=client, bootstrap_servers=(nobody,)), Ear())


def test_listener_that_never_answers_is_silent(client: str, hasty: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        servers = (f"127.0.0.1:{mute.getsockname()[1]}",)
        with pytest.raises(SourceError, match="nothing answered"):
            source_for(SourceConfig(client=client, bootstrap_servers=servers), Ear())


@pytest.mark.parametrize(
    ("text", "mechanism", "said"),
    [
        (KafkaBroker.password, "SCRAM-SHA-256", ""),
        ("wrong", "SCRAM-SHA-256", "did not let us in"),
        (KafkaBroker.password, "PLAIN", "did not let us in"),
    ],
)
def test_password_lets_us_in_or_is_said_to_be_wrong(
    client: str, kafka_broker: KafkaBroker, tmp_path: Path, hasty: None, text: str, mechanism: str, said: str
) -> None:
    config = replace(_sasl(client, kafka_broker.scram_bootstrap, tmp_path, text), sasl_mechanism=mechanism)
    if not said:
        source_for(config, Ear()).close()
        return
    with pytest.raises(SourceError, match=said):
        source_for(config, Ear())


def test_plain_listener_asked_for_sasl_does_no_sasl(
    client: str, kafka_broker: KafkaBroker, tmp_path: Path, hasty: None
) -> None:
    with pytest.raises(SourceError, match="does no SASL"):
        source_for(_sasl(client, kafka_broker.bootstrap, tmp_path, "any"), Ear())


def test_client_that_is_not_installed_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "confluent_kafka", None)
    with pytest.raises(ClientMissing, match=r'pip install "policywatch\[fast\]"'):
        library()


def _sasl(client: str, server: str, folder: Path, text: str) -> SourceConfig:
    (folder / "password").write_text(text)
    return SourceConfig(
        client=client,
        bootstrap_servers=(server,),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-256",
        sasl_username=KafkaBroker.username,
        sasl_password=folder / "password",
    )


def _numbers(records: Records) -> list[int]:
    return [int(payload or b"-1") for payload in records.payloads]


def _all(seen: Sequence[Records]) -> list[int]:
    return [n for records in seen for n in _numbers(records)]


def _read(source: Any, count: int) -> list[Records]:
    seen: list[Records] = []
    poll: Callable[[int], Sequence[Records]] = source.poll

    def enough() -> bool:
        seen.extend(poll(200))
        return sum(len(records.offsets) for records in seen) >= count

    until(enough, what=f"{count} records")
    return seen
