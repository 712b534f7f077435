"""Delivery: one thread per receiver drains the outbox, so that a slow receiver slows nobody but itself."""

import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Protocol

from alerts.outbox import Ended, Ending, OutboxEntry, Outcome, Retry, overdue
from alerts.outbox_store import OutboxStore
from alerts.senders.sender import Refreshing, Sender

IDLE_MS = 5_000
"""The longest sleep: a wake-up that went astray costs no more."""

FAULT_PAUSE_MS = 1_000
WATCH_MS = 1_000
STOP_S = 1.8


class Clock(Protocol):
    """Wall time, for what receivers are told; steady time, for what waits. In tests, any time."""

    def now_ms(self) -> int: ...

    def steady_ms(self) -> int: ...


class DeliveryObserver(Protocol):
    """What delivery reports, from its own threads: for metrics, log and a page when one is stuck."""

    def attempted(self, entry: OutboxEntry, outcome: Outcome, took_ms: int) -> None: ...

    def ended(self, entry: OutboxEntry, ending: Ending) -> None: ...

    def watched(self, oldest_age_ms: Mapping[str, int]) -> None: ...

    def safety_overdue(self, entry: OutboxEntry, age_ms: int) -> None: ...

    def faulted(self, receiver: str, error: Exception) -> None: ...


class ReceiverLoop:
    """One receiver's deliveries; `step` does one thing and says how long nothing else is due."""

    def __init__(self, sender: Sender, store: OutboxStore, clock: Clock, observer: DeliveryObserver) -> None:
        self._sender = sender
        self._store = store
        self._clock = clock
        self._observer = observer

    def step(self) -> int:
        """Make at most one attempt: a new safety signal waits for no more than that."""
        now_ms = self._clock.steady_ms()
        planned = self._store.due(self._sender.name, now_ms)
        for entry, ending in planned.endings:
            self._observer.ended(entry, ending)
        if planned.attempts:
            self._attempt(planned.attempts[0], now_ms)
            return 0
        waits_ms = [IDLE_MS]
        if planned.next_ms is not None:
            waits_ms.append(max(0, planned.next_ms - now_ms))
        if isinstance(self._sender, Refreshing):
            waits_ms.append(self._refreshed(self._sender, self._clock.now_ms()))
        return min(waits_ms)

    def _attempt(self, entry: OutboxEntry, now_ms: int) -> None:
        try:
            outcome = self._sender.send(entry, self._clock.now_ms() / 1000)
        except Exception as error:  # a sender that breaks is a failed attempt, not a dead thread
            self._observer.faulted(self._sender.name, error)
            outcome = Retry(None, f"sender failed ({type(error).__name__})")
        done_ms = self._clock.steady_ms()
        result = self._store.settle(entry, outcome, done_ms)
        self._observer.attempted(entry, outcome, max(0, done_ms - now_ms))
        if isinstance(result, Ended):
            self._observer.ended(entry, result.ending)

    def _refreshed(self, sender: Refreshing, now_ms: int) -> int:
        due_ms = sender.refresh_due(now_ms)
        if due_ms == 0:
            sender.refresh(now_ms / 1000)
            due_ms = sender.refresh_due(self._clock.now_ms())
        return IDLE_MS if due_ms is None else due_ms


class Watch:
    """Looks at all receivers from outside, so that a receiver whose thread hangs is noticed too."""

    def __init__(
        self, receivers: Sequence[str], store: OutboxStore, clock: Clock, observer: DeliveryObserver
    ) -> None:
        self._receivers = receivers
        self._store = store
        self._clock = clock
        self._observer = observer
        self._reported: set[tuple[str, str]] = set()

    def step(self) -> int:
        """Report ages, and each safety signal once when it has been undelivered for a minute."""
        now_ms = self._clock.steady_ms()
        pending = {name: self._store.pending(name) for name in self._receivers}
        self._observer.watched({name: _age_ms(entries, now_ms) for name, entries in pending.items()})
        late = [entry for entries in pending.values() for entry in entries if overdue(entry, now_ms)]
        for entry in late:
            if (entry.receiver, entry.signal_id) not in self._reported:
                self._observer.safety_overdue(entry, now_ms - entry.created_ms)
        self._reported = {(entry.receiver, entry.signal_id) for entry in late}
        return WATCH_MS


class Delivery:
    """All receivers' threads, and one that watches them."""

    def __init__(
        self,
        senders: Sequence[Sender],
        open_store: Callable[[], OutboxStore],
        clock: Clock,
        observer: DeliveryObserver,
    ) -> None:
        self._stopping = threading.Event()
        self._observer = observer
        self._workers = [
            _Worker(sender.name, self._loop(sender, clock), open_store, self._stopping, observer)
            for sender in senders
        ]
        names = [sender.name for sender in senders]
        if len(set(names)) != len(names):
            raise ValueError(f"two receivers of one name: {sorted(names)}")
        watch = _Worker(
            "watch",
            lambda store: Watch(names, store, clock, observer).step,
            open_store,
            self._stopping,
            observer,
        )
        self._all = [*self._workers, watch]

    def start(self) -> None:
        for worker in self._all:
            worker.thread.start()

    def wake(self) -> None:
        """New signals are committed: look now."""
        for worker in self._workers:
            worker.woken.set()

    def stop(self, within_s: float = STOP_S) -> bool:
        """Let every thread finish its attempt; False if one was too slow: its entry is sent again."""
        self._stopping.set()
        deadline = monotonic() + within_s
        for worker in self._all:
            worker.woken.set()
        for worker in self._all:
            if worker.thread.ident is not None:
                worker.thread.join(max(0.0, deadline - monotonic()))
        return not any(worker.thread.is_alive() for worker in self._all)

    def _loop(self, sender: Sender, clock: Clock) -> Callable[[OutboxStore], Callable[[], int]]:
        return lambda store: ReceiverLoop(sender, store, clock, self._observer).step


class _Worker:
    """A thread that repeats a step, sleeps as long as the step says or until woken, and survives a fault."""

    def __init__(
        self,
        name: str,
        make_step: Callable[[OutboxStore], Callable[[], int]],
        open_store: Callable[[], OutboxStore],
        stopping: threading.Event,
        observer: DeliveryObserver,
    ) -> None:
        self.name = name
        self.woken = threading.Event()
        self.thread = threading.Thread(target=self._run, name=f"delivery-{name}", daemon=True)
        self._make_step = make_step
        self._open_store = open_store
        self._stopping = stopping
        self._observer = observer

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._serve()
            except Exception as error:  # disk full, database locked: say so, and go on when it is over
                self._observer.faulted(self.name, error)
                self._stopping.wait(FAULT_PAUSE_MS / 1000)

    def _serve(self) -> None:
        store = self._open_store()
        try:
            step = self._make_step(store)
            while not self._stopping.is_set():
                self.woken.clear()
                wait_ms = step()
                if wait_ms > 0 and not self._stopping.is_set():
                    self.woken.wait(wait_ms / 1000)
        finally:
            store.close()


def _age_ms(entries: Sequence[OutboxEntry], now_ms: int) -> int:
    return max((now_ms - entry.created_ms for entry in entries), default=0)
