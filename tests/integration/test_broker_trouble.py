"""A daemon without its broker says which it is: missing, silent, or not letting us in."""

import socket
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaTimeoutError

from monitor.kafka.broker_trouble import BrokerTrouble, Trouble
from tests.kafka_broker import KafkaBroker, free_ports

SASL = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "SCRAM-SHA-256",
    "sasl_plain_username": "policywatch",
    "sasl_plain_password": "not-the-password",
}


@pytest.mark.kafka
def test_wrong_password_is_not_authenticated(kafka_scram: dict[str, Any]) -> None:
    assert _trouble(kafka_scram | SASL) is Trouble.NOT_AUTHENTICATED


@pytest.mark.kafka
def test_unknown_user_is_not_authenticated(kafka_scram: dict[str, Any]) -> None:
    assert _trouble(kafka_scram | {"sasl_plain_username": "nobody"}) is Trouble.NOT_AUTHENTICATED


@pytest.mark.kafka
def test_plain_listener_asked_for_sasl_does_no_sasl(kafka_broker: KafkaBroker) -> None:
    assert _trouble(SASL | {"bootstrap_servers": kafka_broker.bootstrap}) is Trouble.NO_SASL


@pytest.mark.kafka
def test_mechanism_that_the_listener_lacks_is_not_authenticated(kafka_scram: dict[str, Any]) -> None:
    assert _trouble(kafka_scram | {"sasl_mechanism": "PLAIN"}) is Trouble.NOT_AUTHENTICATED


def test_port_that_nobody_listens_on_is_refused() -> None:
    assert _trouble({"bootstrap_servers": f"127.0.0.1:{free_ports(1)[0]}"}) is Trouble.REFUSED


def test_listener_that_never_answers_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert _trouble(SASL | {"bootstrap_servers": f"127.0.0.1:{port}"}) is Trouble.SILENT


def _trouble(arguments: dict[str, Any]) -> Trouble:
    with BrokerTrouble() as watch, pytest.raises(KafkaTimeoutError, match="Unable to bootstrap"):
        KafkaConsumer(bootstrap_timeout_ms=2000, **arguments)
    return watch.trouble
