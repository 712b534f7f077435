"""What confluent-kafka needs beside the records: librdkafka's settings, a first contact, trouble in words."""

import logging
from time import monotonic
from typing import Any

from monitor.config import SourceConfig
from monitor.kafka.broker_trouble import Trouble
from monitor.kafka.kafka_source import (
    BOOTSTRAP_MS,
    FETCH_BYTES,
    RECONNECT_MS,
    SLOWEST_LOOP_MS,
    SourceError,
    password,
)

QUEUED_KB = 16_384  # per partition, fetched ahead
TRY_S = 0.5


class ClientMissing(Exception):
    """The config names a client whose package is not installed; a person has to install it."""


class ClientTrouble:
    """What librdkafka reports beside the records: said as the other client says it."""

    def __init__(self, kafka: Any) -> None:
        self._kafka = kafka
        self.trouble = Trouble.SILENT
        self.last: Any = None

    def __call__(self, error: Any) -> None:
        self.last = error
        found = self._explained(error)
        if found is not Trouble.SILENT:
            self.trouble = found

    def raise_refusal(self) -> None:
        """A broker that does not let us in any more."""
        if self.trouble in (Trouble.NOT_AUTHENTICATED, Trouble.NO_SASL):
            said, self.trouble = self.error(), Trouble.SILENT
            raise said

    def error(self) -> SourceError:
        """The best explanation so far."""
        return SourceError(f"{self.trouble} [{clause(self.last) if self.last is not None else 'no answer'}]")

    def _explained(self, error: Any) -> Trouble:
        said = str(error)
        if "current SASL state" in said:
            return Trouble.NO_SASL
        if error.code() == self._kafka.KafkaError._AUTHENTICATION:  # noqa: SLF001 - a public name of the library
            return Trouble.NOT_AUTHENTICATED
        return Trouble.REFUSED if "Connection refused" in said else Trouble.SILENT


def library() -> Any:
    """The package, or ClientMissing in words."""
    try:
        import confluent_kafka  # noqa: PLC0415 - an extra; only who chooses this client needs it
    except ImportError as error:
        raise ClientMissing(
            'source.client = "confluent" needs the package confluent-kafka: pip install "policywatch[fast]"'
        ) from error
    return confluent_kafka


def confluent_settings(config: SourceConfig) -> dict[str, Any]:
    """Addresses and security as librdkafka names them."""
    settings: dict[str, Any] = {
        "bootstrap.servers": ",".join(config.bootstrap_servers),
        "security.protocol": config.security_protocol,
        "client.id": "policywatch",
        "reconnect.backoff.max.ms": RECONNECT_MS,
    }
    if config.sasl_mechanism:
        settings |= {"sasl.mechanism": config.sasl_mechanism, "sasl.username": config.sasl_username,
                     "sasl.password": password(config)}  # fmt: skip
    files = {"ssl.ca.location": config.ssl_cafile, "ssl.certificate.location": config.ssl_certfile,
             "ssl.key.location": config.ssl_keyfile}  # fmt: skip
    return settings | {name: path for name, path in files.items() if path}


def reached(kafka: Any, config: SourceConfig, trouble: ClientTrouble) -> Any:
    """A consumer whose broker has answered, or SourceError that says why it has not."""
    silent = logging.getLogger("librdkafka")
    silent.setLevel(logging.CRITICAL + 1)  # what matters comes through error_cb
    settings = confluent_settings(config) | {
        "group.id": config.group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",  # a gap is for a person to accept, not for the client to skip
        "enable.partition.eof": True,
        "isolation.level": "read_uncommitted",
        "allow.auto.create.topics": True,
        "check.crcs": True,
        "fetch.message.max.bytes": FETCH_BYTES,
        "fetch.wait.max.ms": 20,
        "fetch.queue.backoff.ms": 20,
        "queued.max.messages.kbytes": QUEUED_KB,
        "max.poll.interval.ms": SLOWEST_LOOP_MS,
        "session.timeout.ms": config.session_timeout_ms,
        "heartbeat.interval.ms": min(3_000, config.session_timeout_ms // 3),
        "topic.metadata.refresh.interval.ms": 30_000,
        "partition.assignment.strategy": "range",
        "error_cb": trouble,
    }
    try:
        consumer = kafka.Consumer(settings, logger=silent)
    except kafka.KafkaException as error:
        raise SourceError(clause(error.args[0])) from error
    deadline_s = monotonic() + BOOTSTRAP_MS / 1000
    while True:
        try:
            consumer.list_topics(timeout=TRY_S)
            trouble.trouble = Trouble.SILENT
            return consumer
        except kafka.KafkaException as error:
            trouble.last = trouble.last or error.args[0]
        consumer.poll(0)  # hands over what error_cb is to know
        if trouble.trouble is not Trouble.SILENT or monotonic() > deadline_s:
            consumer.close()
            raise trouble.error()


def clause(error: Any) -> str:
    """A KafkaError as a clause."""
    return f"{error.name()}: {error.str()}"
