"""policywatch as its users run it: a config in a folder, `policywatch run` as a process, and what it says."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from kafka import KafkaConsumer, TopicPartition

from monitor.baselines.building import build_baseline
from monitor.config_file import load_config
from monitor.replaying import Observer
from monitor.source import Files
from tests.integration.traffic import DEPLOYMENT, World, events, write_file
from tests.paths import ROOT

T = TypeVar("T")
SECRET = "whsec_" + base64.b64encode(b"a secret of 32 bytes, made up...").decode()
TOPICS = ("decisions", "rewards", "metrics", "signals", "dead_letters")
PATIENCE_S = 40.0  # two busy cores


def until(look: Callable[[], T], within_s: float = PATIENCE_S, what: str = "") -> T:
    """The first true answer; fails when the deadline passes, and says what was seen last."""
    deadline = time.monotonic() + within_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what or look}; last seen: {seen!r}")
        time.sleep(0.05)


class Site:
    """A folder with a config, a baseline and a secret; `write` makes the config anew."""

    def __init__(self, folder: Path, bootstrap: str, topics: dict[str, str], baseline: Path) -> None:
        self.folder, self.topics, self.bootstrap, self.baseline = folder, topics, bootstrap, baseline
        self.path = folder / "policywatch.toml"
        self.state = folder / "state"
        self.group = f"watch-{topics['decisions']}"
        self.webhook = ""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "secret").write_text(SECRET)
        self.write()

    def write(self, source: str = "", deployment: str = "", top: str = "") -> Path:
        """The config; the arguments are further lines of its sections."""
        topics = ", ".join(f'{kind} = "{name}"' for kind, name in self.topics.items())
        servers = "" if "bootstrap_servers" in source else f'bootstrap_servers = ["{self.bootstrap}"]'
        idle = "" if "idle_timeout" in source else 'idle_timeout = "2s"'
        hook = f'[[webhooks]]\nurl = "{self.webhook}"\nsecret_file = "{self.folder}/secret"'
        self.path.write_text(f"""
[source]
{servers}
topics = {{ {topics} }}
group_id = "{self.group}"
{idle}
{source}
[state]
path = "{self.state}"
[http]
port = 0
{hook if self.webhook else ""}
{top}
[deployments.{DEPLOYMENT}]
baseline = "{self.baseline}"
fallback_policy = "rules"
reward_horizon = "5s"
bucket = "1s"
window = "20s"
false_signals = "1 per 1d"
action_envelope = {{ actions = [0, 1, 2, 3] }}
{deployment}
""")
        return self.path


def make_baseline(folder: Path, seconds: int = 240, critic: bool = False) -> Path:
    """A baseline of undisturbed traffic."""
    none = dict.fromkeys(TOPICS, "none")
    site = Site(folder, "none:1", none, folder / "baseline")
    log = write_file(folder / "accepted.jsonl", events(World(seconds, seed=99, critic=critic)))
    build_baseline(load_config(site.path), DEPLOYMENT, Files([str(log)], 1 << 20), site.baseline, Observer())
    return site.baseline


class Process:
    """`policywatch run` on a site's config; the log is read as it grows."""

    def __init__(self, site: Site, name: str = "run", role: str = "all") -> None:
        self.site = site
        self.log_path = site.folder / f"{name}.log"
        with self.log_path.open("wb") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "monitor", "run", "-c", str(site.path), "--role", role],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def text(self) -> str:
        return self.log_path.read_text(errors="replace")

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log lines of one event, so far."""
        lines = [line for line in self.text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [found for found in map(json.loads, lines) if found.get("event") == event]

    def await_log(self, event: str, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """The first log line of an event."""
        return until(lambda: self._alive(self.logged(event)), within_s, f"{event} in {self.log_path}")[0]

    def get(self, route: str) -> tuple[int, str]:
        """Status and body of a GET."""
        port = self.await_log("http_listening")["port"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{route}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self) -> dict[str, Any]:
        """What `/api/v1/status` answers."""
        answer: dict[str, Any] = json.loads(self.get("/api/v1/status")[1])
        return answer

    def await_positions(self, wanted: dict[str, int], within_s: float = PATIENCE_S) -> None:
        """Until each partition is read up to a position."""

        def read() -> bool:
            seen = self._alive(self.status())["partitions"]
            return all(seen.get(name, {}).get("position", 0) >= at for name, at in wanted.items())

        until(read, within_s, f"positions {wanted} of {self.site.folder}")

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def stop(self, within_s: float = 15.0) -> tuple[int, float]:
        """SIGTERM: exit code and how long it took."""
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        return self._popen.wait(within_s), time.monotonic() - began

    def kill(self) -> None:
        """As a power cut."""
        self._popen.kill()
        self._popen.wait()

    def wait(self, within_s: float) -> int:
        """Its exit code, once it has left by itself."""
        return self._popen.wait(within_s)

    def _alive(self, seen: T) -> T:
        assert self.running or seen, f"the daemon left with {self._popen.poll()}: {self.text()[-2000:]}"
        return seen


def read_topic(bootstrap: str, topic: str) -> list[bytes]:
    """Everything that a topic holds now, partition by partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic))]
        ends = consumer.end_offsets(partitions)
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        found: list[bytes] = []
        deadline = time.monotonic() + PATIENCE_S
        while any(consumer.position(p) < ends[p] for p in partitions):
            assert time.monotonic() < deadline, f"{topic} could not be read to its end"
            for records in consumer.poll(timeout_ms=200).values():
                found += [record.value for record in records]
        return found
    finally:
        consumer.close()


def committed(bootstrap: str, group: str, topic: str, partition: int = 0) -> int | None:
    """Where a group stands on the broker."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    try:
        offset: int | None = consumer.committed(TopicPartition(topic, partition))
        return offset
    finally:
        consumer.close()
