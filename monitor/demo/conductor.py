"""The demo's story: set up, serve in peace, change the world, watch the loop close; leaves nothing running."""

import json
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from monitor.baselines.baseline import load
from monitor.demo import memory_broker
from monitor.demo.children import Child, Line, get_status, post_forged, start_daemon, start_serving
from monitor.demo.hearing import hear, look_at
from monitor.demo.memory_broker import MemoryBroker
from monitor.demo.recording import Recording
from monitor.demo.site import PARTITIONS, Site, topic_names, write_config
from monitor.demo.topics import create_topics, delete_topics
from monitor.demo.traffic import DECISIONS_PER_S, DEPLOYMENT, Event, log_of, make_traffic, write_log

ACCEPTED_S = 300  # event time of the accepted log
PEACE_SHARE, PEACE_MOST_S, PEACE_LEAST_S = 0.35, 13.0, 6.0  # of the live part, before the change
SETUP_USUAL_S = (
    15.0  # what the set-up takes longer is taken off the peace, so that the whole stays within a minute
)
CLOSING_S = 25.0  # the loop has at least this long to close
TAIL_S = 4.0  # of the live part, after the recovery
SETUP_S = 45.0  # for each step of the set-up, on a busy machine
_TURN_S = 0.1
_LOOK_S = 0.4
Asked = Callable[[], bool]


class DemoFailed(Exception):
    """The demo could not be set up; says what was missing."""


class Audience(Protocol):
    """Whoever watches: a terminal view, or plain lines."""

    def phase(self, text: str) -> None: ...

    def update(self, recording: Recording) -> None: ...


@dataclass(frozen=True, slots=True)
class Play:
    """What to play. kafka: an address, or "" for the in-memory broker. seconds: of the live part."""

    site: Site
    seed: int
    seconds: float
    kafka: str = ""


def perform(play: Play, audience: Audience) -> Recording:
    """The whole demo; everything that was started is stopped, whatever happens."""
    stack = ExitStack()
    recording = Recording(play.seed, play.kafka or "in-memory")
    try:
        stage = Stage(play, audience, recording, stack)
        stage.set_up()
        stage.live()
    finally:
        with _undisturbed():
            stack.close()
    return recording


def partitions_of(topics: dict[str, str]) -> dict[str, int]:
    """Decisions and rewards are spread alike, the others need no more than one."""
    return {name: PARTITIONS if kind in ("decisions", "rewards") else 1 for kind, name in topics.items()}


