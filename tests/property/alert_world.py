"""The real daemon, but that what its rules see is written in a script: log, state file, desk and outbox are its own.

`hooks` is told what the daemon does as it does it, so that a model can walk beside it.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

import structlog

from alerts.delivery import ReceiverLoop, Watch
from alerts.desk import Desk
from alerts.outbox import Ending, OutboxEntry, Outcome
from alerts.outbox_store import SqliteOutbox
from alerts.signal import Signal
from alerts.tray import Leaving
from detectors.measurement import Measurement, Verdict
from monitor.clocks import Clocks
from monitor.config import Config
from monitor.control.inbox import Finished, Inbox, News, Overdue
from monitor.daemon import Daemon
from monitor.idleness import Idleness
from monitor.judging.watched import Watched
from monitor.persistence.checkpoint import Checkpoint
from monitor.sealed import Sealed
from monitor.service import _restored, landmark, terms_for
from monitor.source import Records
from monitor.vigil import Vigil
from tests.unit.monitor.worlds import T0, pipeline_of

NEVER_MS = 10**12
LATENESS_MS = 5_000
LOG: Any = structlog.wrap_logger(structlog.PrintLogger(io.StringIO()), processors=[lambda *a: ""])
STATISTIC = {"reward": ("reward", "mean"), "state": ("state_mmd", "mmd2"), "critic": ("critic", "bias"),
             "latency": ("latency", "slow_share")}  # fmt: skip
WORDS = {"ok": (Verdict.OK, 0.1), "near": (Verdict.OK, 0.9), "breach": (Verdict.BREACH, 1.5),
         "unknown": (Verdict.UNKNOWN, float("nan"))}  # fmt: skip
Key = tuple[str, str]


class DeathError(Exception):
    """The process is gone."""


class Hooks(Protocol):
    """What a model hears of the daemon."""

    def fed(self, position: int, signals: Sequence[Signal]) -> None: ...

    def sealed(self, sealed: Sealed) -> None: ...

    def hearing(self, news: Sequence[News]) -> None: ...

    def saved(self, signals: Sequence[Signal], again: Sequence[Signal]) -> None: ...


@dataclass
class Clock:
    """set_ms: how far the wall's is set."""

    ms: int = T0
    set_ms: int = 0
    boot: str = "this one"

    def now_ms(self) -> int:
        return self.ms + self.set_ms

    def elapsed_ms(self) -> float:
        return float(self.ms)


@dataclass
class Log:
    """The whole log; the daemon reads from its own position."""

    payloads: list[bytes] = field(default_factory=list)
    at: int = 0

    def poll(self, timeout_ms: int) -> Sequence[Records]:
        begin, self.at = self.at, len(self.payloads)
        if begin == self.at:
            return []
        return [Records("d/0", None, range(begin, self.at), self.payloads[begin:], self.at)]

    def partitions(self) -> Sequence[str]:
        return ["d/0"]

    def caught_up(self, partition: str) -> bool:
        return self.at == len(self.payloads)

    def rest(self) -> None: ...

    def commit(self, positions: Mapping[str, int]) -> None: ...

    def close(self) -> None: ...


class Letters:
    """Nothing is rejected here, which the machine would notice by its counts."""

    def put(self, rejected: Sequence[Any]) -> None:
        raise AssertionError(rejected)

    def close(self) -> None: ...


class MortalCheckpoint(Checkpoint):
    """Dies before or after its next commit, when told to."""

    hooks: Hooks
    dies = ""

    def save(
        self,
        parts: Any,
        leaving: Leaving,
        routes: Any,
        now_ms: int,
        *rest: Any,
    ) -> Any:
        if self.dies == "before":
            raise DeathError
        done = super().save(parts, leaving, routes, now_ms, *rest)
        self.hooks.saved(leaving.signals, [one.signal for one in leaving.again])
        if self.dies == "after":
            raise DeathError
        return done


class Ears(Inbox):
    """The inbox, which says when it is emptied."""

    def __init__(self, hooks: Hooks) -> None:
        super().__init__()
        self._hooks = hooks

    def empty(self) -> list[News]:
        news = super().empty()
        self._hooks.hearing(news)
        return news


