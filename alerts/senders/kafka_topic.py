"""The signals topic: every signal, keyed by deployment, delivered when the broker has acknowledged it."""

from typing import Any, Protocol

from alerts.outbox import Delivered, OutboxEntry, Outcome, Refused, Retry
from alerts.signal import CONTENT_TYPE, Signal

ACK_TIMEOUT_S = 10.0


class Acknowledgement(Protocol):
    """What a producer gives back: blocks until the broker has the record, raises when it does not."""

    def get(self, timeout: float) -> Any: ...


class Publish(Protocol):
    """A producer's send, as kafka-python has it (`acks="all"`)."""

    def __call__(
        self, topic: str, *, key: bytes, value: bytes, headers: list[tuple[str, bytes]]
    ) -> Acknowledgement: ...


class KafkaTopicSender:
    """One topic; the bytes are those of the webhook, headers carry the id and the content type."""

    def __init__(self, name: str, topic: str, publish: Publish, ack_timeout_s: float = ACK_TIMEOUT_S) -> None:
        self.name = name
        self._topic = topic
        self._publish = publish
        self._ack_timeout_s = ack_timeout_s

    def accepts(self, signal: Signal) -> bool:
        return True

    def send(self, entry: OutboxEntry, now_s: float) -> Outcome:
        headers = [("content-type", CONTENT_TYPE.encode()), ("signal-id", entry.signal_id.encode())]
        try:
            self._publish(
                self._topic, key=entry.deployment.encode(), value=entry.payload, headers=headers
            ).get(self._ack_timeout_s)
        except Exception as error:  # a client of the caller's choice: its errors are not ours to list
            reason = f"not acknowledged ({type(error).__name__})"
            too_large = type(error).__name__ in ("MessageSizeTooLargeError", "RecordTooLargeError")
            return Refused(reason, permanent=True) if too_large else Retry(None, reason)
        return Delivered()