class Stage:
    """The pieces of one performance; children's words arrive on a queue and are heard in the conductor's thread."""

    def __init__(self, play: Play, audience: Audience, recording: Recording, stack: ExitStack) -> None:
        self._play, self._audience, self._recording, self._stack = play, audience, recording, stack
        self._heard: queue.SimpleQueue[tuple[str, Line]] = queue.SimpleQueue()
        self._ports: dict[str, int] = {}
        self._looked_s = 0.0
        self._began_s = time.monotonic()
        self._serving: Child
        self._daemon: Child

    def set_up(self) -> None:
        """Broker, accepted log, baseline, serving layer, daemon; all of them are there when this returns."""
        play, site = self._play, self._play.site
        bootstrap, topics, version = self._broker()
        self._serving = self._stack.enter_context(
            start_serving(site, bootstrap, topics, play.seed, version, self._listen("serving"))
        )
        self._audience.phase(f"writing {ACCEPTED_S // 60} minutes of accepted traffic")
        self._write_accepted()
        self._await(lambda: "serving" in self._ports, self._serving, "the serving layer to listen")
        write_config(site, bootstrap, topics, f"http://127.0.0.1:{self._ports['serving']}/", version)
        self._audience.phase("policywatch baseline build")
        self._build_baseline()
        self._audience.phase("policywatch run: the daemon starts")
        self._daemon = self._stack.enter_context(start_daemon(site, self._listen("daemon")))
        self._await(self._is_ready, self._daemon, "the daemon to reach its broker")

    def live(self) -> None:
        """Peace, the change, and what follows, until the loop has closed or time is up."""
        play, recording = self._play, self._recording
        self._serving.tell("go")
        self._await(lambda: "serving" in recording.marks, self._serving, "the serving layer to decide")
        began = time.monotonic()
        ends = began + play.seconds
        peace_until = began + peace_s(play.seconds, began - self._began_s)
        self._audience.phase("v42 serves; all is well")
        self._until(lambda: time.monotonic() >= peace_until and self._is_judged(), ends)
        if not self._is_judged():
            recording.faults.append("the daemon gave no verdict on the reward before the change")
            return
        post_forged(self._ports["serving"], json.dumps({"data": {"kind": "fallback"}}).encode())
        self._serving.tell("change")
        ends = max(ends, time.monotonic() + CLOSING_S)
        self._audience.phase("the readers' tastes have turned round; nobody has told the policy")
        self._until(lambda: "fallback" in recording.marks, ends)
        self._audience.phase("rules-v3 serves; does the reward recover?")
        self._until(self._has_recovered, ends)
        self._audience.phase("the loop has closed" if "recovered" in recording.marks else "time is up")
        self._until(lambda: False, min(ends, time.monotonic() + TAIL_S))

    def _broker(self) -> tuple[str, dict[str, str], str]:
        if not self._play.kafka:
            self._audience.phase("starting the in-memory broker")
            topics = topic_names("demo")
            broker = self._stack.enter_context(MemoryBroker(partitions_of(topics)))
            return broker.bootstrap, topics, ".".join(map(str, memory_broker.API_VERSION))
        self._audience.phase(f"making topics on {self._play.kafka}")
        topics = topic_names(f"policywatch-demo-{time.time_ns() // 1_000_000:x}")
        create_topics(self._play.kafka, partitions_of(topics))
        self._stack.callback(delete_topics, self._play.kafka, list(topics.values()))
        return self._play.kafka, topics, ""

    def _write_accepted(self) -> None:
        """The same world's good days, which ended just now."""
        start_ms = time.time_ns() // 1_000_000 - (ACCEPTED_S + 60) * 1000
        rewards: list[float] = []

        def noted() -> Iterator[Event]:
            for event in log_of(make_traffic(self._play.seed, "accepted", "accepted"), start_ms, ACCEPTED_S):
                if event["type"] == "reward":
                    rewards.append(event["reward"])
                yield event

        write_log(self._play.site.accepted, noted())
        self._recording.baseline = {"mean": sum(rewards) / len(rewards), "decisions": len(rewards),
                                    "seconds": ACCEPTED_S, "per_s": DECISIONS_PER_S}  # fmt: skip

    def _build_baseline(self) -> None:
        site = self._play.site
        arguments = ["monitor.cli", "baseline", "build", "-c", str(site.config), str(site.accepted)]
        arguments += ["--deployment", DEPLOYMENT, "--out", str(site.baseline)]
        log = site.folder / "baseline.log"
        with Child("baseline build", arguments, log, self._listen("baseline")) as child:
            self._await(lambda: child.exit_code is not None, None, "the baseline to be built")
            if child.exit_code != 0:
                raise DemoFailed(f"`baseline build` left with {child.exit_code}; see {log}")
        self._recording.baseline["digest"] = load(site.baseline).digest

    def _listen(self, who: str) -> Callable[[Line], None]:
        return lambda line: self._heard.put((who, line))

    def _await(self, done: Asked, child: Child | None, what: str) -> None:
        """Until something of the set-up is there; DemoFailed where it is not in time."""
        deadline = time.monotonic() + SETUP_S
        while not done():
            self._hear(_TURN_S)
            if child is not None and child.exit_code is not None:
                raise DemoFailed(f"the {child.name} left with {child.exit_code}; see {child.log}")
            if time.monotonic() > deadline:
                raise DemoFailed(f"waited {SETUP_S:.0f} s for {what}")

    def _until(self, done: Asked, deadline: float) -> None:
        """Hear, look and show until it is done or too late; a child that leaves ends the demo."""
        while not done() and time.monotonic() < deadline:
            self._hear(_TURN_S)
            if time.monotonic() - self._looked_s >= _LOOK_S:
                self._looked_s = time.monotonic()
                self._look()
            for child in (self._serving, self._daemon):
                if child.exit_code is not None:
                    raise DemoFailed(f"the {child.name} left with {child.exit_code}; see {child.log}")

    def _hear(self, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                who, line = self._heard.get(timeout=left)
            except queue.Empty:
                break
            hear(self._recording, self._ports, who, line)
        self._audience.update(self._recording)

    def _look(self) -> None:
        status = get_status(self._ports["daemon"])
        look = look_at(status) if status else None
        if look and (not self._recording.looks or look.at_ms > self._recording.looks[-1].at_ms):
            self._recording.looks.append(look)

    def _is_ready(self) -> bool:
        status = get_status(self._ports["daemon"]) if "daemon" in self._ports else None
        return bool(status and status["connected"])

    def _is_judged(self) -> bool:
        return any(look.verdicts.get("reward") == "ok" for look in self._recording.looks)

    def _has_recovered(self) -> bool:
        recording = self._recording
        if "fallback" in recording.marks and recording.has_recovered():
            recording.mark("recovered", time.time_ns() // 1_000_000)
        return "recovered" in recording.marks


def peace_s(seconds: float, set_up_s: float) -> float:
    """How long all is well: shorter where the set-up was slow, never too short for a verdict."""
    planned = min(PEACE_MOST_S, PEACE_SHARE * seconds)
    return max(min(planned, PEACE_LEAST_S), planned - max(0.0, set_up_s - SETUP_USUAL_S))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not leave half of the children running."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
