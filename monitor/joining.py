"""One deployment's decisions and rewards, tick by tick: joined, grouped by key and bucket."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from detectors.arrays import F64, I32, I64, U8, U64, Bool
from detectors.rows import (
    BucketRows,
    Decisions,
    Episodes,
    Metrics,
    Outcomes,
    Returns,
    no_decisions,
    no_episodes,
    no_outcomes,
    no_returns,
)
from monitor.batch import DecisionBatch, MetricBatch, RewardBatch
from monitor.episodes.book import EndedEpisodes, EpisodeBook, NewSteps, RewardUpdates, Targets
from monitor.frames import concat, take
from monitor.joins.candidates import Matured, PendingCandidates
from monitor.joins.join import Expired, JoinTable, NewDecisions, Settled
from monitor.joins.shadows import Shadows
from monitor.judging.windows import Group
from monitor.segments import Segments
from monitor.vocabulary import STAGES, Vocabulary

T = TypeVar("T")
EVERY_POLICY = -1  # the key of business metrics that name no policy


def key_of(policy: I32, stage: I32) -> I32:
    """One small integer per (policy, stage)."""
    return (policy * STAGES + stage).astype(np.int32)


def name_of(key: int, vocabulary: Vocabulary) -> tuple[str, str]:
    """Policy and stage of a key; metrics that belong to no policy stand under `*`."""
    if key == EVERY_POLICY:
        return "*", "full"
    return vocabulary.policies.names[key // STAGES], vocabulary.stages.names[key % STAGES]


@dataclass(frozen=True, slots=True)
class Arrived:
    """Decisions that rewards reached: `Settled` flat, one row each."""

    id: U64
    ts_ms: I64
    bucket_ms: I64
    key: I32
    value: F64
    action: I32
    unit: U64
    episode: U64
    step: I64
    segments: U64
    delay_ms: I64
    reward_before: F64
    reward: F64
    truth_before: F64
    truth: F64
    flags: U8
    components: dict[str, tuple[F64, F64]]
    costs: dict[str, tuple[F64, F64]]

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True, slots=True)
class Unrewarded:
    """Decisions whose horizon passed without a reward."""

    bucket_ms: I64
    key: I32

    def __len__(self) -> int:
        return len(self.key)


@dataclass(slots=True)
class Piles:
    """What has happened since the last seal, in the order of ticks."""

    decisions: list[DecisionBatch] = field(default_factory=list)
    arrived: list[Arrived] = field(default_factory=list)
    targets: list[Targets] = field(default_factory=list)
    ended: list[EndedEpisodes] = field(default_factory=list)
    unrewarded: list[Unrewarded] = field(default_factory=list)
    metrics: list[tuple[str, MetricBatch]] = field(default_factory=list)
    matured: list[Matured] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether anything has happened."""
        tables = (self.decisions, self.arrived, self.targets, self.ended, self.unrewarded, self.matured)
        return bool(self.metrics) or any(len(part) for parts in tables for part in parts)


