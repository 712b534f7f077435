"""The long-lived process: poll, feed, seal, save, send; leaves cleanly and says why it could not go on."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from alerts.desk import Desk
from alerts.desk_terms import Moment, Reply
from alerts.outbox import Ending, OutboxEntry
from alerts.outbox_table import Route
from alerts.record import Record
from alerts.signal import Signal
from monitor.batch import Rejected
from monitor.clocks import SteadyClock
from monitor.control.firing import fires
from monitor.control.inbox import Asked, Inbox, Overdue, Suspected
from monitor.dead_letter import DeadLetters
from monitor.idleness import Idleness
from monitor.persistence.checkpoint import Checkpoint, StateNotSavedError
from monitor.persistence.returns import Returns
from monitor.persistence.state import CODEC, snapshot
from monitor.pipeline import Pipeline
from monitor.sealed import Sealed
from monitor.sharding.merger import Merger
from monitor.source import Source
from monitor.vigil import Glimpse, Vigil, total

Judging = Pipeline | Merger
POLL_MS = 100
SEAL_MS = 500  # sealing in one turn of the loop; what is left goes on in the next, so that signals are heard
OUTAGE_MS = 3_600_000  # as long as a signal lives: what an outage of that length left behind may be over
# A backlog counts as read where so few records have been left for so long: of a quiet stream they may be all of it.
LITTLE_LAG, LITTLE_MS = 1_000, 5_000
REMIND_MS = 10_000  # how often receivers that forget are told what fires still
SAVE_SHARE = 40  # saving takes at most one part in so many of the time


class Observer(Protocol):
    """What the loop reports: for metrics, for the log, for the watchdog."""

    def fed(self, partition: str, events: int, position: int) -> None: ...

    def rejected(self, rejected: Sequence[Rejected]) -> None: ...

    def sealed(self, sealed: Sealed) -> None: ...

    def signalled(self, signal: Signal) -> None: ...

    def saved(self, took_ms: float, size: int) -> None: ...

    def idled(self, partition: str, position: int, clock_ms: int | None) -> None: ...

    def looped(self) -> None: ...

    def ended(self, entry: OutboxEntry, ending: Ending) -> None: ...

    def desk(self, desk: Desk, records: Sequence[Record]) -> None: ...


@dataclass(slots=True)
class Daemon:
    """`step` is one turn of the loop; everything it needs is handed in, so that a simulation can be the world.

    wake: tells delivery that new signals are committed. routes: the receivers that a signal is queued for.
    remind: tells those that forget which alerts fire still.
    """

    pipeline: Judging
    source: Source
    checkpoint: Checkpoint
    dead_letters: DeadLetters
    clock: SteadyClock
    observer: Observer
    routes: Sequence[Route]
    wake: Callable[[], None]
    idleness: Idleness
    save_every_ms: int
    remind: Callable[[Collection[str]], None] = lambda alert_keys: None
    vigil: Vigil | None = None
    desk: Desk = field(default_factory=Desk)
    inbox: Inbox = field(default_factory=Inbox)
    catching_up: bool = False
    answered_ms: float = -1.0
    little_ms: float = -1.0  # since when there is little lag
    replies: list[tuple[Asked, Reply]] = field(default_factory=list)
    unsent: list[Signal] = field(default_factory=list)
    again: list[Signal] = field(default_factory=list)
    told: list[Signal] = field(default_factory=list)
    returns: Returns = field(default_factory=Returns)
    unsaved: bool = False
    saved_at_ms: float = 0.0
    save_took_ms: float = 0.0
    behind: bool = False  # sealing has not caught up with what was read: nothing is read until it has
    turn_ms: float = 0.0
    listened_ms: float = 0.0
    reminded_ms: float = float("-inf")
    heard: set[str] = field(default_factory=set)
    fed: int = 0

    def step(self, timeout_ms: int = POLL_MS) -> None:
        """One poll, everything that follows from it, and a save when one is due."""
        began, self.turn_ms = self.turn_ms, self.clock.elapsed_ms()
        self.listened_ms += min(self.turn_ms - began, 2 * POLL_MS) if began and not self.behind else 0.0
        if self.behind:
            self.source.rest()
        else:
            self._read(timeout_ms)
        if self.unsent:
            self._save_if_possible()
        self._seal(self.pipeline.advance())
        if not self.behind:
            self._rest()
            self.catching_up = self.catching_up and not self._caught_up()
        self.look()
        self._hear()
        if self._pressing or (self.unsaved and self._save_is_due()):
            self.save()
        self.observer.looped()

    def look(self) -> None:
        """What the wall clock says of our sight; also called when a turn could not read, and saves what it finds."""
        if self.vigil is None:
            return
        seen = Glimpse(
            heard=frozenset(self.heard),
            events=self.fed,
            watermark_ms=self.pipeline.watermark.now_ms,
            lag=self._lag() if self.vigil.due(self.clock.elapsed_ms()) else None,
            edge_ms=self.pipeline.core.edge_ms,
        )
        self.heard, self.fed = set(), 0
        self.unsent += self.vigil.look(self.clock.elapsed_ms(), self.clock.now_ms(), seen)

    def rest(self) -> None:
        """A turn in which the broker cannot be used: what follows from that is said all the same."""
        self.look()
        self._hear()
        if self._pressing:
            self.save()

    def save(self) -> None:
        """State, positions and signals in one transaction; only then are the signals on their way."""
        began = self.clock.elapsed_ms()
        raised = sorted(self.unsent, key=lambda signal: signal.generation)
        self.desk.take(raised, self.moment())
        self.desk.take_again(self.again, self.moment())
        self.told += raised
        self.unsent, self.again = [], []
        leaving = self.desk.leaving()
        if leaving.signals:  # before they can be sent: whoever repeats them must not find them over
            self._remind(self.moment())
        parts = memory_of(self.pipeline)
        if self.vigil is not None:
            parts["vigil"] = CODEC.encode(self.vigil.state())
        parts["desk"] = CODEC.encode(self.desk.state())
        parts["clock"] = CODEC.encode(self.clock.landmark().state())
        queued = self.checkpoint.save(
            parts, leaving, self.routes, self.clock.steady_ms(), self.returns.unsaved
        )
        for entry in queued.dropped:  # to make room: of a safety signal a person is told
            self.observer.ended(entry, "dropped")
        pages, self.unsaved, self.returns.unsaved = self.desk.left(), False, []
        if leaving.signals or leaving.again or leaving.seen:
            self.wake()
        told, self.told = [*self.told, *pages], []
        for signal in told:
            self.observer.signalled(signal)
        self.observer.desk(self.desk, leaving.records)
        for asked, reply in self.replies:
            asked.answer(reply)
        self.replies = []
        self.saved_at_ms = self.clock.elapsed_ms()
        self.save_took_ms = self.saved_at_ms - began
        self.source.commit(self.pipeline.positions)
        self.observer.saved(self.save_took_ms, sum(map(len, parts.values())))

    @property
    def _pressing(self) -> bool:
        """Whether something waits that a save must not keep waiting."""
        return bool(self.unsent or self.again or self.replies or not self.desk.idle)

    def _hear(self) -> None:
        """What people and delivery say, and what time brings to what waits for them."""
        moment = self.moment()
        for news in self.inbox.empty():
            if isinstance(news, Asked):
                self.replies.append((news, self.desk.obey(news.command, moment)))
            elif isinstance(news, Overdue):
                self.desk.overdue(news.signal_id, news.receiver, news.age_ms, moment, news.alert_key)
            elif isinstance(news, Suspected):
                self.checkpoint.examine()
            elif not news.safety:
                self.desk.page_expired(news.signal_id, news.receiver, moment)
            else:
                self.desk.ended(news.signal_id, news.receiver, news.ending, moment)
        self.desk.tick(moment)
        if self.clock.elapsed_ms() - self.reminded_ms >= REMIND_MS:
            self._remind(moment)

    def _remind(self, moment: Moment) -> None:
        self.reminded_ms = self.clock.elapsed_ms()
        self.remind(frozenset(signal.alert_key for signal in self.desk.firing(moment)))

    def moment(self) -> Moment:
        """What the desk is told of now."""
        now_ms = self.clock.now_ms()
        return Moment(
            now_ms=now_ms,
            set_ms=now_ms - self.clock.steady_ms(),
            edge_ms=self.pipeline.core.edge_ms or 0,
            catching_up=self.catching_up,
            fires=lambda signal: fires(self.pipeline, self.vigil, signal),
        )

    def _answered(self) -> None:
        """Records have come: after an outage as long as a signal lives they are a backlog first.

        Not a poll without any: a client whose broker is away gives those too.
        """
        now_ms, before = self.clock.elapsed_ms(), self.answered_ms
        self.answered_ms = now_ms
        if before >= 0 and now_ms - before >= OUTAGE_MS:
            self.catching_up, self.little_ms = True, -1.0

    def _caught_up(self) -> bool:
        """Whether a backlog is read: little is left, or, where nobody counts that, nothing."""
        lag, partitions = self._lag(), self.source.partitions()
        if lag is not None:
            return self._little_left(lag)
        return bool(partitions) and all(self.source.caught_up(partition) for partition in partitions)

    def _little_left(self, lag: int) -> bool:
        now_ms = self.clock.elapsed_ms()
        if lag > LITTLE_LAG:
            self.little_ms = -1.0
        elif self.little_ms < 0:
            self.little_ms = now_ms
        return 0 <= self.little_ms <= now_ms - LITTLE_MS

    def _save_if_possible(self) -> None:
        """In mid-turn a disk that refuses ends nothing: the save at the end of the turn says so."""
        with suppress(StateNotSavedError):
            self.save()

    def stop(self) -> None:
        """Save what is in hand, let everything go; the group is left last."""
        if self.unsaved or self._pressing:
            self.save()
        self.leave()

    def leave(self) -> None:
        """Let everything go as it is."""
        self.dead_letters.close()
        self.source.close()
        self.checkpoint.close()

    def _read(self, timeout_ms: int) -> None:
        polled = self.source.poll(timeout_ms)
        if polled:
            self._answered()
        for partition in self.source.partitions():
            self.pipeline.watermark.expect(partition)
        self._wake({records.partition for records in polled})
        for records in polled:
            if isinstance(self.pipeline, Pipeline):
                self.returns.note(self.pipeline, records)
            fed = self.pipeline.feed(records)
            if not fed.silent:
                self.idleness.heard(records.partition, self.listened_ms)
            self._note(fed.signals, fed.rejected)
            self.heard |= {self.pipeline.vocabulary.deployments.names[code] for code in fed.deployments}
            self.fed += fed.events
            self.observer.fed(records.partition, fed.events, records.next_offset)
            self.unsaved = True

    def _wake(self, speaking: AbstractSet[str]) -> None:
        """A silence ends: who else has something to say is waited for, so that nobody's burst makes theirs late."""
        if not speaking & self.idleness.idle:
            return
        for partition in sorted(self.idleness.idle - speaking):
            if not self.source.caught_up(partition):
                self.idleness.heard(partition, self.listened_ms)
                self.pipeline.watermark.idle.discard(partition)

    def _seal(self, buckets: Iterator[Sealed]) -> None:
        """Until all is sealed, or the turn has taken long enough."""
        began = self.clock.elapsed_ms()
        self.behind = False
        for sealed in buckets:
            self._sealed(sealed)
            if self.clock.elapsed_ms() - began > SEAL_MS and self._is_whole(sealed):
                self.behind = True
                return

    def _sealed(self, sealed: Sealed) -> None:
        self.unsaved = True
        self._note(sealed.signals, self.pipeline.set_aside())
        self.again += sealed.again
        self.observer.sealed(sealed)
        if self._is_whole(sealed) and (self._pressing or self._save_is_due()):
            self._save_if_possible()
            self.observer.looped()

    def _is_whole(self, sealed: Sealed) -> bool:
        """Whether this was the last deployment of its moment: saved before, the state would skip the others."""
        configs = [watched.config for watched in self.pipeline.core.watched.values()]
        return sealed.deployment == [c.name for c in configs if sealed.end_ms % c.bucket_ms == 0][-1]

    def _note(self, signals: Sequence[Signal], rejected: Sequence[Rejected]) -> None:
        self.unsent += signals
        if rejected:
            self.dead_letters.put(rejected)
            self.observer.rejected(rejected)

    def _rest(self) -> None:
        """Partitions with nothing to say no longer hold time back; when all are silent, seal what has begun."""
        now_ms = self.listened_ms
        for partition in self.source.partitions():
            if self.idleness.falls_idle(partition, now_ms, self.source.caught_up):
                self.pipeline.watermark.set_idle(partition)
                position = self.pipeline.positions.get(partition, 0)
                self.observer.idled(partition, position, self.pipeline.watermark.clocks.get(partition))
        if self.idleness.all_silent(self.source.partitions(), now_ms):
            self._seal(self.pipeline.flush())
            self.idleness.flushed = not self.behind

    def _lag(self) -> int | None:
        lag = getattr(self.source, "lag", None)
        return None if lag is None else total(lag(), self.source.partitions())

    def _save_is_due(self) -> bool:
        return self.clock.elapsed_ms() - self.saved_at_ms >= self.save_wait_ms

    @property
    def save_wait_ms(self) -> float:
        """From one save to the next while nothing presses."""
        return max(self.save_every_ms, SAVE_SHARE * self.save_took_ms)


