"""The way of an event: read, decode, admit by event time, ingest, and out as sealed buckets and signals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from alerts.signal import Signal
from detectors.arrays import I64
from monitor.batch import EventBatch, Kind, Rejected
from monitor.core import OFFSET_BITS, Core
from monitor.decoding.decode import decode
from monitor.decoding.decode_settings import DecodeCounts, DecodeSettings
from monitor.decoding.reasons import Reason
from monitor.event_time import LATE, Admission, HeldEvent, PartitionClock, TimeLimits, Watermark, believed
from monitor.sealed import Sealed
from monitor.source import Records
from monitor.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Fed:
    """What one poll of one partition gave at once."""

    events: int
    signals: list[Signal]
    rejected: list[Rejected]
    deployments: frozenset[int] = frozenset()  # codes of those that decisions came for
    silent: bool = False  # nothing but our own probes came


@dataclass(slots=True)
class Pipeline:
    """One instance per process; `feed` for every poll, then `advance` once, in that order."""

    core: Core
    vocabulary: Vocabulary
    settings: DecodeSettings
    limits: TimeLimits
    watermark: Watermark
    clocks: dict[str, PartitionClock] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    counts: DecodeCounts = field(default_factory=DecodeCounts)

    def feed(self, records: Records) -> Fed:
        """One poll of one partition: every record is counted in its tick, held, or rejected with a reason."""
        probes = self.counts.probes
        batch, rejected = self._decode(records.partition, records.kind, records.offsets, records.payloads)
        clock = self.clocks.setdefault(records.partition, PartitionClock(self.limits))
        admission = clock.admit(batch.ts_ms, batch.kind, batch.offsets, batch.payloads)
        signals, too_late = self._ingest_released(records, admission.released)
        ingested = self.core.ingest(batch, admission)
        silent = self.counts.probes - probes == len(records.payloads)
        if clock.now_ms is not None and not silent:
            self.watermark.advance(records.partition, clock.now_ms)
        self.positions[records.partition] = records.next_offset
        rejected += too_late + _out_of_time(batch, admission, ingested.late)
        rejected += _impossible(records.partition, admission.refused)
        return Fed(len(batch), signals + ingested.signals, rejected, frozenset(batch.decisions), silent)

    def advance(self, until_ms: int | None = None) -> Iterator[Sealed]:
        """Every bucket that no active partition can add to any more, and that ends by `until_ms`."""
        yield from self.core.advance(earlier(self.watermark.now_ms, until_ms))

    def set_aside(self) -> list[Rejected]:
        """What the join has refused since the last call, by reason and place in the log."""
        refused, self.core.set_aside = self.core.set_aside, []
        names = self.vocabulary.partitions.names
        return [
            Rejected(aside.reason, names[place >> OFFSET_BITS], place & ((1 << OFFSET_BITS) - 1), "", b"")
            for aside in refused
            for place in aside.positions.tolist()
        ]

    def clock_of(self, partition: str) -> int | None:
        """How far a partition's own records have come, also one that was somebody else's meanwhile."""
        clock = self.clocks.get(partition)
        return None if clock is None else clock.now_ms

    def end(self, partition: str) -> list[Rejected]:
        """A partition has ended: what it still held back was never confirmed."""
        self.watermark.forget(partition)
        clock = self.clocks.get(partition)
        return _impossible(partition, clock.flush()) if clock else []

    def flush(self, extra_ms: int = 0, until_ms: int | None = None) -> Iterator[Sealed]:
        """The end of everything: seal all that has begun, and `extra_ms` more of silence."""
        end_ms = self.core.flush_to_ms()
        yield from self.core.advance(earlier(None if end_ms is None else end_ms + extra_ms, until_ms))

    def _decode(
        self, partition: str, kind: Kind | None, offsets: Sequence[int], payloads: Sequence[bytes | None]
    ) -> tuple[EventBatch, list[Rejected]]:
        return decode(partition, offsets, payloads, kind, self.vocabulary, self.settings, self.counts)

    def _ingest_released(
        self, records: Records, released: list[HeldEvent]
    ) -> tuple[list[Signal], list[Rejected]]:
        """Events that ran ahead and were confirmed: they count at their own time, unless that was sealed meanwhile."""
        if not released:
            return [], []
        released = list(
            {event.offset: event for event in released}.values()
        )  # a dsjson line is held as two events
        batch, _ = self._decode(
            records.partition, records.kind, [e.offset for e in released], [e.payload for e in released]
        )
        admission = believed(batch.ts_ms)
        ingested = self.core.ingest(batch, admission)
        return ingested.signals, _out_of_time(batch, admission, ingested.late)


def earlier(end_ms: int | None, until_ms: int | None) -> int | None:
    """The smaller of two times, of which either may be unknown."""
    return end_ms if end_ms is None or until_ms is None else min(end_ms, until_ms)


def _out_of_time(batch: EventBatch, admission: Admission, sealed_rows: I64) -> list[Rejected]:
    late = np.flatnonzero(admission.fate == LATE).tolist() + sealed_rows.tolist()
    return [_rejected(batch, Reason.LATE, i, int(admission.clock_ms[i])) for i in sorted(late)]


def _rejected(batch: EventBatch, reason: Reason, row: int, clock_ms: int) -> Rejected:
    behind = clock_ms - int(batch.ts_ms[row])
    detail = f"{behind} ms behind its partition"
    return Rejected(reason, batch.partition, int(batch.offsets[row]), detail, batch.payloads[row])


def _impossible(partition: str, events: list[HeldEvent]) -> list[Rejected]:
    detail = "far ahead of its partition, and what followed was not"
    return [Rejected(Reason.FUTURE, partition, event.offset, detail, event.payload) for event in events]
