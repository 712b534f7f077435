"""Every sender passes the shared suite."""

import tempfile
from pathlib import Path
from typing import Any

import pytest

from alerts.outbox import Refused, Retry
from alerts.senders.alertmanager import AlertmanagerSender
from alerts.senders.chat import ChatSender
from alerts.senders.kafka_topic import KafkaTopicSender
from alerts.senders.log import LogSender
from alerts.senders.pagerduty import PagerDutySender
from alerts.senders.sender import Sender
from alerts.senders.webhook import WebhookSender
from tests.contracts.senders_suite import DEADLINE_S, NOW_S, SECRET, HttpSenderSuite, SenderSuite
from tests.unit.alerts.build import entry


def kept(folder: Path, text: str) -> Path:
    path = Path(tempfile.mkstemp(dir=folder)[1])
    path.write_text(text + "\n")
    return path


class TestWebhook(HttpSenderSuite):
    def build(self, url: str, folder: Path) -> Sender:
        return WebhookSender("receiver", url, kept(folder, SECRET), deadline_s=DEADLINE_S)


class TestPagerDuty(HttpSenderSuite):
    def build(self, url: str, folder: Path) -> Sender:
        return PagerDutySender("receiver", kept(folder, "R0UT1NGKEY"), base_url=url, deadline_s=DEADLINE_S)

    def test_garbage_in_the_outbox_is_refused_for_ever(self, sender: Sender) -> None:
        assert_refused(sender)


class TestAlertmanager(HttpSenderSuite):
    def build(self, url: str, folder: Path) -> Sender:
        return AlertmanagerSender("receiver", url, deadline_s=DEADLINE_S)

    def test_garbage_in_the_outbox_is_refused_for_ever(self, sender: Sender) -> None:
        assert_refused(sender)


class TestChat(HttpSenderSuite):
    def build(self, url: str, folder: Path) -> Sender:
        return ChatSender("receiver", kept(folder, url), deadline_s=DEADLINE_S)

    def test_garbage_in_the_outbox_is_refused_for_ever(self, sender: Sender) -> None:
        assert_refused(sender)


class Broker:
    """Acknowledges, or does not."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.records: list[tuple[str, dict[str, Any]]] = []

    def send(self, topic: str, **record: Any) -> "Broker":
        self.records.append((topic, record))
        return self

    def get(self, timeout: float) -> None:
        if self.error is not None:
            raise self.error


class TestKafkaTopic(SenderSuite):
    @pytest.fixture
    def sender(self) -> Sender:
        return KafkaTopicSender("receiver", "rl.signals", Broker().send)

    def test_record_is_the_signal_itself_keyed_by_deployment(self) -> None:
        broker = Broker()
        KafkaTopicSender("receiver", "rl.signals", broker.send).send(entry(), NOW_S)
        topic, record = broker.records[0]
        assert (topic, record["key"], record["value"]) == ("rl.signals", b"home-ranker", entry().payload)
        assert ("signal-id", entry().signal_id.encode()) in record["headers"]

    def test_record_without_acknowledgement_is_sent_again(self) -> None:
        sender = KafkaTopicSender("receiver", "rl.signals", Broker(TimeoutError()).send)
        assert sender.send(entry(), NOW_S) == Retry(None, "not acknowledged (TimeoutError)")

    def test_producer_that_raises_at_once_is_tried_again(self) -> None:
        def broken(*_: Any, **__: Any) -> Any:
            raise ConnectionError("no broker")

        assert isinstance(KafkaTopicSender("receiver", "t", broken).send(entry(), NOW_S), Retry)


class Lines:
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(("warning", event, fields))

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(("info", event, fields))


class TestLog(SenderSuite):
    @pytest.fixture
    def sender(self) -> Sender:
        return LogSender("receiver", Lines())

    def test_garbage_in_the_outbox_is_refused_for_ever(self, sender: Sender) -> None:
        assert_refused(sender)

    def test_signal_is_one_event_with_its_numbers(self) -> None:
        lines = Lines()
        LogSender("receiver", lines).send(entry(), NOW_S)
        level, event, fields = lines.lines[0]
        assert (level, event, fields["kind"], fields["value"]) == (
            "warning",
            "signal_sent",
            "fallback",
            0.412,
        )


def assert_refused(sender: Sender) -> None:
    outcome = sender.send(entry(payload=b"\xffgarbage"), NOW_S)
    assert isinstance(outcome, Refused)
    assert outcome.permanent