def memory_of(pipeline: Judging) -> dict[str, bytes]:
    """Everything that the future depends on, as parts of a checkpoint."""
    return pipeline.save() if isinstance(pipeline, Merger) else snapshot(pipeline)


@dataclass(slots=True)
class Positions:
    """Answers the source when partitions come and go, from the pipeline's own positions."""

    pipeline: Judging
    idleness: Idleness

    def assigned(self, partitions: Sequence[str]) -> Mapping[str, int]:
        """Where each of the partitions that are ours from now on goes on; one never read has no position.

        What the state knows besides is read by other members, and would hold our time back for ever.
        """
        self.revoked([name for name in self.pipeline.watermark.clocks if name not in partitions])
        for partition in partitions:
            heard_ms = self.pipeline.clock_of(partition) if isinstance(self.pipeline, Pipeline) else None
            self.pipeline.watermark.expect(partition, heard_ms)
            self.pipeline.watermark.idle.discard(partition)  # what came while we were away is waited for
            self.idleness.forget(partition)
        return {p: self.pipeline.positions[p] for p in partitions if p in self.pipeline.positions}

    def revoked(self, partitions: Sequence[str]) -> None:
        """Another member reads them: they no longer hold our time back."""
        for partition in partitions:
            self.pipeline.watermark.forget(partition)
            self.idleness.forget(partition)
