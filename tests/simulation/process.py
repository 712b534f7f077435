"""One life of the daemon in the simulated world: started as `policywatch run` starts it, turned step by step."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import structlog

from alerts import delivery
from alerts.delivery import Clock, ReceiverLoop
from alerts.outbox_store import OutboxStore
from alerts.senders.sender import Sender
from alerts.senders.webhook import WebhookSender
from alerts.signal import Signal, cloudevent
from monitor.batch import Rejected
from monitor.commands import run
from monitor.config_file import load_config
from monitor.observability.telemetry import Telemetry
from monitor.observability.watch import Watch
from monitor.sealed import Sealed, measurement_lines
from monitor.service import Service, start
from tests.simulation.broker import Broker, Consumer
from tests.simulation.receivers import Site, Wire
from tests.simulation.world import PowerCut, World

LOG = structlog.wrap_logger(structlog.PrintLogger(io.StringIO()), processors=[lambda *a: ""])

# What only the daemon's own clocks notice: gone back to an older state, it says it at another time, and the outbox
# keeps what was said first.
BY_WALL_CLOCK = {"blind.no_events", "blind.lag", "blind.watermark", "delivery.overdue", "delivery.expired"}


@dataclass
class Said:
    """Everything that all lives of a daemon said: a seal or a signal that is said again is the same or a fault.

    lag_ms: how long after the end of each bucket it was sealed. renewed: ids that the closed loop sent again.
    """

    sealed: dict[tuple[str, int], tuple[int, tuple[bytes, ...]]] = field(default_factory=dict)
    signals: dict[str, bytes] = field(default_factory=dict)
    rejected: set[tuple[str, str, int]] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    lag_ms: list[float] = field(default_factory=list)
    renewed: set[str] = field(default_factory=set)


class Listener(Watch):
    """The daemon's own observer, which also keeps what it is told."""

    def __init__(self, telemetry: Telemetry, world: World, said: Said) -> None:
        super().__init__(telemetry, LOG, world, "simulated")
        self._said, self._world = said, world

    def sealed(self, sealed: Sealed) -> None:
        super().sealed(sealed)
        self._said.renewed |= {signal.id for signal in sealed.again}
        self._said.lag_ms.append(self._world.ms - sealed.end_ms)
        new = (sealed.decisions, tuple(measurement_lines(sealed)))
        old = self._said.sealed.setdefault((sealed.deployment, sealed.end_ms), new)
        if old != new:
            self._said.faults.append(f"{sealed.deployment} {sealed.end_ms} was sealed twice, differently")

    def signalled(self, signal: Signal) -> None:
        super().signalled(signal)
        wire = cloudevent(signal)
        if self._said.signals.setdefault(signal.id, wire) != wire and signal.rule not in BY_WALL_CLOCK:
            self._said.faults.append(f"signal {signal.id} was said twice, differently")

    def rejected(self, rejected: Sequence[Rejected]) -> None:
        super().rejected(rejected)
        self._said.rejected |= {(str(one.reason), one.partition, one.offset) for one in rejected}


class Deliveries:
    """Stands for `Delivery`: the same loops, turned by the world instead of threads."""

    def __init__(
        self,
        world: World,
        senders: Sequence[Sender],
        open_store: Callable[[], OutboxStore],
        clock: Clock,
        observer: Any,
    ) -> None:
        self._world, self._senders, self._open = world, senders, open_store
        self._clock, self._observer = clock, observer
        self._loops: dict[str, tuple[ReceiverLoop, OutboxStore]] = {}
        self._due: dict[str, float] = {sender.name: 0.0 for sender in senders}
        self._watch: tuple[delivery.Watch, OutboxStore] | None = None
        self._watch_due = 0.0

    def start(self) -> None:
        """Nothing runs by itself here."""

    def wake(self) -> None:
        self._due = dict.fromkeys(self._due, 0.0)

    def stop(self) -> bool:
        for _, store in (*self._loops.values(), *([self._watch] if self._watch else [])):
            store.close()
        self._loops.clear()
        self._watch = None
        return True

    def is_empty(self, receiver: str) -> bool:
        """Whether nothing waits for a receiver."""
        return receiver in self._loops and not self._loops[receiver][1].pending(receiver)

    def due_ms(self) -> list[float]:
        """When each receiver that is owed something is looked at again."""
        return [ms for name, ms in self._due.items() if not self.is_empty(name)]

    def step(self) -> None:
        """What every thread whose sleep is over would do; a fault costs a second, as in `_Worker`."""
        for sender in self._senders:
            if self._world.ms < self._due[sender.name]:
                continue
            try:
                wait_ms = self._loop(sender).step()
            except Exception as error:
                self._observer.faulted(sender.name, error)
                if sender.name in self._loops:
                    self._loops.pop(sender.name)[1].close()
                wait_ms = 1_000
            self._due[sender.name] = self._world.ms + wait_ms
        if self._world.ms >= self._watch_due:
            self._look()

    def _look(self) -> None:
        """What the thread that watches all receivers would do."""
        try:
            if self._watch is None:
                store = self._open()
                names = [sender.name for sender in self._senders]
                self._watch = delivery.Watch(names, store, self._clock, self._observer), store
            self._watch_due = self._world.ms + self._watch[0].step()
        except Exception as error:
            self._observer.faulted("watch", error)
            self._watch_due = self._world.ms + 1_000

    def _loop(self, sender: Sender) -> ReceiverLoop:
        if sender.name not in self._loops:
            store = self._open()
            try:
                self._loops[sender.name] = ReceiverLoop(sender, store, self._clock, self._observer), store
            except BaseException:
                store.close()
                raise
        return self._loops[sender.name][0]


