"""The receivers of the config as senders."""

from typing import Any, cast
from urllib.parse import urlsplit

from alerts.senders.alertmanager import AlertmanagerSender
from alerts.senders.chat import ChatSender
from alerts.senders.kafka_topic import KafkaTopicSender
from alerts.senders.log import LogSender
from alerts.senders.pagerduty import PagerDutySender
from alerts.senders.sender import Sender
from alerts.senders.webhook import WebhookSender
from alerts.signal import Kind
from monitor.config import Config, ReceiverConfig


def senders_for(config: Config, log: Any, producer: Any | None) -> list[Sender]:
    """The log always, the signals topic where there is a producer, and every receiver of the config."""
    senders: list[Sender] = [LogSender("log", log)]
    if producer is not None and config.signals_topic:
        senders.append(KafkaTopicSender("kafka", config.source.topics["signals"], producer.send))
    numbers: dict[str, int] = {}
    for receiver in config.receivers:
        numbers[receiver.kind] = numbers.get(receiver.kind, 0) + 1
        senders.append(_sender(f"{receiver.kind}-{numbers[receiver.kind]}", receiver))
    return senders


def _sender(name: str, receiver: ReceiverConfig) -> Sender:
    hosts = [urlsplit(receiver.url).hostname or ""] if receiver.allow_http else []
    kinds = [cast(Kind, kind) for kind in receiver.kinds]
    deadline_s = receiver.timeout_ms / 1000
    match receiver.kind, receiver.secret:
        case "webhook", secret if secret is not None:
            return WebhookSender(
                name, receiver.url, secret, kinds=kinds, allow_http=hosts, deadline_s=deadline_s
            )
        case "pagerduty", secret if secret is not None:
            return PagerDutySender(
                name, secret, kinds=kinds, base_url=receiver.url, allow_http=hosts, deadline_s=deadline_s
            )
        case "chat", secret if secret is not None:
            return ChatSender(name, secret, kinds=kinds, allow_http=hosts, deadline_s=deadline_s)
        case _:
            return AlertmanagerSender(
                name, receiver.url, kinds=kinds, allow_http=hosts, deadline_s=deadline_s
            )
