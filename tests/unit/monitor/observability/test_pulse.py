"""Signs of life: a heartbeat only while there is progress, and a probe that nothing counts."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from alerts.outbox import Delivered, Outcome, Retry
from monitor.batch import Kind
from monitor.config import HeartbeatConfig
from monitor.observability.pulse import Heartbeat, Probe, Pulse, caller
from monitor.observability.telemetry import Telemetry
from monitor.observability.watch import UNSAVED_MS, Watch
from monitor.source import Records
from tests.contracts.http_receiver import HttpReceiver, Reply
from tests.unit.monitor.configs import config, faults
from tests.unit.monitor.observability.test_watch import HandClock, Journal
from tests.unit.monitor.worlds import T0, World, decision, small


@dataclass
class Notes:
    life: tuple[bool, str] = (True, "")
    beats: list[tuple[str, str]] = field(default_factory=list)
    probes: list[tuple[bool, str]] = field(default_factory=list)

    def alive(self) -> tuple[bool, str]:
        return self.life

    def beat(self, what: str, reason: str) -> None:
        self.beats.append((what, reason))

    def probed(self, sent: bool, reason: str) -> None:
        self.probes.append((sent, reason))


def test_a_heartbeat_is_withheld_without_progress_and_tells_how_a_call_went() -> None:
    answers: list[Outcome] = [Retry(None, "HTTP 500"), Delivered()]
    notes = Notes()
    beat = Heartbeat(lambda: answers.pop(0), notes)
    beat()
    beat()
    notes.life = (False, "the main loop has not turned")
    beat()
    assert notes.beats == [("failed", "HTTP 500"), ("sent", ""), ("withheld", "the main loop has not turned")]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_call_goes_to_the_address_of_the_secret(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = HttpReceiver()
    receiver.script = [Reply(), Reply(status=503)]
    try:
        monkeypatch.setenv("HEARTBEAT_URL", f"{receiver.url}/ping/s3cret")
        made = config(heartbeat={"url": "${HEARTBEAT_URL}", "method": method}).heartbeat
        ask = caller(made, lambda: 0.0)
        assert isinstance(ask(), Delivered)
        assert isinstance(ask(), Retry)
        assert [request.path for request in receiver.requests] == ["/ping/s3cret"] * 2
    finally:
        receiver.close()


def test_progress_is_turning_and_connected_and_saved() -> None:
    clock = HandClock()
    watch = Watch(Telemetry(), Journal(), clock, "hash")
    watch.looped()
    assert watch.alive() == (False, "the source is not connected")
    watch.connected(True)
    assert watch.alive() == (False, "the main loop has not turned")
    watch.looped()
    assert watch.alive() == (True, "")
    assert watch.alive() == (False, "the main loop has not turned")
    watch.fed("d/0", 3, 3)
    clock.ms += UNSAVED_MS + 1
    watch.looped()
    assert watch.alive() == (False, "nothing could be saved")
    watch.saved(1.0, 10)
    watch.looped()
    assert watch.alive() == (True, "")


def test_a_pulse_repeats_until_it_is_stopped() -> None:
    beats: list[float] = []
    pulse = Pulse("test", 5, lambda: beats.append(time.monotonic()))
    pulse.start()
    deadline = time.monotonic() + 5
    while len(beats) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    pulse.stop()
    seen = len(beats)
    assert seen >= 3
    time.sleep(0.05)
    assert len(beats) == seen


@dataclass
class Topic:
    records: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    broken: bool = False

    def send(self, topic: str, value: bytes, key: bytes) -> Any:
        if self.broken:
            raise ConnectionError("away")
        self.records.append((topic, key, value))


def test_a_probe_passes_the_decoder_and_leaves_no_trace_but_its_age() -> None:
    topic, notes = Topic(), Notes()
    probe = Probe(topic.send, "rl.decisions", lambda: T0 + 10**9, notes)
    probe()
    probe()
    topic.broken = True
    probe()
    assert notes.probes == [(True, ""), (True, ""), (False, "ConnectionError: away")]
    assert len({key for _, key, _ in topic.records}) == 2

    plain, probed = World(), World()
    for world in (plain, probed):
        world.feed(*(decision(str(i), i / 10) for i in range(200)))
    payloads = [value for _, _, value in topic.records]
    fed = probed.pipeline.feed(Records("p", Kind.DECISION, [200, 201], payloads, 202))
    assert (fed.events, fed.rejected, fed.signals, fed.silent) == (0, [], [], True)
    assert probed.pipeline.clocks["p"].now_ms == plain.pipeline.clocks["p"].now_ms
    assert (probed.pipeline.counts.probes, probed.pipeline.counts.probe_ms) == (2, T0 + 10**9)
    assert probed.pipeline.positions["p"] == 202
    assert probed.pipeline.vocabulary.policies.names == ["v1"]


@pytest.mark.parametrize(
    "fields",
    [{"policy": "model", "ts": "at"}, {"policy": "model.name", "action": "model.action", "ts": "at"}],
)
def test_a_probe_is_worded_as_the_config_says_that_decisions_are(fields: dict[str, str]) -> None:
    topic, world = Topic(), World(small(fields=fields))
    Probe(topic.send, "rl.decisions", lambda: T0, Notes(), lambda: world.config.fields)()
    ((_, _, payload),) = topic.records
    fed = world.pipeline.feed(Records("p", Kind.DECISION, [0], [payload], 1))
    assert (fed.rejected, world.pipeline.counts.probes) == ([], 1)


def test_a_probe_among_decisions_and_other_deployments_is_told_apart() -> None:
    world = World()
    made = {**decision("x", 1.0), "deployment": "elsewhere"}
    probe = json.loads(json.dumps({**decision("y", 1.0), "deployment": "policywatch.probe"}))
    world.feed(decision("a", 0.5), made, probe, decision("b", 1.5))
    assert world.reasons() == [("unknown_deployment", "p", 1)]
    assert world.pipeline.counts.probes == 1


def test_the_sections_are_checked() -> None:
    assert config(probe={"interval": "30s"}).probe_ms == 30_000
    assert config().heartbeat == HeartbeatConfig()
    assert faults(format="vw-dsjson", probe={"interval": "30s"}, heartbeat={"url": "https://x", "methods": "GET"}) == [
        "heartbeat.url: a secret is read from ${ENV} or from a file, never from the config itself",
        "heartbeat.methods: unknown key (did you mean method?)",
        "probe.interval: a probe cannot be written as vw-dsjson",
    ]  # fmt: skip
