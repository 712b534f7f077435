"""What every test may ask for: a real Kafka, one in memory, topics of its own; and what the markers mean."""

import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import hypothesis
import pytest

from monitor.demo.memory_broker import MemoryBroker
from tests.kafka_broker import BrokerUnavailableError, KafkaBroker

KAFKA_FIXTURES = {"kafka_broker", "kafka_bootstrap", "kafka_scram", "make_topics"}
TOPICS = ("decisions", "rewards", "metrics", "signals")

# CI draws the same examples each time; a slow shared machine is no finding.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("local", deadline=None, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

MakeTopics = Callable[..., dict[str, str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for the real broker is a `kafka` test, whether or not its author said so.

    Of the workers of `-n`, one owns the broker and runs these; what a file has built for its tests is not built twice.
    """
    for item in items:
        if KAFKA_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)
        item.add_marker(
            pytest.mark.xdist_group("kafka" if item.get_closest_marker("kafka") else item.path.name)
        )


@pytest.fixture(scope="session")
def session_broker() -> Iterator[KafkaBroker]:
    """The broker that this test run owns, started by the first test that needs one."""
    try:
        broker = KafkaBroker()
    except BrokerUnavailableError as error:
        _give_up(error)
    try:
        broker.start()
        yield broker
    except BrokerUnavailableError as error:
        _give_up(error)
    finally:
        broker.close()


@pytest.fixture
def kafka_broker(session_broker: KafkaBroker) -> Iterator[KafkaBroker]:
    """The owned broker, for tests that stop and start it; it runs again afterwards."""
    session_broker.start()
    yield session_broker
    session_broker.start()


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> str:
    """Address of a real Kafka: `KAFKA_BOOTSTRAP_SERVERS`, else the owned broker."""
    named = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if named:
        return named
    broker: KafkaBroker = request.getfixturevalue("session_broker")
    return broker.bootstrap


@pytest.fixture(scope="session")
def kafka_scram(session_broker: KafkaBroker) -> dict[str, Any]:
    """kafka-python's arguments for the SCRAM listener of the owned broker (also when another one is named)."""
    return {
        "bootstrap_servers": session_broker.scram_bootstrap,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": session_broker.username,
        "sasl_plain_password": session_broker.password,
    }


@pytest.fixture
def make_topics(kafka_bootstrap: str) -> Iterator[MakeTopics]:
    """`make_topics("decisions", ..., partitions=2)` creates new topics and maps each name to its unique one."""
    from kafka import KafkaAdminClient
    from kafka.admin import NewTopic

    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    made: list[str] = []

    def make(*names: str, partitions: int = 1) -> dict[str, str]:
        unique = {name: f"{name}-{uuid.uuid4().hex[:10]}" for name in names or TOPICS}
        admin.create_topics(
            [NewTopic(topic, num_partitions=partitions, replication_factor=1) for topic in unique.values()]
        )
        made.extend(unique.values())
        return unique

    yield make
    if made and os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        admin.delete_topics(made)  # somebody else's broker is left as it was found
    admin.close()


@pytest.fixture
def memory_broker() -> Iterator[MemoryBroker]:
    """An in-memory broker of the test's own; kafka-python needs `api_version=API_VERSION` with it."""
    with MemoryBroker() as broker:
        yield broker


def _give_up(error: BrokerUnavailableError) -> NoReturn:
    """Skip in one line; but in CI the Kafka tests must run, so there it is a failure."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"CI must run the Kafka tests: {error}", pytrace=False)
    pytest.skip(str(error))
