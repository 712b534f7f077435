"""Made-up traffic for the benchmarks: decisions with a reward each, as columns, as JSON, and the core that watches."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from detectors.arrays import F64, I64
from detectors.registry import REGISTRY
from monitor.assembly import build_core, build_gathering_core, vocabulary_for
from monitor.baselines.baseline import BaselineFile, Facts
from monitor.batch import DecisionBatch, EventBatch, Kind, MetricBatch, RewardBatch
from monitor.config import Config
from monitor.config_file import parse_config
from monitor.core import Core
from monitor.event_time import Admission, believed
from monitor.vocabulary import Vocabulary

START_MS = 1_767_225_600_000
BUCKET_MS = 10_000
DELAY_MS = 2_000  # from a decision to its reward
ACTIONS = 20
POLL = 5_000
BASELINE_BUCKETS = 240
NAME = "home"


@dataclass(frozen=True, slots=True)
class Traffic:
    """features: of each state. per_second: events, half of them decisions. keys: policies that share them.
    poll: decisions at a time.
    """

    features: int = 32
    per_second: float = 5_000.0
    keys: int = 1
    poll: int = POLL
    seed: int = 1

    def config(self) -> Config:
        """One deployment with every rule armed."""
        deployment = {
            "fallback_policy": "rules",
            "reward_horizon": "1m",
            "max_policies": max(self.keys, 100),
            "costs": {"complaint": {"budget": 0.05}},
            "rules": {"latency": {"budget": 50.0}},
        }
        return parse_config({"source": {"kind": "files"}, "deployments": {NAME: deployment}})

    def polls(self, events: int) -> Iterator[EventBatch]:
        """Batches of decisions and of rewards by turns, in step, until so many events have been made."""
        rng = np.random.default_rng(self.seed)
        states = rng.normal(size=(max(20_011, POLL), self.features))
        made, offset = 0, 0
        while made < events:
            n = min(self.poll, max(1, (events - made) // 2))
            ts_ms = START_MS + ((offset + np.arange(n)) * 2_000 / self.per_second).astype(np.int64)
            ids = _ids(offset, n)
            yield self._decisions(
                rng, ts_ms, ids, states[np.arange(offset, offset + n) % len(states)], offset
            )
            yield self._rewards(rng, ts_ms + DELAY_MS, ids, offset)
            made, offset = made + 2 * n, offset + n

    def _decisions(
        self, rng: np.random.Generator, ts_ms: I64, ids: Any, state: F64, offset: int
    ) -> EventBatch:
        n = len(ts_ms)
        zero = np.zeros(n, np.uint64)
        table = DecisionBatch(
            row=np.arange(n), ts_ms=ts_ms, id=ids, policy=rng.integers(0, self.keys, n).astype(np.int32),
            stage=np.zeros(n, np.int32), action=rng.integers(0, ACTIONS, n).astype(np.int32),
            action_vector=np.empty((n, 0)), propensity=np.full(n, 1 / ACTIONS), entropy=np.full(n, np.log(ACTIONS)),
            value=rng.normal(size=n), confidence=np.full(n, np.nan), latency_ms=rng.exponential(5.0, n), state=state,
            unit=zero, episode=zero, step=np.full(n, -1), violation=np.zeros(n, np.uint8),
            costs={"complaint": (rng.random(n) < 0.01).astype(np.float64)},
        )  # fmt: skip
        return _batch(
            "rl.decisions-0",
            ts_ms,
            offset,
            Kind.DECISION,
            {0: table},
            _rewards(ts_ms[:0], ids[:0], np.empty(0)),
        )

    def _rewards(self, rng: np.random.Generator, ts_ms: I64, ids: Any, offset: int) -> EventBatch:
        table = _rewards(ts_ms, ids, rng.normal(size=len(ts_ms)))
        return _batch("rl.rewards-0", ts_ms, offset, Kind.REWARD, {}, table)


@dataclass(slots=True)
class World:
    """A core with its baseline, and the vocabulary in which its traffic is coded."""

    traffic: Traffic
    core: Core
    vocabulary: Vocabulary
    cpu_s: float = field(default=0.0)

    def run(self, events: int, warm: int = 0) -> int:
        """Feed so many events and seal all; returns the buckets sealed.

        Only the core's own CPU time counts, and only after the first `warm` events.
        """
        sealed = fed = 0
        for batch in self.traffic.polls(events):
            if fed < warm:
                self.cpu_s = 0.0
            fed += len(batch)
            self._timed(partial(self._ingest, batch, believed(batch.ts_ms)))
            if batch.kind[0] == Kind.REWARD:  # both partitions have come so far
                sealed += self._timed(partial(self._advance, int(batch.ts_ms[-1]) - DELAY_MS))
        return sealed + self._timed(partial(self._advance, self.core.flush_to_ms()))

    def _ingest(self, batch: EventBatch, admission: Admission) -> int:
        self.core.ingest(batch, admission)
        return 0

    def _advance(self, low_ms: int | None) -> int:
        return sum(1 for _ in self.core.advance(low_ms))

    def _timed(self, work: Callable[[], int]) -> int:
        began = time.process_time()
        result = work()
        self.cpu_s += time.process_time() - began
        return result


def world(traffic: Traffic, baseline: BaselineFile | None = None) -> World:
    """A core that watches this traffic with a baseline of its own kind."""
    config = traffic.config()
    baselines = {NAME: baseline or baseline_of(traffic)}
    vocabulary = _vocabulary(traffic, config, baselines)
    return World(traffic, build_core(config, baselines, vocabulary), vocabulary)


def baseline_of(traffic: Traffic, per_bucket: int = 500) -> BaselineFile:
    """Counted from one policy's traffic of so many decisions a bucket."""
    quiet = Traffic(traffic.features, 2 * per_bucket * 1_000 / BUCKET_MS, seed=traffic.seed + 1)
    config = quiet.config()
    vocabulary = _vocabulary(quiet, config, {})
    core, collector = build_gathering_core(config, NAME, vocabulary)
    World(quiet, core, vocabulary).run(2 * per_bucket * BASELINE_BUCKETS)
    facts = Facts(
        NAME, collector.decisions, collector.rewards, START_MS, START_MS + BASELINE_BUCKETS * BUCKET_MS, BUCKET_MS,
        traffic.features, _labels(), ("v0",), {}, {spec.name: spec.version for spec in REGISTRY},
    )  # fmt: skip
    return BaselineFile(facts, collector.finish(), "bench")


