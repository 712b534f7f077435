"""The pure core: events in, sealed buckets out. Only event time decides when and what."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np

from alerts.signal import Signal
from alerts.violations import ViolationEvent
from detectors.arrays import I64, Bool
from monitor.batch import DecisionBatch, EventBatch, MetricBatch, RewardBatch, Violation
from monitor.config import DeploymentConfig
from monitor.decoding.reasons import Reason
from monitor.event_time import ADMITTED, Admission
from monitor.frames import concat, take
from monitor.joining import Joining
from monitor.joins.join import Fate
from monitor.joins.ordering import in_order, order_of
from monitor.joins.orphans import Orphans
from monitor.sealed import Sealed
from monitor.vocabulary import Vocabulary

T = TypeVar("T", DecisionBatch, RewardBatch, MetricBatch)
OFFSET_BITS = 48
_WHAT = {Violation.MASKED: "masked in this state", Violation.OUTSIDE_ENVELOPE: "outside the action envelope"}


class Watcher(Protocol):
    """One deployment as the core needs it: what it joins, what it says at a seal and of forbidden actions."""

    config: DeploymentConfig
    joining: Joining

    def seal(self, end_ms: int) -> Sealed: ...

    def awake(self, now_ms: int) -> bool: ...

    def violations(self, events: Sequence[ViolationEvent]) -> list[Signal]: ...


@dataclass(slots=True)
class Tick:
    """The admitted events of one step of the grid on which rewards are joined."""

    decisions: dict[int, list[DecisionBatch]] = field(default_factory=dict)
    rewards: list[RewardBatch] = field(default_factory=list)
    metrics: list[MetricBatch] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Ingested:
    """What is known at once: signals of forbidden actions, and rows that came too late for their tick."""

    signals: list[Signal]
    late: I64


@dataclass(frozen=True, slots=True)
class SetAside:
    """Events that the join refused. positions: partition code and offset packed by `position_of`."""

    reason: Reason
    positions: I64


@dataclass(slots=True)
class Core:
    """watched: deployment code -> its state, in the order of the config. edge_ms: ticks before it are sealed.
    set_aside: what was refused since the caller last emptied it.
    """

    tick_ms: int
    watched: Mapping[int, Watcher]
    vocabulary: Vocabulary
    orphans: Orphans
    orphan_ms: int
    ticks: dict[int, Tick] = field(default_factory=dict)
    edge_ms: int | None = None
    set_aside: list[SetAside] = field(default_factory=list)

    def ingest(self, batch: EventBatch, admission: Admission) -> Ingested:
        """Put admitted events into their ticks; decide forbidden actions now."""
        signals: list[Signal] = []
        late = []
        positions = position_of(self.vocabulary.partitions.code(batch.partition), batch.offsets)
        tick_of = admission.ts_ms // self.tick_ms * self.tick_ms
        on_time = admission.fate == ADMITTED
        for deployment, table in batch.decisions.items():
            sealed = on_time[table.row] & self._is_sealed(tick_of[table.row])
            late.append(table.row[sealed])
            kept = take(table, on_time[table.row] & ~sealed)
            for start, part in _by_tick(kept, tick_of):
                self._tick(start).decisions.setdefault(deployment, []).append(_placed(part, positions))
            signals += self._violations(deployment, kept, admission.clock_ms, batch.offsets)
        for start, rewards in self._counted(batch.rewards, on_time, tick_of):
            self._tick(start).rewards.append(_placed(rewards, positions))
        for start, metrics in self._counted(batch.metrics, on_time, tick_of):
            self._tick(start).metrics.append(_placed(metrics, positions))
        return Ingested(signals, np.concatenate(late) if late else np.empty(0, np.int64))

    def advance(self, watermark_ms: int | None) -> Iterator[Sealed]:
        """Seal every tick that ends at or before the watermark, oldest first."""
        if watermark_ms is None:
            return
        if self.edge_ms is None:
            if not self.ticks:
                return
            self.edge_ms = min([*self.ticks, watermark_ms // self.tick_ms * self.tick_ms])
        while self.edge_ms + self.tick_ms <= watermark_ms:
            self._skip_silence(watermark_ms)
            if self.edge_ms + self.tick_ms > watermark_ms:
                return
            end_ms = self.edge_ms + self.tick_ms
            self._run_tick(self.ticks.pop(self.edge_ms, Tick()), end_ms)
            self.edge_ms = end_ms
            for watched in self.watched.values():
                if end_ms % watched.config.bucket_ms == 0:
                    yield watched.seal(end_ms)

    def give_up(self) -> None:
        """The end of the log: what still waits for its decision waits in vain."""
        self._set_aside(Reason.UNKNOWN_DECISION, self.orphans.expire(np.iinfo(np.int64).max).row)

    def flush_to_ms(self) -> int | None:
        """The end of the newest bucket that holds anything: how far the end of a log may seal."""
        if not self.ticks:
            return None
        newest = max(self.ticks)
        return max(
            -(-(newest + self.tick_ms) // w.config.bucket_ms) * w.config.bucket_ms
            for w in self.watched.values()
        )

    def _is_sealed(self, tick: I64) -> Bool:
        return np.zeros(len(tick), np.bool_) if self.edge_ms is None else tick < self.edge_ms

    def _tick(self, start_ms: int) -> Tick:
        return self.ticks.setdefault(start_ms, Tick())

    def _counted(self, table: T, on_time: Bool, tick_of: I64) -> Iterator[tuple[int, T]]:
        """Rewards and metrics are counted in the first open tick when their own is already sealed."""
        kept = take(table, on_time[table.row])
        ticks = tick_of if self.edge_ms is None else np.maximum(tick_of, self.edge_ms)
        yield from _by_tick(kept, ticks)

    def _violations(self, deployment: int, table: DecisionBatch, clock_ms: I64, offsets: I64) -> list[Signal]:
        rows = np.flatnonzero(table.violation)
        if not len(rows):
            return []
        actions, vocabulary = self.vocabulary.action_labels(deployment).names, self.vocabulary
        events = [
            ViolationEvent(
                ts_ms=int(table.ts_ms[i]),
                clock_ms=int(clock_ms[table.row[i]]),
                policy=vocabulary.policies.names[table.policy[i]],
                stage=vocabulary.stages.names[table.stage[i]],
                what=_WHAT[Violation(int(table.violation[i]))],
                action=actions[table.action[i]] if table.action[i] >= 0 else "(continuous)",
                offset=int(offsets[table.row[i]]),
            )
            for i in rows.tolist()
        ]
        return self.watched[deployment].violations(events)

    def _run_tick(self, tick: Tick, end_ms: int) -> None:
        rewards = _canonical_rewards(tick.rewards)
        for deployment, watched in self.watched.items():
            decisions = _canonical_decisions(tick.decisions.get(deployment, []))
            if decisions is not None:
                duplicate = watched.joining.insert(decisions)
                self._set_aside(Reason.DUPLICATE, decisions.row[duplicate])
                if waited := _some(self.orphans.offer(decisions.id[~duplicate])):
                    rewards = _canonical_rewards([*_some(rewards), *waited])
        for watched in self.watched.values():
            rewards = self._settle(watched, rewards)
        for unmatched in _some(rewards):
            self._set_aside(Reason.ORPHAN, self.orphans.add(unmatched).row)
        self._set_aside(Reason.UNKNOWN_DECISION, self.orphans.expire(end_ms - self.orphan_ms).row)
        for deployment, watched in self.watched.items():
            watched.joining.end_tick(end_ms, _metrics_of(tick.metrics, deployment, self.vocabulary))

    def _settle(self, watched: Watcher, rewards: RewardBatch | None) -> RewardBatch | None:
        if rewards is None or not len(rewards):
            return rewards
        fate = watched.joining.settle(rewards).fate
        self._set_aside(Reason.DUPLICATE, rewards.row[fate == Fate.DUPLICATE])
        self._set_aside(Reason.LATE, rewards.row[fate == Fate.LATE])
        return take(rewards, fate == Fate.UNMATCHED)

    def _set_aside(self, reason: Reason, positions: I64) -> None:
        if len(positions):
            self.set_aside.append(SetAside(reason, positions))

    def _skip_silence(self, watermark_ms: int) -> None:
        """Jump over a stretch in which no tick holds anything and no window holds a bucket."""
        assert self.edge_ms is not None
        if self.edge_ms in self.ticks or any(
            watched.awake(self.edge_ms) for watched in self.watched.values()
        ):
            return
        target = min([*self.ticks, watermark_ms // self.tick_ms * self.tick_ms])
        self.edge_ms = max(self.edge_ms, target)


def _by_tick(table: T, tick_of: I64) -> Iterator[tuple[int, T]]:
    mine = tick_of[table.row]
    if len(mine) and (mine == mine[0]).all():
        yield int(mine[0]), table
        return
    for start in np.unique(mine).tolist():
        yield start, take(table, mine == start)


def _canonical_decisions(parts: Sequence[DecisionBatch]) -> DecisionBatch | None:
    """One table in the order (event time, id): the same however the log was partitioned, ordered or polled."""
    if not parts:
        return None
    table = concat(parts)
    if in_order(table.ts_ms, table.id):
        return table
    return take(table, order_of(table.ts_ms, table.id, table.row))


def _canonical_rewards(parts: Sequence[RewardBatch]) -> RewardBatch | None:
    full = [part for part in parts if len(part)]
    if not full:
        return None
    table = concat(full)
    if in_order(table.ts_ms, table.id):
        return table
    return take(table, order_of(table.ts_ms, table.id, table.reward, table.truth))


def _some(rewards: RewardBatch | None) -> list[RewardBatch]:
    return [] if rewards is None or not len(rewards) else [rewards]


def _placed(table: T, positions: I64) -> T:
    """The table with each row's place in its log instead of its place in the poll."""
    return replace(table, row=positions[table.row])


def position_of(partition: int, offsets: I64) -> I64:
    """Partition code and offset in one integer, in the order of both."""
    return (np.int64(partition) << np.int64(OFFSET_BITS)) | offsets


def _metrics_of(
    parts: Sequence[MetricBatch], deployment: int, vocabulary: Vocabulary
) -> list[tuple[str, MetricBatch]]:
    if not parts:
        return []
    table = concat(parts)
    table = take(table, table.deployment == deployment)
    table = take(table, np.lexsort((table.value, table.metric, table.ts_ms)))
    return [
        (vocabulary.metrics.names[code], take(table, table.metric == code))
        for code in np.unique(table.metric).tolist()
    ]
