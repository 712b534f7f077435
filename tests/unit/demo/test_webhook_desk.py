"""The serving layer's desk obeys a signed fallback, once, and nothing else."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from monitor.demo.children import post_forged
from monitor.demo.traffic import DEPLOYMENT
from monitor.demo.webhook_desk import WebhookDesk

SECRET = "whsec_" + base64.b64encode(b"a secret of 32 bytes, made up...").decode()


class Site:
    """A desk that listens, and what it told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.desk = WebhookDesk(SECRET, self.told.append)
        self.desk.start()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.desk.stop()


def test_signed_fallback_is_served_and_told(site: Site) -> None:
    assert _post(site, _signal("one", generation=5)) == (200, "applied")
    assert site.desk.serving == {DEPLOYMENT: "rules-v3"}
    assert [(line["event"], line["verdict"]) for line in site.told] == [("signal", "applied")]


def test_forged_fallback_is_refused_and_changes_nothing(site: Site) -> None:
    body = json.dumps(_signal("forged", generation=9)).encode()
    assert post_forged(site.desk.port, body) == 401
    assert site.desk.serving == {}
    assert [line["event"] for line in site.told] == ["refused"]


def test_repeat_and_old_generation_are_refused(site: Site) -> None:
    _post(site, _signal("new", generation=5, to_policy="rules-v3"))
    assert _post(site, _signal("new", generation=5, to_policy="rules-v3")) == (200, "repeated")
    assert _post(site, _signal("old", generation=4, to_policy="v41")) == (200, "old")
    assert site.desk.serving == {DEPLOYMENT: "rules-v3"}


def test_page_is_noted_and_serving_goes_on(site: Site) -> None:
    assert _post(site, _signal("page", generation=5, kind="page")) == (200, "noted")
    assert site.desk.serving == {}


def _signal(
    name: str, generation: int, kind: str = "fallback", to_policy: str = "rules-v3"
) -> dict[str, Any]:
    expires = datetime.now(UTC) + timedelta(hours=1)
    return {"data": {"id": name, "deployment": DEPLOYMENT, "kind": kind, "state": "firing", "to_policy": to_policy,
                     "generation": generation, "expires_at": expires.isoformat(), "dry_run": False}}  # fmt: skip


def _post(site: Site, signal: dict[str, Any]) -> tuple[int, str]:
    body, now = json.dumps(signal), datetime.now(UTC)
    name = signal["data"]["id"]
    headers = {"webhook-id": name, "webhook-timestamp": str(int(now.timestamp())),
               "webhook-signature": Webhook(SECRET).sign(name, now, body)}  # fmt: skip
    request = urllib.request.Request(
        f"http://127.0.0.1:{site.desk.port}/", body.encode(), headers, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