@dataclass(slots=True)
class Joining:
    """`insert`, `settle` and `end_tick` once per tick, `take` once per sealed bucket.

    book: None where the critic is compared with the reward itself and no cost is summed per episode. candidates: None
    where nobody asks for them. shadows: whose decisions speak for candidates, None where nobody asks.
    """

    bucket_ms: int
    horizon_ms: int
    table: JoinTable
    book: EpisodeBook | None
    segments: Segments
    candidates: PendingCandidates | None = None
    shadows: Shadows | None = None
    piles: Piles = field(default_factory=Piles)
    fresh: DecisionBatch | None = None
    fresh_segments: U64 = field(default_factory=lambda: np.empty(0, np.uint64))
    arrived: list[Arrived] = field(default_factory=list)

    def insert(self, decisions: DecisionBatch) -> Bool:
        """Make a tick's decisions wait for their rewards; the mask says which were seen before."""
        segments = self.segments.of(decisions.segments, len(decisions))
        fresh = self.table.insert(
            NewDecisions(
                id=decisions.id,
                ts_ms=decisions.ts_ms,
                bucket_ms=self._bucket(decisions.ts_ms),
                key=key_of(decisions.policy, decisions.stage),
                value=decisions.value,
                action=decisions.action,
                unit=decisions.unit,
                episode=decisions.episode,
                step=decisions.step,
                segments=segments,
            )
        )
        self.fresh = decisions if fresh.all() else take(decisions, fresh)
        self.fresh_segments = segments[fresh]
        if self.candidates is not None:
            self._follow(self.candidates, self.fresh)
        self.piles.decisions.append(replace(self.fresh, probs={}))
        return ~fresh

    def settle(self, rewards: RewardBatch) -> Settled:
        """Give a tick's rewards to the decisions that wait for them."""
        settled = self.table.settle(rewards)
        if len(settled):
            self.arrived.append(_arrived(settled))
        return settled

    def end_tick(self, end_ms: int, metrics: Sequence[tuple[str, MetricBatch]]) -> None:
        """Let episodes and horizons follow the clock."""
        if self.book is not None:
            targets, ended = self.book.advance(end_ms, self._steps(), self._updates())
            self.piles.targets.append(targets)
            self.piles.ended.append(ended)
        if self.candidates is not None and len(self.candidates):
            self._mature(self.candidates, end_ms)
        self.piles.arrived += self.arrived
        self.fresh, self.arrived = None, []
        self.piles.unrewarded.append(_unrewarded(self.table.expire(end_ms - self.horizon_ms)))
        self.piles.metrics += metrics

    @property
    def open_decisions(self) -> int:
        """Decisions that may still be rewarded, and steps whose episode has not ended."""
        return len(self.table) + (len(self.book) if self.book is not None else 0)

    def take_matured(self) -> list[Matured]:
        """Decisions that name candidates and have become final since the last call."""
        matured, self.piles.matured = self.piles.matured, []
        return matured

    def take(self) -> list[Group]:
        """Everything since the last call, one group per key and bucket, in that order."""
        piles, self.piles = self.piles, Piles(matured=self.piles.matured)
        rows: dict[tuple[int, int], dict[str, Any]] = {}
        for name, key, bucket_ms, part in self._parts(piles):
            rows.setdefault((key, bucket_ms), {})[name] = part
        return [
            Group(key, bucket_ms, _bucket_rows(found)) for (key, bucket_ms), found in sorted(rows.items())
        ]

    def _follow(self, candidates: PendingCandidates, d: DecisionBatch) -> None:
        """Remember what candidates, and shadows, would have done."""
        served = None if self.shadows is None else self.shadows.hear(d)
        if served is not None or d.candidates:
            candidates.insert(d, key_of(d.policy, d.stage), served)
        if served is not None and self.shadows is not None:
            for view in self.shadows.speak():
                candidates.name(view.policy, view.decision, view.columns)

    def _mature(self, candidates: PendingCandidates, end_ms: int) -> None:
        """What candidates are judged by is complete when the horizon has passed."""
        for part in self.arrived:
            costs = {name: after for name, (_, after) in part.costs.items()}
            candidates.settle(part.id, part.reward, costs, part.flags)
        if self.shadows is not None:
            self.shadows.expire(end_ms - self.horizon_ms)
        matured = candidates.expire(end_ms - self.horizon_ms)
        if matured is not None:
            self.piles.matured.append(matured)

    def _parts(self, piles: Piles) -> Iterator[tuple[str, int, int, Any]]:
        for d in _whole(piles.decisions):
            yield from _split("decisions", key_of(d.policy, d.stage), self._bucket(d.ts_ms), d, _decisions)
        for s in _whole(piles.arrived):
            yield from _split("outcomes", s.key, s.bucket_ms, s, _outcomes)
            if self.book is None:
                yield from _split("returns", s.key, s.bucket_ms, s, _rewards_as_returns)
        for t in _whole(piles.targets):
            yield from _split("returns", t.key, t.bucket_start_ms, t, _returns)
        for e in _whole(piles.ended):
            yield from _split("episodes", e.key, e.bucket_start_ms, e, _episodes)
        for u in _whole(piles.unrewarded):
            for _, key, bucket_ms, part in _split("expired", u.key, u.bucket_ms, u, lambda whole: whole):
                yield "expired", key, bucket_ms, len(part)
        yield from _metrics(piles.metrics, self._bucket)

    def _bucket(self, ts_ms: I64) -> I64:
        return ts_ms // self.bucket_ms * self.bucket_ms

    def _steps(self) -> NewSteps:
        d = self.fresh
        if d is None:
            f, i, u = np.empty(0), np.empty(0, np.int64), np.empty(0, np.uint64)
            return NewSteps(i.astype(np.int32), i, u, u, i, i, f, i.astype(np.int32), u, u)
        key = key_of(d.policy, d.stage)
        return NewSteps(
            key, self._bucket(d.ts_ms), d.id, d.episode, d.step, d.ts_ms, d.value, d.action, d.unit,
            self.fresh_segments, d.costs,
        )  # fmt: skip

    def _updates(self) -> RewardUpdates:
        whole = _whole(self.arrived)
        if not whole:
            f, i, u = np.empty(0), np.empty(0, np.int64), np.empty(0, np.uint64)
            return RewardUpdates(i.astype(np.int32), u, u, i, i, f, np.empty(0, np.uint8))
        s = whole[0]
        costs = {name: after for name, (_, after) in s.costs.items()}
        return RewardUpdates(s.key, s.id, s.episode, s.step, s.ts_ms, s.reward, s.flags, costs)


