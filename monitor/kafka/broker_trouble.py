"""Why no broker could be reached: kafka-python 3.0 raises one time-out for every cause, its log tells them apart."""

import logging
from enum import StrEnum
from types import TracebackType
from typing import Self

from kafka.errors import IllegalSaslStateError, SaslAuthenticationFailedError, UnsupportedSaslMechanismError
from kafka.net.connection import KafkaConnection

_LOGGER = "kafka.net.connection"


class Trouble(StrEnum):
    """What kept us from the broker, in words for a log line."""

    SILENT = "nothing answered as a Kafka broker at this address (wrong host or port, TLS, or a firewall)"
    REFUSED = "the connection was refused: no broker listens at this address"
    NOT_AUTHENTICATED = "the broker is there, but did not let us in (wrong user, password or SASL mechanism)"
    NO_SASL = "the broker is there, but this listener does no SASL (wrong port or security_protocol)"


class BrokerTrouble(logging.Handler):
    """While entered, listens to kafka-python; `trouble` is the best explanation of what it has seen.

    An exception that says what happened wins over a bare disconnect: with a wrong password the broker answers and
    closes, and kafka-python 3.0.12 drops the answer when both arrive together (seen in 20 tries of 20 under load, in
    every second one otherwise), the same with a mechanism that it does not offer. So a disconnect of a SASL connection
    that had learnt the broker's version counts as not authenticated.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.trouble = Trouble.SILENT

    def __enter__(self) -> Self:
        logging.getLogger(_LOGGER).addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger(_LOGGER).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Judge one `Connection lost`: its arguments are the connection and the exception."""
        match record.args:
            case (KafkaConnection() as connection, BaseException() as error):
                found = _explained(
                    error, answered=connection.broker_version is not None, sasl=connection.sasl_enabled
                )
                if found is not Trouble.SILENT:
                    self.trouble = found
            case _:
                pass


def _explained(error: BaseException, *, answered: bool, sasl: bool) -> Trouble:
    if isinstance(error, SaslAuthenticationFailedError | UnsupportedSaslMechanismError):
        return Trouble.NOT_AUTHENTICATED
    if isinstance(error, IllegalSaslStateError):
        return Trouble.NO_SASL
    if "ECONNREFUSED" in str(error):
        return Trouble.REFUSED
    if answered and sasl and "socket disconnected" in str(error):
        return Trouble.NOT_AUTHENTICATED
    return Trouble.SILENT
