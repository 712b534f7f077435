"""The webhook against Standard Webhooks' own verification and against the reference receiver."""

import importlib.util
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest
import urllib3
from standardwebhooks import Webhook, WebhookVerificationError

from alerts.outbox import Delivered, Retry
from alerts.senders.sender import ReceiverConfigError
from alerts.senders.webhook import MAX_BODY_BYTES, WebhookSender, fitted
from alerts.signal import Signal, cloudevent, parse
from tests.contracts.http_receiver import HttpReceiver, Request, http_receiver
from tests.contracts.senders_suite import SECRET
from tests.paths import ROOT
from tests.unit.alerts.build import EVIDENCE, entry, signal

OLD_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
STRANGER = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk"


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    return path


def sent(receiver: HttpReceiver, secret_file: Path, now_s: float | None = None) -> Request:
    sender = WebhookSender("serving", receiver.url, secret_file)
    assert sender.send(entry(), time.time() if now_s is None else now_s) == Delivered()
    return receiver.requests[-1]


def test_the_library_itself_accepts_the_request(receiver: HttpReceiver, secret_file: Path) -> None:
    request = sent(receiver, secret_file)
    event = Webhook(SECRET).verify(request.body, request.headers)
    assert event["data"]["kind"] == "fallback"
    assert request.headers["webhook-id"] == event["id"]


def test_signature_is_the_one_of_the_specification(receiver: HttpReceiver, secret_file: Path) -> None:
    """HMAC-SHA256 over `id.timestamp.body`, worked without the library."""
    import base64
    import hashlib
    import hmac

    request = sent(receiver, secret_file, 1_714_564_800.9)
    signed = f"{entry().signal_id}.1714564800.".encode() + entry().payload
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{mac}"
    assert request.headers["webhook-timestamp"] == "1714564800"


def test_tampered_body_is_refused(receiver: HttpReceiver, secret_file: Path) -> None:
    request = sent(receiver, secret_file)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.body.replace(b"rules-v3", b"rules-v4"), request.headers)


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_tampered_header_is_refused(receiver: HttpReceiver, secret_file: Path, header: str) -> None:
    request = sent(receiver, secret_file)
    other = {
        "webhook-id": "sig_0",
        "webhook-timestamp": str(int(time.time()) + 7),
        "webhook-signature": "v1,AAAA",
    }
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.body, request.headers | {header: other[header]})


@pytest.mark.parametrize("skew_s", [-310, 310])
def test_timestamp_beyond_the_tolerance_is_refused(
    receiver: HttpReceiver, secret_file: Path, skew_s: int
) -> None:
    request = sent(receiver, secret_file, time.time() + skew_s)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.body, request.headers)


def test_retry_has_the_same_id_and_body_and_a_fresh_timestamp(
    receiver: HttpReceiver, secret_file: Path
) -> None:
    first, second = (sent(receiver, secret_file, now_s) for now_s in (1_714_564_800.0, 1_714_564_860.0))
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]


def test_during_a_rotation_holders_of_either_secret_accept(receiver: HttpReceiver, secret_file: Path) -> None:
    sender = WebhookSender("serving", receiver.url, secret_file)
    secret_file.write_text(f"# rotated on Monday\n{SECRET}\n{OLD_SECRET}\n")
    assert sender.send(entry(), time.time()) == Delivered()
    request = receiver.requests[-1]
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OLD_SECRET):
        Webhook(secret).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(STRANGER).verify(request.body, request.headers)


def test_secret_that_vanishes_is_a_retry_and_nothing_is_sent_unsigned(
    receiver: HttpReceiver, secret_file: Path
) -> None:
    sender = WebhookSender("serving", receiver.url, secret_file)
    secret_file.unlink()
    outcome = sender.send(entry(), time.time())
    assert isinstance(outcome, Retry)
    assert receiver.requests == []


@pytest.mark.parametrize("text", ["", "\n# none\n", "whsec_c2hvcnQ=", "whsec_=", "not base64 é"])
def test_bad_secret_is_refused_when_built_and_not_repeated_in_the_message(
    text: str, secret_file: Path
) -> None:
    secret_file.write_text(text)
    with pytest.raises(ReceiverConfigError) as refused:
        WebhookSender("serving", "https://serving.example.org/hook", secret_file)
    assert "c2hvcnQ" not in str(refused.value)
    assert "base64 é" not in str(refused.value)


def test_kinds_and_dry_runs_are_chosen_by_the_config(secret_file: Path) -> None:
    url = "https://serving.example.org/hook"
    sender = WebhookSender("serving", url, secret_file, kinds=["fallback"], dry_run=False)
    assert sender.accepts(signal())
    assert not sender.accepts(signal(kind="page"))
    assert not sender.accepts(signal(dry_run=True))
    assert WebhookSender("serving", url, secret_file).accepts(signal(dry_run=True))


def test_plain_http_is_sent_to_hosts_allowed_by_name_only(secret_file: Path) -> None:
    assert WebhookSender("s", "http://serving:80/hook", secret_file, allow_http=["serving"]).name == "s"
    with pytest.raises(ReceiverConfigError, match="plain http to other"):
        WebhookSender("s", "http://other:80/hook", secret_file, allow_http=["serving"])


def wide(culprits: int, reason: str = "short") -> Signal:
    from msgspec.structs import replace

    names = tuple(f"feature number {i}" for i in range(culprits))
    return signal(reason=reason, evidence=replace(EVIDENCE, culprits=names))


