"""The loop of a shard: poll, feed each lane, tell what it counted, then how far it is, then save."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from alerts.tray import Leaving
from monitor.clocks import Clock
from monitor.daemon import POLL_MS, SAVE_SHARE, Observer
from monitor.dead_letter import DeadLetters
from monitor.persistence.checkpoint import Checkpoint
from monitor.pipeline import Fed
from monitor.sealed import Sealed
from monitor.sharding.lanes import Lane, Lanes
from monitor.sharding.wire import Message
from monitor.source import Records, Source


class Writer(Protocol):
    """Where messages go."""

    def put(self, messages: Sequence[Message]) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Shard:
    """`step` is one turn of the loop. A bucket is confirmed before its lane's progress is told, and told before it is
    saved: who goes on from the checkpoint tells the same bytes once more.
    """

    lanes: Lanes
    source: Source
    writer: Writer
    checkpoint: Checkpoint
    dead_letters: DeadLetters
    clock: Clock
    observer: Observer
    save_every_ms: int
    unsaved: bool = False
    saved_at_ms: float = 0.0
    save_took_ms: float = 0.0
    turn_ms: float = 0.0
    listened_ms: float = 0.0

    def step(self, timeout_ms: int = POLL_MS) -> None:
        """One poll and everything that follows from it."""
        began, self.turn_ms = self.turn_ms, self.clock.elapsed_ms()
        self.listened_ms += min(self.turn_ms - began, 2 * POLL_MS) if began else 0.0
        self.writer.flush()
        for records in self._polled(timeout_ms):
            self._feed(records)
        lanes = self.own()
        for lane in lanes:
            self._tell(lane, lane.pipeline.advance())
            self._rest(lane)
        self.writer.flush()
        for lane in lanes:
            self.writer.put(lane.progress())
        if self.unsaved and self._save_is_due():
            self.save()
        self.observer.looped()

    def save(self) -> None:
        """Every lane in one transaction, once all that it told is confirmed."""
        began = self.clock.elapsed_ms()
        self.writer.flush()
        parts = self.lanes.snapshot()
        self.checkpoint.save(parts, Leaving(), [], self.clock.now_ms())
        self.unsaved = False
        self.saved_at_ms = self.clock.elapsed_ms()
        self.save_took_ms = self.saved_at_ms - began
        for lane in self.own():
            self.source.commit(lane.pipeline.positions)
        self.observer.saved(self.save_took_ms, sum(map(len, parts.values())))

    def rest(self) -> None:
        """A turn in which the broker cannot be used: what only a wall clock notices is the judge's business."""

    def stop(self) -> None:
        """Save what is in hand, let everything go; the group is left last."""
        if self.unsaved:
            self.save()
        self.leave()

    def leave(self) -> None:
        """Let everything go as it is."""
        self.dead_letters.close()
        self.writer.close()
        self.source.close()
        self.checkpoint.close()

    def own(self) -> list[Lane]:
        """The lanes whose partitions are ours now."""
        lanes = {
            self.lanes.of(partition).name: self.lanes.of(partition) for partition in self.source.partitions()
        }
        return [lanes[name] for name in sorted(lanes)]

    def _polled(self, timeout_ms: int) -> Sequence[Records]:
        polled = self.source.poll(timeout_ms)
        for partition in self.source.partitions():
            self.lanes.of(partition).pipeline.watermark.expect(partition)
        speaking = {records.partition for records in polled}
        for lane in self.own():
            self._wake(lane, speaking & set(lane.pipeline.watermark.clocks))
        return polled

    def _wake(self, lane: Lane, speaking: set[str]) -> None:
        """A silence ends: the lane's other partition is waited for where it has something to say."""
        if not speaking & lane.idleness.idle:
            return
        for partition in sorted(lane.idleness.idle - speaking):
            if not self.source.caught_up(partition):
                lane.idleness.heard(partition, self.listened_ms)
                lane.pipeline.watermark.idle.discard(partition)

    def _feed(self, records: Records) -> None:
        lane = self.lanes.of(records.partition)
        fed: Fed = lane.pipeline.feed(records)
        if not fed.silent:
            lane.idleness.heard(records.partition, self.listened_ms)
        self.writer.put(lane.violations())
        if fed.rejected:
            self.dead_letters.put(fed.rejected)
            self.observer.rejected(fed.rejected)
        self.observer.fed(records.partition, fed.events, records.next_offset)
        self.unsaved = True

    def _tell(self, lane: Lane, buckets: Iterator[Sealed]) -> None:
        for _ in buckets:
            self.unsaved = True
            self.writer.put(lane.buckets())
            rejected = lane.pipeline.set_aside()
            if rejected:
                self.dead_letters.put(rejected)
                self.observer.rejected(rejected)
            self.observer.looped()
            self.source.rest()

    def _rest(self, lane: Lane) -> None:
        """A lane with nothing more to say seals what it has begun, and is not waited for."""
        mine = [partition for partition in self.source.partitions() if self.lanes.of(partition) is lane]
        for partition in mine:
            if lane.idleness.falls_idle(partition, self.listened_ms, self.source.caught_up):
                lane.pipeline.watermark.set_idle(partition)
                position = lane.pipeline.positions.get(partition, 0)
                self.observer.idled(partition, position, lane.pipeline.watermark.clocks.get(partition))
        if lane.idleness.all_silent(mine, self.listened_ms):
            self._tell(lane, lane.pipeline.flush())

    def _save_is_due(self) -> bool:
        return self.clock.elapsed_ms() - self.saved_at_ms >= self.save_wait_ms

    @property
    def save_wait_ms(self) -> float:
        """From one save to the next."""
        return max(self.save_every_ms, SAVE_SHARE * self.save_took_ms)


@dataclass(slots=True)
class LanePositions:
    """Answers the source when partitions come and go. A lane that comes goes on from the memory that we have of it."""

    lanes: Lanes

    def assigned(self, partitions: Sequence[str]) -> Mapping[str, int]:
        """Where each goes on; what we do not know of is read from where the config says."""
        known = [name for lane in self.lanes.lanes.values() for name in lane.pipeline.watermark.clocks]
        self.revoked([name for name in known if name not in partitions])
        positions = {}
        for partition in partitions:
            lane = self.lanes.of(partition)
            lane.pipeline.watermark.expect(partition, lane.pipeline.clock_of(partition))
            lane.pipeline.watermark.idle.discard(partition)
            lane.idleness.forget(partition)
            lane.idleness.flushed = False
            lane.told = None
            if partition in lane.pipeline.positions:
                positions[partition] = lane.pipeline.positions[partition]
        return positions

    def revoked(self, partitions: Sequence[str]) -> None:
        """Another member reads them."""
        for partition in partitions:
            lane = self.lanes.of(partition)
            lane.pipeline.watermark.forget(partition)
            lane.idleness.forget(partition)
