"""`policywatch test-send`: every receiver is tried by the way of a real signal, and says what it answered."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from monitor.cli import main
from tests.contracts.http_receiver import HttpReceiver, Reply

SECRET = "whsec_" + "c2VjcmV0" * 4


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    made = HttpReceiver()
    yield made
    made.close()


def config(tmp_path: Path, url: str) -> str:
    (tmp_path / "secret").write_text(SECRET)
    path = tmp_path / "c.toml"
    path.write_text(
        f"""
[source]
kind = "files"
[deployments.home]
fallback_policy = "r"
[[webhooks]]
url = "{url}/hook"
secret_file = "{tmp_path}/secret"
kinds = ["fallback", "rollback"]
[[pagerduty]]
url = "{url}"
routing_key_file = "{tmp_path}/secret"
[[alertmanager]]
url = "{url}"
"""
    )
    return str(path)


def test_every_receiver_gets_a_marked_test_and_its_end(
    tmp_path: Path, receiver: HttpReceiver, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test-send", "-c", config(tmp_path, receiver.url), "--json"]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {one["receiver"]: one["outcome"] for one in said} == {
        "log": "delivered", "webhook-1": "delivered", "pagerduty-1": "delivered", "alertmanager-1": "delivered"
    }  # fmt: skip
    hooks = [request for request in receiver.requests if request.path == "/hook"]
    first, last = (Webhook(SECRET).verify(request.body, request.headers)["data"] for request in hooks)
    assert (first["kind"], first["state"], first["dry_run"], first["rule"]) == (
        "fallback",
        "firing",
        True,
        "test",
    )
    assert (last["state"], last["dry_run"]) == ("resolved", True)
    pages = [json.loads(r.body)["event_action"] for r in receiver.requests if r.path == "/v2/enqueue"]
    assert pages == ["trigger", "resolve"]


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [(Reply(status=401), "refused"), (Reply(status=503), "retry"), (Reply(status=410), "disabled")],
)
def test_a_receiver_that_does_not_take_it_is_named_and_the_exit_code_is_3(
    tmp_path: Path, receiver: HttpReceiver, capsys: pytest.CaptureFixture[str], reply: Reply, outcome: str
) -> None:
    receiver.script = [reply]
    assert main(["test-send", "-c", config(tmp_path, receiver.url), "--receiver", "webhook-1"]) == 3
    assert capsys.readouterr().out.split()[:2] == ["webhook-1", outcome]
    assert len(receiver.requests) == 1


def test_nobody_there_is_3_and_an_unknown_name_is_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config(tmp_path, "http://127.0.0.1:9")
    assert main(["test-send", "-c", path, "--receiver", "webhook-1"]) == 3
    assert main(["test-send", "-c", path, "--receiver", "webhook-7"]) == 2
    assert "there are log, webhook-1, pagerduty-1, alertmanager-1" in capsys.readouterr().out
