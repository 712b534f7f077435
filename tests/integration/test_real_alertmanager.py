"""A real Alertmanager on loopback receives, groups and resolves our alerts."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from alerts.outbox import Delivered, Refused
from alerts.senders.alertmanager import AlertmanagerSender
from alerts.signal import Signal
from tests.contracts.http_receiver import HttpReceiver, http_receiver
from tests.unit.alerts.build import entry, signal

CONFIG = """
route: {receiver: hook, group_by: [deployment], group_wait: 200ms, group_interval: 300ms, repeat_interval: 1h}
receivers: [{name: hook, webhook_configs: [{url: "URL", send_resolved: true}]}]
"""


@pytest.fixture
def hook() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def alertmanager(hook: HttpReceiver, tmp_path: Path) -> Iterator[str]:
    """Its URL. The binary is `$ALERTMANAGER`, or the one of Debian's package, or upstream's."""
    names = (os.environ.get("ALERTMANAGER", ""), "prometheus-alertmanager", "alertmanager")
    binary = next((found for name in names if name and (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip("no Alertmanager: install Debian's prometheus-alertmanager, or set ALERTMANAGER")
    (tmp_path / "am.yml").write_text(CONFIG.replace("URL", hook.url))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = [
        f"--config.file={tmp_path}/am.yml",
        f"--storage.path={tmp_path}/data",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with (tmp_path / "am.log").open("w") as log:
        process = subprocess.Popen([binary, *arguments], stdout=log, stderr=log)
        try:
            assert until(lambda: ready(address)), (tmp_path / "am.log").read_text()
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(10)


def ready(address: str) -> bool:
    try:
        return urllib3.request("GET", f"http://{address}/-/ready", retries=False, timeout=1).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def until(true: Callable[[], bool], within_s: float = 15.0) -> bool:
    deadline = time.monotonic() + within_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


def notified(hook: HttpReceiver) -> list[Any]:
    return [json.loads(request.body) for request in hook.requests]


def now_ms() -> int:
    return int(time.time() * 1000)


def told(sender: AlertmanagerSender, *signals: Signal) -> None:
    for each in signals:
        assert sender.send(entry(each), time.time()) == Delivered()


def test_alert_fires_once_is_kept_by_refreshes_and_resolves_once(
    alertmanager: str, hook: HttpReceiver
) -> None:
    sender = AlertmanagerSender("am", alertmanager)
    told(sender, signal(time_ms=now_ms() - 5_000))
    assert until(lambda: len(hook.requests) == 1)
    sender.refresh(time.time() + 61)
    listed = urllib3.request("GET", f"{alertmanager}/api/v2/alerts").json()
    assert [(each["labels"]["policy"], each["status"]["state"]) for each in listed] == [("v42", "active")]
    told(sender, signal(id="later", state="resolved", time_ms=now_ms(), generation=8))
    assert until(lambda: len(hook.requests) == 2)
    assert [each["status"] for each in notified(hook)] == ["firing", "resolved"]
    assert notified(hook)[0]["alerts"][0]["annotations"]["what_was_done"].startswith("home-ranker was told")


def test_alerts_of_one_deployment_are_one_notification(alertmanager: str, hook: HttpReceiver) -> None:
    sender = AlertmanagerSender("am", alertmanager)
    told(sender, *(signal(id=rule, rule=rule, time_ms=now_ms()) for rule in ("reward", "state", "actions")))
    assert until(lambda: sum(len(each["alerts"]) for each in notified(hook)[-1:]) == 3)
    assert {each["groupLabels"]["deployment"] for each in notified(hook)} == {"home-ranker"}


def test_alert_that_resolves_in_the_millisecond_it_fired_is_accepted(alertmanager: str) -> None:
    sender = AlertmanagerSender("am", alertmanager)
    at_ms = now_ms()
    told(sender, signal(time_ms=at_ms), signal(id="later", state="resolved", time_ms=at_ms))
    assert until(lambda: urllib3.request("GET", f"{alertmanager}/api/v2/alerts").json() == [])


def test_names_that_alertmanager_might_dislike_are_accepted(alertmanager: str) -> None:
    sender = AlertmanagerSender("am", alertmanager)
    odd = signal(deployment='höme ranker/"1"', policy="", rule="state divergence: KL\n", subject="{x}=~")
    assert not isinstance(sender.send(entry(odd), time.time()), Refused)