class Letters:
    """Dead letters that go nowhere: what is rejected is seen by the observer."""

    def put(self, rejected: Sequence[Rejected]) -> None: ...

    def close(self) -> None: ...


@dataclass
class NeverStopping:
    """What `run` waits on between tries."""

    world: World

    @property
    def leave(self) -> "NeverStopping":
        return self

    def wait(self, timeout_s: float) -> None:
        self.world.ms += timeout_s * 1000


@dataclass
class Process:
    """A daemon that lives until it dies. died: why, once it has."""

    config_path: Path
    world: World
    broker: Broker
    sites: Sequence[Site]
    said: Said
    service: Service | None = None
    died: str = ""

    def turn(self) -> None:
        """Start where it has not begun, else one turn of the loop and of the deliveries."""
        try:
            if self.service is None:
                self._start()
            self._turn()
        except PowerCut:
            self.died = "killed"
        except Exception as error:
            self.died = f"{type(error).__name__}: {error}"

    @property
    def finished(self) -> bool:
        """Everything read, sealed and saved, and what a backlog held back looked at."""
        if self.service is None:
            return False
        daemon = self.service.daemon
        waiting = daemon.unsaved or daemon._pressing or daemon.behind or daemon.catching_up
        return daemon.idleness.flushed and not waiting

    def stop(self) -> None:
        """As on SIGTERM."""
        assert self.service is not None
        self.service.stop()

    def bury(self) -> None:
        """Let go of the files of one that has died; nothing may reach them any more."""
        if self.service is None:
            return
        with suppress(Exception):
            self.service.delivery.stop()
        with suppress(Exception):
            self.service.daemon.checkpoint.close()

    def _start(self) -> None:
        telemetry = Telemetry()
        watch = Listener(telemetry, self.world, self.said)
        with _seams(self.world, self.broker):
            config = load_config(self.config_path)
            self.service = start(config, self.config_path.parent, LOG, telemetry, watch)
        for sender, site in zip(self._webhooks(), self.sites, strict=True):
            sender._post._pool = Wire(site)  # type: ignore[assignment]

    def _turn(self) -> None:
        assert self.service is not None
        run._step(self.service, LOG, self.service.watch, NeverStopping(self.world))  # type: ignore[arg-type]
        self.deliveries.step()

    @property
    def deliveries(self) -> Deliveries:
        assert self.service is not None
        return cast(Deliveries, self.service.delivery)

    def _webhooks(self) -> Iterator[WebhookSender]:
        for sender in self.deliveries._senders:
            if isinstance(sender, WebhookSender):
                yield sender


@contextmanager
def _seams(world: World, broker: Broker) -> Iterator[None]:
    """Where the product touches the world: clock, broker, threads. All else is real."""
    with ExitStack() as stack:
        for target, stand_in in (
            ("monitor.service.RealClock", lambda: world),
            ("monitor.service.Delivery", partial(Deliveries, world)),
            ("monitor.service.producer_for", lambda config: None),
            ("monitor.service.dead_letters_for", lambda config, producer: Letters()),
            ("monitor.kafka.kafka_source._consumer", lambda config: Consumer(broker, world.rng)),
            ("monitor.kafka.kafka_source.monotonic", lambda: world.ms / 1000),
        ):
            stack.enter_context(patch(target, stand_in))
        yield
