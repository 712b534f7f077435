"""What PagerDuty, Alertmanager and chat are told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from alerts.outbox import Delivered, Refused
from alerts.senders.alertmanager import KEEP_MS, REFRESH_MS, REFRESH_RETRY_MS, AlertmanagerSender, alert
from alerts.senders.chat import message
from alerts.senders.pagerduty import PagerDutySender, event
from alerts.senders.sender import Refreshing
from alerts.signal import from_rfc3339
from tests.contracts.http_receiver import HttpReceiver, Reply, http_receiver
from tests.unit.alerts.build import EVIDENCE, NOW_MS, entry, signal

NOW_S = NOW_MS / 1000


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def pagerduty(receiver: HttpReceiver, tmp_path: Path) -> PagerDutySender:
    (tmp_path / "key").write_text("R0UT1NGKEY\n")
    return PagerDutySender("oncall", tmp_path / "key", base_url=receiver.url)


@pytest.fixture
def alertmanager(receiver: HttpReceiver) -> AlertmanagerSender:
    return AlertmanagerSender("am", receiver.url, labels={"team": "rl"})


def bodies(receiver: HttpReceiver) -> list[Any]:
    return [json.loads(request.body) for request in receiver.requests]


def test_pagerduty_is_told_trigger_acknowledge_resolve_under_one_key(
    pagerduty: PagerDutySender, receiver: HttpReceiver
) -> None:
    pagerduty.send(entry(signal()), NOW_S)
    pagerduty.send(entry(signal(), signal_id=signal().acknowledgement, safety=False), NOW_S)
    pagerduty.send(entry(signal(id="later", state="resolved", generation=8)), NOW_S)
    told = bodies(receiver)
    assert [each["event_action"] for each in told] == ["trigger", "acknowledge", "resolve"]
    assert {each["dedup_key"] for each in told} == {"home-ranker/v42/reward/"}
    assert {each["routing_key"] for each in told} == {"R0UT1NGKEY"}
    assert {request.path for request in receiver.requests} == {"/v2/enqueue"}


def test_pagerduty_trigger_says_everything() -> None:
    told = event(signal(), "trigger", "KEY", "https://wiki.example.org/runbook")
    payload = told["payload"]
    assert payload["summary"].startswith("FIRING home-ranker: fallback from v42 (reward): Mean reward 0.412")
    assert (payload["severity"], payload["source"]) == ("critical", "home-ranker")
    assert payload["timestamp"] == "2024-05-01T12:00:00.000Z"
    assert payload["custom_details"]["What was done"].startswith("home-ranker was told to serve rules-v3")
    assert told["links"] == [{"href": "https://wiki.example.org/runbook#reward", "text": "Runbook"}]


def test_pagerduty_limits_are_kept_whatever_the_signal() -> None:
    huge = signal(
        deployment="d" * 5_000,
        rule="r" * 5_000,
        reason="é" * 100_000,
        evidence=replace(EVIDENCE, culprits=tuple("c" * 1_000 for _ in range(10_000))),
    )
    told = event(huge, "trigger", "KEY")
    assert len(told["payload"]["summary"]) == 1_024
    assert len(told["dedup_key"]) <= 255
    assert len(json.dumps(told)) < 512_000


@pytest.mark.parametrize(("status", "permanent"), [(400, True), (403, False)])
def test_pagerduty_event_that_is_wrong_is_not_sent_again(
    pagerduty: PagerDutySender, receiver: HttpReceiver, status: int, permanent: bool
) -> None:
    receiver.script = [Reply(status, body=b'{"status":"invalid event"}')]
    outcome = pagerduty.send(entry(), NOW_S)
    assert isinstance(outcome, Refused)
    assert outcome.permanent is permanent


def test_pagers_are_not_woken_by_dry_runs(
    pagerduty: PagerDutySender, alertmanager: AlertmanagerSender
) -> None:
    assert not pagerduty.accepts(signal(dry_run=True))
    assert not alertmanager.accepts(signal(dry_run=True))


def test_pagerduty_is_not_woken_by_a_promotion(pagerduty: PagerDutySender) -> None:
    assert [
        kind for kind in ("page", "hold", "promote", "retrain") if pagerduty.accepts(signal(kind=kind))
    ] == [
        "page",
        "hold",
    ]


def test_alertmanager_alert_is_the_same_one_firing_and_resolved() -> None:
    firing = alert(signal(), NOW_MS, {"team": "rl"})
    resolved = alert(signal(id="later", state="resolved", generation=8), NOW_MS, {"team": "rl"})
    assert (
        firing["labels"]
        == resolved["labels"]
        == {
            "team": "rl",
            "alertname": "policywatch_reward",
            "deployment": "home-ranker",
            "policy": "v42",
            "rule": "reward",
            "kind": "fallback",
            "severity": "critical",
        }
    )


def test_alertmanager_end_is_far_while_firing_and_past_when_resolved() -> None:
    firing = alert(signal(), NOW_MS, {})
    assert (firing["startsAt"], from_rfc3339(str(firing["endsAt"]))) == (
        "2024-05-01T12:00:00.000Z",
        NOW_MS + KEEP_MS,
    )
    ahead = alert(signal(state="resolved", time_ms=NOW_MS + 60_000), NOW_MS, {})
    assert from_rfc3339(str(ahead["endsAt"])) == NOW_MS


def test_alertmanager_is_told_again_every_minute_while_firing(
    alertmanager: AlertmanagerSender, receiver: HttpReceiver
) -> None:
    assert isinstance(alertmanager, Refreshing)
    assert alertmanager.refresh_due(NOW_MS) is None
    alertmanager.send(entry(), NOW_S)
    assert alertmanager.refresh_due(NOW_MS) == REFRESH_MS
    for minute in (1, 2, 3):
        now_ms = NOW_MS + minute * REFRESH_MS
        assert alertmanager.refresh_due(now_ms) == 0
        assert alertmanager.refresh(now_ms / 1000) == Delivered()
        assert alertmanager.refresh_due(now_ms) == REFRESH_MS
    ends = [from_rfc3339(body[0]["endsAt"]) for body in bodies(receiver)]
    assert ends == [NOW_MS + minute * REFRESH_MS + KEEP_MS for minute in range(4)]


def test_alertmanager_is_told_of_the_end_once(
    alertmanager: AlertmanagerSender, receiver: HttpReceiver
) -> None:
    alertmanager.send(entry(), NOW_S)
    alertmanager.send(entry(signal(id="later", state="resolved")), NOW_S)
    assert alertmanager.refresh_due(NOW_MS + REFRESH_MS) is None
    assert len(receiver.requests) == 2


def test_refresh_that_fails_is_tried_again_soon(
    alertmanager: AlertmanagerSender, receiver: HttpReceiver
) -> None:
    alertmanager.send(entry(), NOW_S)
    receiver.script = [Reply(503)]
    now_ms = NOW_MS + REFRESH_MS
    alertmanager.refresh(now_ms / 1000)
    assert alertmanager.refresh_due(now_ms) == REFRESH_RETRY_MS


def test_alertmanager_not_told_of_the_end_goes_on_refreshing(
    alertmanager: AlertmanagerSender, receiver: HttpReceiver
) -> None:
    alertmanager.send(entry(), NOW_S)
    receiver.script = [Reply(503)]
    alertmanager.send(entry(signal(id="later", state="resolved")), NOW_S)
    assert alertmanager.refresh_due(NOW_MS) is not None


def test_firing_alerts_are_refreshed_at_once_after_a_restart(
    alertmanager: AlertmanagerSender, receiver: HttpReceiver
) -> None:
    alertmanager.resume([signal(), signal(policy="v41", state="resolved")], NOW_MS)
    assert alertmanager.refresh_due(NOW_MS) == 0
    alertmanager.refresh(NOW_S)
    assert [each["labels"]["policy"] for each in bodies(receiver)[0]] == ["v42"]


def test_chat_shows_the_page_and_rings_nobody_by_a_name() -> None:
    told = message(signal(reason="Feature <!channel> & friends moved."))
    text = json.dumps(told)
    assert "<!channel>" not in text
    assert "&lt;!channel&gt; &amp; friends" in text
    assert str(told["text"]).startswith("FIRING home-ranker: fallback from v42 (reward): ")


def test_chat_limits_are_kept() -> None:
    told: Any = message(signal(deployment="d" * 5_000, reason="&" * 50_000))
    assert len(told["blocks"][0]["text"]["text"]) <= 150
    assert all(len(block["text"]["text"]) <= 3_000 for block in told["blocks"])
