"""The serving layer, a process of its own: decides for readers, learns their clicks, obeys verified signals.

`python -m monitor.demo.serving --bootstrap HOST:PORT --topics JSON --seed N [--secret-file FILE]`. Orders come on
standard input (`go`, `change` and back, `stop`; its end means stop), what happens goes out on standard output as JSON
lines.
"""

import argparse
import contextlib
import heapq
import json
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from kafka import KafkaProducer

from detectors.arrays import I64
from monitor.demo.policies import SAFE, Policy
from monitor.demo.tally import Tally
from monitor.demo.traffic import DECISIONS_PER_S, DEPLOYMENT, Event, Traffic, make_traffic, wire
from monitor.demo.webhook_desk import WebhookDesk

TURN_S = 0.05
TELL_EVERY_S = 0.25
_FLUSH_S = 5.0


class Voice:
    """JSON lines on standard output, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def tell(self, event: dict[str, Any]) -> None:
        """One line, with the time at which it was said."""
        line = json.dumps({"at_ms": now_ms(), **event}, separators=(",", ":"))
        with self._lock, contextlib.suppress(BrokenPipeError):
            print(line, flush=True)


class Orders:
    """What standard input has asked for so far; its end asks to stop, so that no orphan stays behind."""

    def __init__(self) -> None:
        self.go, self.stop = threading.Event(), threading.Event()
        self.changed = False
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            order = line.strip()
            if order == "go":
                self.go.set()
            elif order == "change":
                self.changed = not self.changed
            elif order == "stop":
                break
        self.stop.set()
        self.go.set()


class Serving:
    """One turn of the loop decides for the readers that have come since the last and sends rewards that are due."""

    def __init__(
        self, traffic: Traffic, producer: Any, topics: dict[str, str], desk: WebhookDesk | None, voice: Voice
    ) -> None:
        self._traffic, self._producer, self._topics = traffic, producer, topics
        self._desk, self._voice = desk, voice
        self._partitions = len(producer.partitions_for(topics["decisions"]))
        self._tally = Tally()
        self._due: list[tuple[int, int, int, Event]] = []  # known at, order, decided at, reward
        self._decided = self._order = 0
        self._fallback = False
        self._began_ms = self._told_ms = now_ms()

    def turn(self, changed: bool) -> None:
        """Decide, reward, tell."""
        now = now_ms()
        self._obey()
        self._decide(now, changed)
        self._reward(now)
        if now - self._told_ms >= TELL_EVERY_S * 1000:
            self._told_ms = now
            seconds = [asdict(second) for second in self._tally.take_changed()]
            self._voice.tell({"event": "seconds", "seconds": seconds})

    def _obey(self) -> None:
        asked = self._desk.serving.get(DEPLOYMENT) if self._desk else None
        if asked == SAFE and not self._fallback:
            self._fallback = True
            self._voice.tell({"event": "fallback_served", "policy": SAFE})

    def _decide(self, now: int, changed: bool) -> None:
        until = (now - self._began_ms) * DECISIONS_PER_S // 1000
        if until <= self._decided:
            return
        numbers: I64 = np.arange(self._decided + 1, until + 1, dtype=np.int64)
        self._decided = until
        policy: Policy = self._traffic.rules if self._fallback else self._traffic.learned
        stage = "fallback" if self._fallback else "full"
        ts_ms: I64 = self._began_ms + numbers * 1000 // DECISIONS_PER_S
        for made in self._traffic.make(policy, stage, ts_ms, changed):
            self._send("decisions", made.decision)
            self._tally.decided(made.decision, self._fallback)
            self._order += 1
            heapq.heappush(self._due, (made.reward["ts"], self._order, made.decision["ts"], made.reward))

    def _reward(self, now: int) -> None:
        while self._due and self._due[0][0] <= now:
            _, _, decided_ms, reward = heapq.heappop(self._due)
            self._send("rewards", reward)
            self._tally.rewarded(decided_ms, reward["reward"])

    def _send(self, kind: str, event: Event) -> None:
        self._producer.send(self._topics[kind], wire(event), partition=_partition(event, self._partitions))


def main() -> int:
    """Serve until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to the parent, which then stops us
    arguments = _arguments()
    voice, orders = Voice(), Orders()
    desk = None
    if arguments.secret_file is not None:
        desk = WebhookDesk(arguments.secret_file.read_text().split()[0], voice.tell)
        desk.start()
    producer = make_producer(arguments.bootstrap, arguments.api_version)
    traffic = make_traffic(arguments.seed, "live", f"{now_ms():x}")
    voice.tell({"event": "listening", "port": desk.port if desk else 0})
    orders.go.wait()
    serving = Serving(traffic, producer, json.loads(arguments.topics), desk, voice)
    voice.tell({"event": "serving", "policy": traffic.learned.name})
    changed = False
    while not orders.stop.wait(TURN_S):
        if orders.changed is not changed:
            changed = orders.changed
            voice.tell({"event": "changed" if changed else "changed_back"})
        serving.turn(changed)
    producer.close(timeout=_FLUSH_S)
    if desk is not None:
        desk.stop()
    return 0


def make_producer(bootstrap: str, api_version: str) -> Any:
    """A client that waits little: a serving layer is not to be held up by its log."""
    version = {"api_version": tuple(map(int, api_version.split(".")))} if api_version else {}
    return KafkaProducer(
        bootstrap_servers=bootstrap, linger_ms=20, acks="all", max_block_ms=10_000, **version
    )


def now_ms() -> int:
    """Wall time."""
    return time.time_ns() // 1_000_000


def _partition(event: Event, partitions: int) -> int:
    """The same for a decision and its rewards."""
    return int(event["decision_id"].rpartition("-")[2]) % partitions


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topics", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--secret-file", type=Path)
    parser.add_argument("--api-version", default="")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
