"""What the tests of the running daemon share: one baseline, one producer, and a site per test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tests.conftest import MakeTopics
from tests.contracts.http_receiver import HttpReceiver, http_receiver
from tests.integration.running import TOPICS, Site, make_baseline

MakeSite = Callable[..., Site]


@pytest.fixture(scope="session")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference of the made-up traffic."""
    return make_baseline(tmp_path_factory.mktemp("baseline"))


@pytest.fixture(scope="session")
def producer(kafka_bootstrap: str) -> Iterator[KafkaProducer]:
    """A producer for the whole run; large records are the broker's business, not the client's."""
    producer = KafkaProducer(
        bootstrap_servers=kafka_bootstrap, acks="all", linger_ms=5, max_request_size=16 << 20
    )
    yield producer
    producer.close(timeout=5)


@pytest.fixture
def make_site(tmp_path: Path, kafka_bootstrap: str, make_topics: MakeTopics, baseline: Path) -> MakeSite:
    """A site with topics and a group of its own."""

    def make(partitions: int = 1, name: str = "site") -> Site:
        topics = make_topics(*TOPICS, partitions=partitions)
        return Site(tmp_path / name, kafka_bootstrap, topics, baseline)

    return make


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    """A serving layer that accepts every webhook."""
    with http_receiver() as receiver:
        yield receiver
