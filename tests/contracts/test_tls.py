"""https as in production: a certificate that is not trusted is not sent to."""

import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.outbox import Delivered, Retry
from alerts.senders.webhook import WebhookSender
from tests.contracts.http_receiver import HttpReceiver, Reply
from tests.contracts.senders_suite import SECRET
from tests.unit.alerts.build import entry


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for localhost, with its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command: install it to test https")
    path = tmp_path / "cert.pem"
    subprocess.run(
        [
            *[
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ],
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(tmp_path / "key.pem"), "-out", str(path)),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + (tmp_path / "key.pem").read_text())
    return path


@pytest.fixture
def receiver(certificate: Path) -> Iterator[HttpReceiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    receiver = HttpReceiver(context)
    yield receiver
    receiver.close()


def sender(url: str, folder: Path, ca_file: Path | None = None) -> WebhookSender:
    (folder / "secret").write_text(SECRET)
    return WebhookSender("serving", url, folder / "secret", ca_file=ca_file, deadline_s=2.0)


def test_certificate_that_is_not_trusted_is_a_retry_that_says_so(
    receiver: HttpReceiver, tmp_path: Path
) -> None:
    outcome = sender(receiver.url, tmp_path).send(entry(), time.time())
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("TLS failed")
    assert receiver.requests == []


def test_certificate_of_a_private_authority_is_trusted_when_configured(
    receiver: HttpReceiver, tmp_path: Path, certificate: Path
) -> None:
    assert sender(receiver.url, tmp_path, certificate).send(entry(), time.time()) == Delivered()
    assert len(receiver.requests) == 1


def test_certificate_of_another_host_is_refused(
    receiver: HttpReceiver, tmp_path: Path, certificate: Path
) -> None:
    url = receiver.url.replace("localhost", "127.0.0.1")
    outcome = sender(url, tmp_path, certificate).send(entry(), time.time())
    assert isinstance(outcome, Retry)
    assert receiver.requests == []


def test_receiver_that_drips_over_tls_is_left_within_the_deadline(
    receiver: HttpReceiver, tmp_path: Path, certificate: Path
) -> None:
    receiver.script = [Reply(drip_s=5)]
    start = time.monotonic()
    outcome = sender(receiver.url, tmp_path, certificate).send(entry(), time.time())
    assert outcome == Retry(None, "no answer within 2 s")
    assert time.monotonic() - start < 3.5
