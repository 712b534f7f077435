"""What every sender promises, and what every sender over HTTP promises besides: one suite, inherited."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.outbox import Delivered, Disabled, Refused, Retry
from alerts.senders.sender import ReceiverConfigError, Sender
from tests.contracts.http_receiver import HttpReceiver, Reply, http_receiver
from tests.unit.alerts.build import entry, signal

DEADLINE_S = 0.8
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW_S = 1_714_564_800.0


class SenderSuite:
    """Subclasses give a `sender` fixture whose receiver works."""

    def test_firing_and_resolved_signals_are_delivered(self, sender: Sender) -> None:
        assert sender.send(entry(signal()), NOW_S) == Delivered()
        assert sender.send(entry(signal(state="resolved")), NOW_S) == Delivered()

    def test_sending_again_is_as_good_as_the_first_time(self, sender: Sender) -> None:
        assert [sender.send(entry(signal()), NOW_S + s) for s in (0, 1, 60)] == [Delivered()] * 3

    @pytest.mark.parametrize("state", ["firing", "resolved"])
    def test_fallback_and_rollback_are_accepted_in_both_states(self, sender: Sender, state: str) -> None:
        assert sender.accepts(signal(kind="fallback", state=state))
        assert sender.accepts(signal(kind="rollback", state=state))

    def test_sender_has_a_name(self, sender: Sender) -> None:
        assert sender.name == "receiver"


class HttpSenderSuite(SenderSuite):
    """Subclasses build their sender for a URL; the receiver is a real server on loopback."""

    def build(self, url: str, folder: Path) -> Sender:
        raise NotImplementedError

    @pytest.fixture
    def receiver(self) -> Iterator[HttpReceiver]:
        with http_receiver() as receiver:
            yield receiver

    @pytest.fixture
    def sender(self, receiver: HttpReceiver, tmp_path: Path) -> Sender:
        return self.build(receiver.url, tmp_path)

    @pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
    def test_every_2xx_is_delivered(self, sender: Sender, receiver: HttpReceiver, status: int) -> None:
        receiver.script = [Reply(status, body=b"")]
        assert sender.send(entry(), NOW_S) == Delivered()

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
    def test_trouble_that_passes_is_tried_again(
        self, sender: Sender, receiver: HttpReceiver, status: int
    ) -> None:
        receiver.script = [Reply(status)]
        outcome = sender.send(entry(), NOW_S)
        assert isinstance(outcome, Retry)
        assert outcome.after_ms is None
        assert str(status) in outcome.reason

    @pytest.mark.parametrize(
        ("header", "after_ms"),
        [
            ("17", 17_000),
            ("Wed, 01 May 2024 12:00:30 GMT", 30_000),
            ("Wed, 01 May 2024 11:00:00 GMT", 0),
            ("soon", None),
            ("-5", None),
        ],
    )
    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_is_read_in_both_forms(
        self, sender: Sender, receiver: HttpReceiver, status: int, header: str, after_ms: int | None
    ) -> None:
        receiver.script = [Reply(status, {"Retry-After": header})]
        outcome = sender.send(entry(), NOW_S)
        assert isinstance(outcome, Retry)
        assert outcome.after_ms == after_ms

    def test_410_disables(self, sender: Sender, receiver: HttpReceiver) -> None:
        receiver.script = [Reply(410)]
        assert isinstance(sender.send(entry(), NOW_S), Disabled)

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirect_is_a_failure_and_is_not_followed(
        self, sender: Sender, receiver: HttpReceiver, status: int
    ) -> None:
        receiver.script = [Reply(status, {"Location": f"{receiver.url}/elsewhere"}), Reply(200)]
        assert isinstance(sender.send(entry(), NOW_S), Retry)
        assert len(receiver.requests) == 1

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_refusal_that_a_person_can_mend_is_not_for_ever(
        self, sender: Sender, receiver: HttpReceiver, status: int
    ) -> None:
        receiver.script = [Reply(status)]
        outcome = sender.send(entry(), NOW_S)
        assert isinstance(outcome, Refused)
        assert not outcome.permanent

    @pytest.mark.parametrize(
        "reply",
        [Reply(silent_s=5), Reply(drip_s=5), Reply(hang_up=True)],
        ids=["silent", "dripping", "hanging up"],
    )
    def test_receiver_that_does_not_answer_is_left_within_the_deadline(
        self, sender: Sender, receiver: HttpReceiver, reply: Reply
    ) -> None:
        receiver.script = [reply]
        start = time.monotonic()
        assert isinstance(sender.send(entry(), NOW_S), Retry)
        assert time.monotonic() - start < DEADLINE_S + 1.0

    def test_sender_works_again_after_a_cut_request(self, sender: Sender, receiver: HttpReceiver) -> None:
        receiver.script = [Reply(drip_s=5), Reply(200)]
        assert isinstance(sender.send(entry(), NOW_S), Retry)
        assert sender.send(entry(), NOW_S) == Delivered()

    def test_long_answer_is_not_read_to_its_end(self, sender: Sender, receiver: HttpReceiver) -> None:
        receiver.script = [Reply(500, body=b"x\n" * 500_000)]
        outcome = sender.send(entry(), NOW_S)
        assert isinstance(outcome, Retry)
        assert len(outcome.reason) < 200
        assert "\n" not in outcome.reason

    def test_nobody_listening_is_said_plainly_and_names_no_url(self, tmp_path: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/hidden-path"
        outcome = self.build(url, tmp_path).send(entry(), NOW_S)
        assert outcome == Retry(None, "connection refused or unreachable")

    @pytest.mark.parametrize(
        "url",
        [
            "http://example.com/hook",
            "http://10.0.0.1/hook",
            "http://localhost.example.com/",
            "ftp://localhost/",
            "https://user:word@example.com/",
            "https:///nowhere",
            "example.com",
        ],
    )
    def test_url_that_must_not_be_posted_to_is_refused_when_built(self, url: str, tmp_path: Path) -> None:
        with pytest.raises(ReceiverConfigError):
            self.build(url, tmp_path)

    @pytest.mark.parametrize(
        "url", ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://e.org"]
    )
    def test_loopback_and_https_are_fine(self, url: str, tmp_path: Path) -> None:
        assert self.build(url, tmp_path).name == "receiver"