def test_small_body_is_left_alone() -> None:
    assert fitted(cloudevent(wide(10))) == cloudevent(wide(10))


def test_large_body_loses_the_culprits_that_contribute_least() -> None:
    body = fitted(cloudevent(wide(5_000)))
    assert body is not None
    assert len(body) <= MAX_BODY_BYTES
    kept = parse(body).evidence.culprits
    assert kept == wide(5_000).evidence.culprits[: len(kept)]
    assert len(kept) > 100


def test_endless_reason_is_cut_last_and_nothing_else_is_lost() -> None:
    body = fitted(cloudevent(wide(10, reason="é" * 30_000)))
    assert body is not None
    assert len(body) <= MAX_BODY_BYTES
    assert parse(body).to_policy == "rules-v3"
    assert parse(body).reason.endswith("…")


def test_body_that_cannot_be_made_to_fit_is_not_sent() -> None:
    assert fitted(cloudevent(signal(policy="p" * 30_000))) is None


@pytest.fixture
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("receiver", ROOT / "deploy" / "examples" / "receiver.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Serving:
    """The reference receiver, listening, and a daemon's webhook that talks to it."""

    def __init__(self, example: ModuleType, secret_file: Path) -> None:
        self.receiver = example.Receiver(SECRET)
        handler = type(
            "Handler", (example.Handler,), {"receiver": self.receiver, "log_message": lambda *_: None}
        )
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.sender = WebhookSender("serving", self.url, secret_file)

    def told(self, told: Signal, at_s: float | None = None) -> object:
        return self.sender.send(entry(told), time.time() if at_s is None else at_s)

    def post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        answer = urllib3.request("POST", self.url, body=body, headers=headers, retries=False)
        return answer.status, answer.data.decode()


@pytest.fixture
def serving(example: ModuleType, secret_file: Path) -> Iterator[Serving]:
    serving = Serving(example, secret_file)
    yield serving
    serving.server.shutdown()
    serving.server.server_close()


def fresh(**changes: object) -> Signal:
    return signal(**({"expires_at_ms": int(time.time() * 1000) + 60_000} | changes))


def test_reference_receiver_serves_the_fallback(serving: Serving) -> None:
    assert serving.told(fresh()) == Delivered()
    assert serving.receiver.serving == {"home-ranker": "rules-v3"}


def test_reference_receiver_acts_once_on_a_repeated_id(serving: Serving) -> None:
    serving.told(fresh())
    serving.receiver.serving["home-ranker"] = "v43, chosen by a person since"
    assert serving.told(fresh()) == Delivered()
    assert serving.receiver.serving["home-ranker"] == "v43, chosen by a person since"


def test_reference_receiver_refuses_an_old_generation(serving: Serving) -> None:
    serving.told(fresh(id="new", generation=9, to_policy="rules-v9"))
    assert serving.told(fresh(id="old", generation=8, to_policy="rules-v8")) == Delivered()
    assert serving.receiver.serving["home-ranker"] == "rules-v9"


def test_generations_of_deployments_are_apart(serving: Serving) -> None:
    serving.told(fresh(id="a", deployment="a", generation=9))
    serving.told(fresh(id="b", deployment="b", generation=1))
    assert set(serving.receiver.serving) == {"a", "b"}


@pytest.mark.parametrize(
    "changes",
    [{"dry_run": True}, {"kind": "page"}, {"state": "resolved"}, {"expires_at_ms": 1}, {"to_policy": None}],
)
def test_reference_receiver_does_not_switch_for(serving: Serving, changes: dict[str, object]) -> None:
    assert serving.told(fresh(**changes)) == Delivered()
    assert serving.receiver.serving == {}


def test_reference_receiver_acts_on_what_came_too_late_and_is_sent_again_with_a_fresh_life(
    serving: Serving,
) -> None:
    assert serving.told(fresh(expires_at_ms=1)) == Delivered()
    assert serving.told(fresh(generation=fresh().generation + 1)) == Delivered()
    assert serving.receiver.serving == {"home-ranker": "rules-v3"}


@pytest.mark.parametrize("skew_s", [-310, 310])
def test_reference_receiver_refuses_a_skewed_request(serving: Serving, skew_s: int) -> None:
    assert serving.told(fresh(), time.time() + skew_s) != Delivered()
    assert serving.receiver.serving == {}


def test_reference_receiver_ignores_a_replayed_and_refuses_a_tampered_request(serving: Serving) -> None:
    body, moment = cloudevent(fresh()), datetime.now(UTC)
    headers = {
        "webhook-id": fresh().id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(fresh().id, moment, body.decode()),
    }
    assert serving.post(body.replace(b"rules-v3", b"rules-v4"), headers)[0] == 401
    assert serving.post(body, headers) == (200, "applied")
    assert serving.post(body, headers) == (200, "repeated")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"webhook-id": "x", "webhook-timestamp": "now", "webhook-signature": "v1,AAAA"},
        {"webhook-id": "x", "webhook-timestamp": str(int(time.time())), "webhook-signature": "nonsense"},
    ],
)
@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", json.dumps({"data": 1}).encode()])
def test_reference_receiver_survives_nonsense(serving: Serving, body: bytes, headers: dict[str, str]) -> None:
    assert serving.post(body, headers)[0] == 401
