"""The judge of shards: bucket messages in, sealed buckets and signals out, as if one daemon had counted all."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alerts.blindness import Traffic
from alerts.closed_loop import Served
from alerts.signal import Signal
from alerts.violations import Key
from monitor.batch import Rejected
from monitor.core import Core
from monitor.decoding.decode_settings import DecodeCounts
from monitor.decoding.reasons import Reason
from monitor.event_time import PartitionClock, TimeLimits, Watermark
from monitor.joining import EVERY_POLICY
from monitor.judging.watched import Watched
from monitor.persistence.codec import Codec
from monitor.persistence.state import counted_as, restore, snapshot
from monitor.pipeline import Fed, Pipeline
from monitor.sealed import Sealed
from monitor.sharding.wire import (
    BucketMessage,
    Message,
    ProgressMessage,
    UnreadableMessage,
    ViolationMessage,
    decode,
    encode,
)
from monitor.source import Records
from monitor.vocabulary import STAGES, Labels, Vocabulary

_CODEC = Codec([])
Place = tuple[str, str, int]  # lane, deployment, end of a seal


@dataclass(slots=True)
class Merger:
    """Stands where a Pipeline stands in the daemon that judges; `inner` holds the windows and judges of the config.

    expected: lanes that must be heard before time moves. progress: how far each lane is. waiting: buckets told and
    not yet judged, by lane, deployment and seal, then by key: the same bucket told again takes its own place.
    counted: (lane, deployment) -> the last seal that was added; a bucket of it or before it was told twice.
    seen: (lane, deployment) -> offset of the last violation that was witnessed.
    """

    inner: Pipeline
    expected: Collection[str]
    progress: dict[str, tuple[int | None, bool]] = field(default_factory=dict)
    waiting: dict[Place, dict[bytes, BucketMessage]] = field(default_factory=dict)
    counted: dict[tuple[str, str], int] = field(default_factory=dict)
    seen: dict[tuple[str, str], int] = field(default_factory=dict)

    def feed(self, records: Records) -> Fed:
        """A poll of the bucket topic; what is no message, or counts something else, is rejected in words."""
        signals: list[Signal] = []
        rejected: list[Rejected] = []
        heard: set[int] = set()
        for offset, payload in zip(records.offsets, records.payloads, strict=True):
            if payload is None:
                continue  # the topic's own way of forgetting a key
            try:
                message = decode(payload)
                signals += self._heard(message)
                if isinstance(message, BucketMessage) and message.decisions:
                    heard.add(self._of(message.deployment).code)
            except UnreadableMessage as error:
                rejected.append(Rejected(Reason.BAD_BUCKET, records.partition, offset, str(error), payload))
        self.positions[records.partition] = records.next_offset
        return Fed(len(records.offsets), signals, rejected, frozenset(heard))

    def advance(self, until_ms: int | None = None) -> Iterator[Sealed]:
        """Every bucket that no lane can add to any more, oldest first, deployments in the order of the config."""
        edge_ms = self._edge_ms()
        while edge_ms is not None:
            end_ms = self._next_end_ms()
            if end_ms is None or end_ms > edge_ms:
                self.core.edge_ms = max(edge_ms, self.judged_ms or edge_ms)
                break
            self.core.edge_ms = end_ms
            for watched in self._watched():
                if end_ms % watched.config.bucket_ms == 0:
                    yield watched.judged(end_ms, *self._count(watched, end_ms))
        self.watermark.low_ms = self.judged_ms

    def flush(self, extra_ms: int = 0, until_ms: int | None = None) -> Iterator[Sealed]:
        """Lanes flush themselves and say so; a silent bucket topic seals nothing."""
        yield from ()

    def set_aside(self) -> list[Rejected]:
        """Shards reject what cannot be used."""
        return []

    def save(self) -> dict[str, bytes]:
        """Windows, judges and what has been heard, for a checkpoint."""
        heard = {
            "progress": {lane: list(told) for lane, told in self.progress.items()},
            "waiting": [encode(message) for told in self.waiting.values() for message in told.values()],
            "counted": dict(self.counted),
            "seen": dict(self.seen),
        }
        return {**snapshot(self.inner), "heard": _CODEC.encode(heard)}

    def restore(self, parts: Mapping[str, bytes]) -> list[str]:
        """Go on from a checkpoint; the deployments that begin anew."""
        heard: dict[str, Any] = _CODEC.decode(parts["heard"])
        self.progress = {lane: (told[0], told[1]) for lane, told in heard["progress"].items()}
        self.counted, self.seen = dict(heard["counted"]), dict(heard["seen"])
        for data in heard["waiting"]:
            message = decode(data)
            assert isinstance(message, BucketMessage)
            self._wait(message)
        return restore(self.inner, parts)

    @property
    def judged_ms(self) -> int | None:
        """Every bucket that ends at or before it has been judged."""
        return self.core.edge_ms

    @property
    def core(self) -> Core:
        """The windows and judges; its ticks stay empty."""
        return self.inner.core

    @property
    def vocabulary(self) -> Vocabulary:
        """One vocabulary for all lanes."""
        return self.inner.vocabulary

    @property
    def watermark(self) -> Watermark:
        """Its low mark is how far has been judged."""
        return self.inner.watermark

    @property
    def clocks(self) -> dict[str, PartitionClock]:
        """Event time is read by the shards."""
        return self.inner.clocks

    @property
    def positions(self) -> dict[str, int]:
        """Of the bucket topic."""
        return self.inner.positions

    @property
    def counts(self) -> DecodeCounts:
        """Nothing is decoded here."""
        return self.inner.counts

    @property
    def limits(self) -> TimeLimits:
        """How far events may stray, as the shards have it."""
        return self.inner.limits

    @property
    def silent_lanes(self) -> list[str]:
        """Lanes that are waited for and have not been heard."""
        return sorted(set(self.expected) - set(self.progress), key=_in_order)

    def _heard(self, message: Message) -> list[Signal]:
        if isinstance(message, ProgressMessage):
            before, _ = self.progress.get(message.lane, (None, False))
            furthest = max((ms for ms in (before, message.sealed_ms) if ms is not None), default=None)
            self.progress[message.lane] = furthest, message.idle
            return []
        watched = self._of(message.deployment)
        if isinstance(message, ViolationMessage):
            return self._witness(watched, message)
        if message.counted_as != counted_as(watched):
            raise UnreadableMessage(
                f"lane {message.lane} counts {message.deployment} by another config, baseline or version"
            )
        if message.end_ms > self.counted.get((message.lane, message.deployment), -1):
            self._wait(message)
        return []

    def _witness(self, watched: Watched, message: ViolationMessage) -> list[Signal]:
        """At once, as a daemon alone would; a shard that restarts tells again what it had told."""
        place = message.lane, message.deployment
        if message.event.offset <= self.seen.get(place, -1):
            return []
        self.seen[place] = message.event.offset
        return watched.violations([message.event])

    def _wait(self, message: BucketMessage) -> None:
        place = message.lane, message.deployment, message.end_ms
        self.waiting.setdefault(place, {})[message.key] = message

    def _edge_ms(self) -> int | None:
        """How far every lane that speaks has come; where none speaks, all that has been told."""
        if self.silent_lanes or not self.progress:
            return None
        active = [sealed_ms for sealed_ms, idle in self.progress.values() if not idle]
        if any(sealed_ms is None for sealed_ms in active):
            return None
        known = [ms for ms in active if ms is not None]
        sealed = [ms for ms, _ in self.progress.values() if ms is not None]
        return min(known) if known else max(sealed, default=None)

    def _next_end_ms(self) -> int | None:
        """The next end of a bucket at which anything was told, or while any window still holds something."""
        told, judged_ms = {place[1:] for place in self.waiting}, self.judged_ms
        if judged_ms is None:
            return min((end_ms for _, end_ms in told), default=None)
        watched = {w.config.name: w for w in self._watched()}
        following = {
            name: (judged_ms // w.config.bucket_ms + 1) * w.config.bucket_ms for name, w in watched.items()
        }
        ends = [end_ms if end_ms > judged_ms else following[name] for name, end_ms in told]
        if any(w.windows.awake(judged_ms) for w in watched.values()):
            ends += following.values()
        return min(ends, default=None)

    def _count(self, watched: Watched, end_ms: int) -> tuple[Traffic, dict[Key, Served]]:
        """Add what lanes have told of this seal, and late of seals before it: in the order of lanes, then of time."""
        name, rewarded = watched.config.name, 0
        served: dict[Key, Served] = {}
        due = sorted(
            (place for place in self.waiting if place[1] == name and place[2] <= end_ms),
            key=lambda place: (_in_order(place[0]), place[2]),
        )
        for place in due:
            told = self.waiting.pop(place)
            for message in sorted(told.values(), key=lambda m: (m.policy, m.stage, m.bucket_ms)):
                self._add(watched, message)
                _serve(served, message)
                rewarded += message.rewarded
            self.counted[place[0], name] = place[2]
        return Traffic(sum(s.decisions for s in served.values()), rewarded), served

    def _add(self, watched: Watched, message: BucketMessage) -> None:
        actions = _codes(self.vocabulary.action_labels(watched.code), message.actions)
        segments = _codes(self.vocabulary.segments_of(watched.code), message.segments)
        statistics = {}
        for spec in watched.windows.specs:
            if spec.name in message.statistics:
                arrays = _by_our_codes(message.statistics[spec.name], spec.by_action, actions)
                arrays = _by_our_codes(arrays, spec.by_segment, segments)
                statistics[spec.name] = spec.statistic.of_arrays(arrays)
        key = self._key(message.policy, message.stage)
        watched.windows.count(key, message.bucket_ms, statistics, message.decisions)

    def _key(self, policy: str, stage: str) -> int:
        if policy == "*":
            return EVERY_POLICY
        return self.vocabulary.policies.code(policy) * STAGES + self.vocabulary.stages.code(stage)

    def _of(self, deployment: str) -> Watched:
        for watched in self._watched():
            if watched.config.name == deployment:
                return watched
        raise UnreadableMessage(f"no deployment {deployment} in this config")

    def _watched(self) -> list[Watched]:
        return [watched for watched in self.core.watched.values() if isinstance(watched, Watched)]


def _serve(served: dict[Key, Served], message: BucketMessage) -> None:
    """What made the decisions of a seal, over all lanes."""
    if not message.decisions:
        return
    key = message.policy, message.stage
    one = Served(message.decisions, message.first_ms, message.last_ms)
    if key in served:
        other = served[key]
        decisions = other.decisions + one.decisions
        one = Served(decisions, min(other.first_ms, one.first_ms), max(other.last_ms, one.last_ms))
    served[key] = one


def _codes(labels: Labels, names: Sequence[str]) -> list[int]:
    return [labels.code(name) for name in names]


def _by_our_codes(
    arrays: Mapping[str, Any], fields: Collection[str], codes: Sequence[int]
) -> Mapping[str, Any]:
    """Columns of these fields moved from a lane's codes to ours; those of the baseline's names are the same for all."""
    if all(here == there for here, there in enumerate(codes)):
        return arrays
    moved = {}
    for name, array in arrays.items():
        if name in fields:
            place = np.asarray(codes[: array.shape[-1]], np.int64)
            held = np.zeros((*array.shape[:-1], int(place.max(initial=-1)) + 1))
            np.add.at(held.T, place, array.T)  # several may be `(other)` here
            array = held
        moved[name] = array
    return moved


def _in_order(lane: str) -> tuple[str, int]:
    kind, _, number = lane.rpartition("-")
    return kind, int(number) if number.isdigit() else 0
