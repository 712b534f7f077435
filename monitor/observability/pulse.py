"""Signs of life on a timer of their own: a heartbeat for a dead-man's switch, and a decision that travels the way."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from alerts.outbox import Delivered, Outcome
from alerts.senders.http import HttpPost, outcome_of
from alerts.senders.sender import secrets_in
from monitor.config import HeartbeatConfig
from monitor.decoding.probe import PROBE_DEPLOYMENT, PROBE_POLICY


class Pulse:
    """A thread that does one thing at an interval, and never twice at once."""

    def __init__(self, name: str, interval_ms: int, act: Callable[[], None]) -> None:
        self._interval_s, self._act = interval_ms / 1000, act
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """From now on; the first time after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """No more; what hangs is left to the end of the process."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(2.0)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self._act()


class PulseObserver(Protocol):
    """What is told of each: for metrics and log."""

    def alive(self) -> tuple[bool, str]: ...

    def beat(self, what: str, reason: str) -> None: ...

    def probed(self, sent: bool, reason: str) -> None: ...


@dataclass(slots=True)
class Heartbeat:
    """One call per interval, and only while the loop makes progress: its absence is the alarm."""

    ask: Callable[[], Outcome]
    observer: PulseObserver

    def __call__(self) -> None:
        """Call, or withhold the call and say why."""
        alive, reason = self.observer.alive()
        if not alive:
            self.observer.beat("withheld", reason)
            return
        outcome = self.ask()
        sent = isinstance(outcome, Delivered)
        self.observer.beat("sent" if sent else "failed", "" if sent else getattr(outcome, "reason", ""))


def caller(config: HeartbeatConfig, now_s: Callable[[], float]) -> Callable[[], Outcome]:
    """The request of a heartbeat; raises ReceiverConfigError for an address that must not be called."""
    assert config.url is not None
    url = secrets_in(config.url)[0]
    hosts = [urlsplit(url).hostname or ""] if config.allow_http else []
    post = HttpPost(url, allow_http=hosts, deadline_s=config.timeout_ms / 1000, method=config.method)
    return lambda: outcome_of(post(b"", {}), now_s())


@dataclass(slots=True)
class Probe:
    """Sends a decision of nobody to the decisions topic; the decoder counts it apart, and nothing else does.

    fields: asks for our name -> the log's own, as the config in force renames them for the decoder.
    """

    send: Callable[..., Any]
    topic: str
    now_ms: Callable[[], int]
    observer: PulseObserver
    fields: Callable[[], Mapping[str, str]] = dict
    number: int = 0

    def __call__(self) -> None:
        """One decision; its key walks over the partitions."""
        self.number += 1
        made = decision(self.number, self.now_ms())
        value = json.dumps(_worded(made, self.fields())).encode()
        try:
            self.send(self.topic, value=value, key=str(made["decision_id"]).encode())
        except Exception as error:  # a broker that is away is what the probe is for
            self.observer.probed(False, f"{type(error).__name__}: {error}")
        else:
            self.observer.probed(True, "")


def decision(number: int, now_ms: int) -> Mapping[str, Any]:
    """A whole decision under the reserved name."""
    return {"type": "decision", "decision_id": f"{PROBE_POLICY}-{now_ms}-{number}", "deployment": PROBE_DEPLOYMENT,
            "policy": PROBE_POLICY, "ts": now_ms, "action": 0}  # fmt: skip


def _worded(made: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """The record as the log's own producers would write it: renamed, a dotted path as nested objects."""
    record: dict[str, Any] = {}
    for name, value in made.items():
        *path, last = fields.get(name, name).split(".")
        place = record
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return record