def _vocabulary(traffic: Traffic, config: Config, baselines: dict[str, BaselineFile]) -> Vocabulary:
    vocabulary = vocabulary_for(config, baselines)
    vocabulary.policies.extend(f"v{i}" for i in range(traffic.keys))
    vocabulary.action_labels(0).extend(_labels())
    return vocabulary


def _labels() -> tuple[str, ...]:
    return tuple(str(action) for action in range(ACTIONS))


def _ids(offset: int, n: int) -> Any:
    return (np.arange(offset + 1, offset + n + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)


def _rewards(ts_ms: I64, ids: Any, reward: F64) -> RewardBatch:
    truth = np.where(np.arange(len(reward)) % 10 == 0, reward, np.nan)
    return RewardBatch(np.arange(len(ts_ms)), ts_ms, ids, reward, truth, np.zeros(len(ts_ms), np.uint8))


def _batch(
    partition: str,
    ts_ms: I64,
    offset: int,
    kind: Kind,
    decisions: dict[int, DecisionBatch],
    rewards: RewardBatch,
) -> EventBatch:
    n, i = len(ts_ms), np.empty(0, np.int64)
    code = i.astype(np.int32)
    return EventBatch(
        partition, offset + np.arange(n), ts_ms, np.full(n, kind, np.uint8), [b""] * n, decisions, rewards,
        MetricBatch(i, i, code, code, code, np.empty(0)), offset + n,
    )  # fmt: skip