def _whole(parts: Sequence[T]) -> list[T]:
    """The parts that hold rows, as one table, or nothing."""
    full = [part for part in parts if len(part)]  # type: ignore[arg-type]
    return [concat(full)] if full else []


def _split(
    name: str, key: I32, bucket_ms: I64, table: Any, build: Callable[[Any], Any]
) -> Iterator[tuple[str, int, int, Any]]:
    rows = build(table)
    if (key == key[0]).all() and (bucket_ms == bucket_ms[0]).all():
        yield name, int(key[0]), int(bucket_ms[0]), rows
        return
    order = np.lexsort((bucket_ms, key))
    rows, k, b = take(rows, order), key[order], bucket_ms[order]
    edges = np.flatnonzero((k[1:] != k[:-1]) | (b[1:] != b[:-1])) + 1
    for first, end in pairwise([0, *edges.tolist(), len(order)]):
        yield name, int(k[first]), int(b[first]), take(rows, slice(first, end))


def _decisions(d: DecisionBatch) -> Decisions:
    return Decisions(
        ts_ms=d.ts_ms, action=d.action, action_vector=d.action_vector, propensity=d.propensity, entropy=d.entropy,
        value=d.value, confidence=d.confidence, latency_ms=d.latency_ms, state=d.state, unit=d.unit,
        violation=d.violation, costs=d.costs, segments=d.segments,
    )  # fmt: skip


def _arrived(s: Settled) -> Arrived:
    d = s.decisions
    return Arrived(
        id=d.id, ts_ms=d.ts_ms, bucket_ms=d.bucket_ms, key=d.key, value=d.value, action=d.action, unit=d.unit,
        episode=d.episode, step=d.step, segments=d.segments, delay_ms=s.delay_ms, reward_before=s.reward_before,
        reward=s.reward, truth_before=s.truth_before, truth=s.truth, flags=s.flags, components=s.components,
        costs=s.costs,
    )  # fmt: skip


def _unrewarded(e: Expired) -> Unrewarded:
    bare = np.isnan(e.reward)
    return Unrewarded(e.decisions.bucket_ms[bare], e.decisions.key[bare])


def _outcomes(s: Arrived) -> Outcomes:
    return Outcomes(
        delay_ms=s.delay_ms, reward_before=s.reward_before, reward=s.reward, truth_before=s.truth_before,
        truth=s.truth, action=s.action, unit=s.unit, components=s.components, costs=s.costs,
    )  # fmt: skip


def _rewards_as_returns(s: Arrived) -> Returns:
    return Returns(s.value, s.reward_before, s.reward, s.action, s.unit, s.segments)


def _returns(t: Targets) -> Returns:
    return Returns(t.value, t.target_before, t.target, t.action, t.unit, t.segments)


def _episodes(e: EndedEpisodes) -> Episodes:
    return Episodes(e.steps, e.reward, e.truncated, e.costs)


def _metrics(
    piles: Sequence[tuple[str, MetricBatch]], bucket: Callable[[I64], I64]
) -> Iterator[tuple[str, int, int, Any]]:
    found: dict[int, dict[str, list[F64]]] = {}
    for name, table in piles:
        starts = bucket(table.ts_ms)
        for start in np.unique(starts).tolist():
            found.setdefault(start, {}).setdefault(name, []).append(table.value[starts == start])
    for start, values in found.items():
        joined = {name: np.concatenate(parts) for name, parts in sorted(values.items())}
        yield "metrics", EVERY_POLICY, start, Metrics(joined)


def _bucket_rows(found: dict[str, Any]) -> BucketRows:
    return BucketRows(
        decisions=found.get("decisions", no_decisions()),
        outcomes=found.get("outcomes", no_outcomes()),
        returns=found.get("returns", no_returns()),
        episodes=found.get("episodes", no_episodes()),
        metrics=found.get("metrics", Metrics()),
        expired=found.get("expired", 0),
    )
