"""The receivers of the config as senders."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from alerts.outbox_table import Acknowledging
from alerts.senders.alertmanager import AlertmanagerSender
from alerts.senders.chat import ChatSender
from alerts.senders.kafka_topic import KafkaTopicSender
from alerts.senders.log import LogSender
from alerts.senders.pagerduty import PagerDutySender
from alerts.senders.sender import Refreshing, Sender
from alerts.senders.webhook import WebhookSender
from alerts.signal import Kind, Signal
from monitor.config import Config, ReceiverConfig


@dataclass(frozen=True, slots=True)
class Receiver:
    """A sender and the deployments whose signals it gets; none named: all."""

    sender: Sender
    deployments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The sender's."""
        return self.sender.name

    def accepts(self, signal: Signal) -> bool:
        """Whether a signal is queued for it."""
        return (not self.deployments or signal.deployment in self.deployments) and self.sender.accepts(signal)

    def acknowledges(self, signal: Signal) -> bool:
        """Whether it is told, too, that somebody has acknowledged a signal: where its sender knows how to say so."""
        return (
            isinstance(self.sender, Acknowledging)
            and self.accepts(signal)
            and self.sender.acknowledges(signal)
        )

    def resume(self, signals: Iterable[Signal], now_ms: int) -> None:
        """Go on repeating these to one that forgets; before its thread begins."""
        if isinstance(self.sender, Refreshing):
            self.sender.resume([signal for signal in signals if self.accepts(signal)], now_ms)

    def keep(self, alert_keys: Collection[str]) -> None:
        """Repeat no others to one that forgets."""
        if isinstance(self.sender, Refreshing):
            self.sender.keep(alert_keys)


def receivers_for(config: Config, log: Any, producer: Any | None) -> list[Receiver]:
    """The log always, the signals topic where there is a producer, and every receiver of the config."""
    receivers = [Receiver(LogSender("log", log))]
    if producer is not None and config.signals_topic:
        receivers.append(Receiver(KafkaTopicSender("kafka", config.source.topics["signals"], producer.send)))
    numbers: dict[str, int] = {}
    for one in config.receivers:
        numbers[one.kind] = numbers.get(one.kind, 0) + 1
        receivers.append(Receiver(_sender(f"{one.kind}-{numbers[one.kind]}", one), one.deployments))
    return receivers


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
