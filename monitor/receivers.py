"""The receivers of the config as senders."""

from collections.abc import Sequence
from typing import Any

from alerts.senders.alertmanager import AlertmanagerSender
from alerts.senders.chat import ChatSender
from alerts.senders.kafka_topic import KafkaTopicSender
from alerts.senders.log import LogSender
from alerts.senders.pagerduty import PagerDutySender
from alerts.senders.sender import Sender
from alerts.senders.webhook import WebhookSender
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
