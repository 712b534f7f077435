"""The demo's topics on a real broker: made before, deleted afterwards."""

from collections.abc import Callable, Mapping
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from monitor.kafka.kafka_source import SourceError, plain


def create_topics(bootstrap: str, topics: Mapping[str, int]) -> None:
    """Those that exist stay as they are; SourceError where the broker cannot be used."""
    admin = _admin(bootstrap)
    try:
        for name, partitions in topics.items():
            try:
                admin.create_topics([NewTopic(name, partitions, 1)])
            except TopicAlreadyExistsError:
                continue
    except KafkaError as error:
        raise SourceError(f"{bootstrap}: the topics could not be made: {plain(error)}") from error
    finally:
        admin.close()


def delete_topics(bootstrap: str, names: list[str]) -> None:
    """As far as the broker lets us; one that is gone already is no trouble."""
    try:
        admin = _admin(bootstrap)
    except SourceError:
        return
    try:
        admin.delete_topics(names)
    except KafkaError:
        return
    finally:
        admin.close()


def _admin(bootstrap: str) -> Any:
    make: Callable[..., Any] = KafkaAdminClient
    try:
        return make(bootstrap_servers=bootstrap, bootstrap_timeout_ms=10_000)
    except KafkaError as error:
        raise SourceError(f"{bootstrap}: no broker answers: {plain(error)}") from error
