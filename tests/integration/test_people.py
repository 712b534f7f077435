"""What people say to the running daemon, and the signs of life that it gives: each goes the whole way."""

import json
import urllib.request
from urllib.error import HTTPError

import pytest
from kafka import KafkaProducer

from monitor.cli import main
from monitor.control.commanding import ROUTE
from tests.contracts.http_receiver import HttpReceiver, http_receiver
from tests.integration.conftest import MakeSite
from tests.integration.running import Process, Site, until
from tests.integration.traffic import World, events, produce

pytestmark = pytest.mark.kafka

APPROVED = """
closed_loop = "off"
[deployments.shop.rules.reward]
approval = true
"""


def test_a_fallback_waits_for_approval_through_a_death_and_every_word_is_in_the_audit_log(
    make_site: MakeSite, producer: KafkaProducer, receiver: HttpReceiver, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_site()
    site.webhook = receiver.url
    site.write(deployment=APPROVED)
    _guarded(site)
    produce(producer, site.topics, events(World(40, change_s=20)))
    with Process(site, "first") as first:
        (waits,) = until(lambda: first.status()["desk"].get("waiting"), what="a fallback that waits")
        first.kill()
    with Process(site, "second") as second:
        until(lambda: second.status()["desk"].get("waiting"), what="it waits still")
        assert waits["id"] not in _told(receiver)
        assert _posted(second, {"do": "approve", "by": "eve", "target": waits["id"]}) == 401
        until(lambda: "approval" in _told(receiver).values(), what="the page that asks")
        assert _said(site, second, "ack", _page(receiver)) == 0
        assert _said(site, second, "silence", "--match", "rule=reward", "--for", "1h", "--why", "known") == 0
        assert _said(site, second, "reject", "sig_of_nobody") == 1
        assert _said(site, second, "approve", waits["id"]) == 0  # a silence stops no safety signal
        until(lambda: waits["id"] in _told(receiver), what="the fallback at the webhook")
        assert second.stop()[0] == 0
    capsys.readouterr()
    assert main(["signals", "audit", "-c", str(site.path), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    said = [(line["what"], line["who"]) for line in lines]
    assert ("approval_asked", "policywatch") in said
    assert [one for one in said if one[1] == "ann"] == [
        ("acknowledged", "ann"), ("silenced", "ann"), ("approved", "ann")
    ]  # fmt: skip
    assert main(["signals", "audit", "-c", str(site.path), "--verify"]) == 0


def test_heartbeats_go_out_and_probes_come_through_while_the_daemon_runs(
    make_site: MakeSite, producer: KafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(partitions=2)
    with http_receiver() as switch:
        monkeypatch.setenv("HEARTBEAT_URL", f"{switch.url}/beat")
        site.write(
            top='[heartbeat]\nurl = "${HEARTBEAT_URL}"\ninterval = "300ms"\n[probe]\ninterval = "300ms"'
        )
        produce(producer, site.topics, events(World(5)), 2)
        with Process(site) as running:
            until(lambda: len(switch.requests) >= 3, what="three heartbeats")
            until(
                lambda: _metric(running, "probes_received_total") >= 3, what="three probes that came through"
            )
            assert 0 <= _metric(running, "probe_age_seconds") < 10
            assert running.status()["rejected"] == {}
            assert running.stop()[0] == 0
    assert {request.path for request in switch.requests} == {"/beat"}


def _guarded(site: Site) -> None:
    (site.folder / "token").write_text("a-token\n")
    text = site.path.read_text()
    site.path.write_text(text.replace("port = 0", f'port = 0\ntoken_file = "{site.folder}/token"'))


def _said(site: Site, running: Process, *words: str) -> int:
    port = running.await_log("http_listening")["port"]
    where = ["-c", str(site.path), "--address", f"http://127.0.0.1:{port}", "--by", "ann"]
    return main(["signals", *words, *where])


def _posted(running: Process, body: dict[str, str]) -> int:
    port = running.await_log("http_listening")["port"]
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}{ROUTE}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def _told(receiver: HttpReceiver) -> dict[str, str]:
    """Rule by id of what the webhook was told."""
    data = [json.loads(request.body)["data"] for request in receiver.requests]
    return {one["id"]: one["rule"] for one in data}


def _page(receiver: HttpReceiver) -> str:
    return next(name for name, rule in _told(receiver).items() if rule == "approval")


def _metric(running: Process, name: str) -> float:
    lines = running.get("/metrics")[1].splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"policywatch_{name} ")), -1.0)