class Observer:
    """Passes on what the daemon and its deliveries report."""

    daemon: Daemon

    def __init__(self, hooks: Hooks, inbox: Inbox) -> None:
        self._hooks, self._inbox = hooks, inbox

    def fed(self, partition: str, events: int, position: int) -> None:
        self._hooks.fed(position, self.daemon.unsent)

    def sealed(self, sealed: Sealed) -> None:
        self._hooks.sealed(sealed)

    def ended(self, entry: OutboxEntry, ending: Ending) -> None:
        if entry.safety:
            self._inbox.put(Finished(entry.signal_id, entry.receiver, ending))

    def safety_overdue(self, entry: OutboxEntry, age_ms: int) -> None:
        self._inbox.put(Overdue(entry.signal_id, entry.receiver, age_ms, entry.alert_key))

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


@dataclass
class Receiver:
    """Where signals go. answer: what it says to everything now. got: what it has taken, in order."""

    name: str
    takes: Callable[[Signal], bool]
    answer: Callable[[OutboxEntry], Outcome]

    def accepts(self, signal: Signal) -> bool:
        return self.takes(signal)

    def send(self, entry: OutboxEntry, now_s: float) -> Outcome:
        return self.answer(entry)


class World:
    """One daemon on one folder; `begin` starts it, also after a death."""

    def __init__(self, folder: Path, config: Config, receivers: Sequence[Receiver], hooks: Hooks) -> None:
        self.folder, self.config, self.receivers, self.hooks = folder, config, receivers, hooks
        self.clock, self.log = Clock(), Log()
        self.script: dict[tuple[int, Key], Mapping[str, str]] = {}
        self.hold: Mapping[str, int] = {}
        self.patches = patch.object(
            Watched, "_measure", lambda watched, name, key, end_ms: self._measured(name, end_ms)
        )
        self.patches.start()
        self.begin()

    def begin(self) -> None:
        """As `monitor.service.start` does it."""
        checkpoint = MortalCheckpoint(self.folder)
        checkpoint._conn.execute("PRAGMA synchronous=OFF")
        checkpoint.hooks = self.hooks
        desk = Desk(terms_for(self.config))
        nobody: Any = None  # a watch is told of damage only
        fresh, vigil = pipeline_of(self.config), Vigil({}, {}, 0)
        saved = checkpoint.load()
        pipeline: Any = _restored(fresh, checkpoint, saved, LOG, nobody, vigil, desk)
        clock = Clocks(self.clock, landmark(checkpoint, saved))
        inbox = Ears(self.hooks)
        observer: Any = Observer(self.hooks, inbox)
        self.log.at = pipeline.positions.get("d/0", 0)
        self.checkpoint = checkpoint
        self.daemon = Daemon(
            pipeline=pipeline, source=self.log, checkpoint=checkpoint, dead_letters=Letters(), clock=clock,
            observer=observer, routes=self.receivers, wake=lambda: None, idleness=Idleness(NEVER_MS, NEVER_MS),
            save_every_ms=NEVER_MS, desk=desk, inbox=inbox, saved_at_ms=self.clock.elapsed_ms(),
        )  # fmt: skip
        observer.daemon = self.daemon
        self.store = SqliteOutbox.open(checkpoint.path)
        self.loops = {
            receiver.name: ReceiverLoop(receiver, self.store, clock, observer) for receiver in self.receivers
        }
        self.watch = Watch([receiver.name for receiver in self.receivers], self.store, clock, observer)

    def bury(self) -> None:
        """Let go of what the dead held."""
        with suppress(Exception):
            self.store.close()
        self.checkpoint.close()

    def close(self) -> None:
        self.bury()
        self.patches.stop()

    def _measured(self, name: Key, end_ms: int) -> list[Measurement]:
        words = self.script.get((end_ms, name), {})
        return [self._measurement(rule, word) for rule, word in words.items()]

    def _measurement(self, rule: str, word: str) -> Measurement:
        verdict, severity = WORDS[word]
        line = float("nan") if verdict is Verdict.UNKNOWN else 1.0
        return Measurement(*STATISTIC[rule], "", severity, 100, verdict, line, severity=severity,
                           hold_buckets=self.hold.get(rule, 0))  # fmt: skip
