"""The real detectors, rules and alert life over a world's events: what the daemon's core does at each seal."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alerts.judge import Judge
from alerts.mandate import Mandate
from alerts.rules import DETECTORS, RuleSettings
from detectors.arrays import F64, I64
from detectors.critic.packed_segments import pack
from detectors.protocol import Baseline
from detectors.registry import REGISTRY
from detectors.rows import (
    BucketRows,
    Decisions,
    Outcomes,
    Returns,
    no_decisions,
    no_episodes,
    no_outcomes,
    no_returns,
)
from detectors.statistic import stack
from monitor.baselines.baseline import BaselineFile, Facts
from monitor.config import CostBudget, DeploymentConfig
from monitor.judging.plans import plan_for
from monitor.judging.sequential_tests import RULES, sequential_tests
from monitor.judging.windows import Group, Windows
from tests.bench.scoreboard.events import Events

BUCKET_MS = 10_000
DAY_MS = 86_400_000
KEY, NAME = 1, ("v1", "full")


@dataclass(frozen=True, slots=True)
class Setting:
    """per_bucket: events in a bucket. window: events in a window. horizon: of rewards, in events. rules: armed.

    between: events between false signals that the budget allows.
    """

    per_bucket: int
    window: int
    horizon: int
    rules: tuple[str, ...]
    between: float
    costs: tuple[str, ...] = ()
    budget: float = 0.1

    def config(self) -> DeploymentConfig:
        """As an operator would write it."""
        return DeploymentConfig(
            "bench", bucket_ms=BUCKET_MS, window_ms=max(self.window // self.per_bucket, 1) * BUCKET_MS,
            reward_horizon_ms=max(BUCKET_MS * self.horizon // self.per_bucket, 1),
            false_per_day=DAY_MS / BUCKET_MS * self.per_bucket / self.between,
            rules={rule: RuleSettings(enabled=False) for rule in DETECTORS if rule not in self.rules},
            costs={name: CostBudget(self.budget) for name in self.costs},
        )  # fmt: skip

    def specs(self) -> list[str]:
        """The detectors that the armed rules listen to, and what the sequential tests read."""
        wanted = {d for rule in self.rules for d in DETECTORS[rule]}
        wanted |= {detector for detector, rule in RULES.items() if rule in self.rules}
        if "quality" in self.rules:
            wanted |= {"reward"}
        return [spec.name for spec in REGISTRY if spec.name in wanted]


class Watcher:
    """Baseline once, then a watch over live events."""

    def __init__(self, setting: Setting, events: Events) -> None:
        self._setting, self._config = setting, setting.config()
        self._specs = [spec for spec in REGISTRY if spec.name in setting.specs()]
        self._labels = _names(events.action)
        self._segments = _names(events.segment)
        self._file = self._baseline(events)
        parts = self._file.parts
        self._detectors = {
            s.name: s.build(parts.get(s.name), plan_for(self._config, s.name)) for s in self._specs
        }
        self._tests = sequential_tests(self._config, self._file.parts)

    def signals(self, events: Events) -> Iterator[tuple[int, str]]:
        """(events seen, rule) of every signal that fires, seal by seal."""
        config, setting = self._config, self._setting
        windows = Windows(self._specs, self._detectors, BUCKET_MS, config.window_ms, config.reward_horizon_ms)
        tests = replace(self._tests, states={})
        mandate = Mandate("bench", "", "", config.rules, BUCKET_MS, config.window_ms, 0, False, "bench")
        judge = Judge(mandate)
        known = set(self._labels)
        labels = [*self._labels, *(name for name in _names(events.action) if name not in known)]
        for i, groups in enumerate(_sealed(setting, events)):
            end_ms = (i + 1) * BUCKET_MS
            windows.add(groups)
            measured = windows.measure(KEY, end_ms, labels, self._segments)
            measured += tests.at_seal(KEY, windows, end_ms, labels, measured, self._segments)
            for signal in judge.at_seal(end_ms, {NAME: measured}):
                if signal.state == "firing":
                    yield (i + 1) * setting.per_bucket, signal.rule
            windows.prune(end_ms)

    def _baseline(self, events: Events) -> BaselineFile:
        setting, parts = self._setting, {}
        everything = _decisions(events, 0, _length(events))
        series: dict[str, dict[int, Any]] = {spec.name: {} for spec in self._specs}
        built = {}
        for spec in self._specs:
            plan = plan_for(self._config, spec.name)
            schema = spec.fit(everything, plan)
            built[spec.name] = (schema, spec.build(Baseline(schema, {}, (), BUCKET_MS, self._labels), plan))
        for groups in _sealed(setting, events, settle=True):
            for group in groups:
                for spec in self._specs:
                    seen = built[spec.name][1].observe(group.rows)
                    mine = series[spec.name]
                    mine[group.bucket_ms] = mine[group.bucket_ms] + seen if group.bucket_ms in mine else seen
        for spec in self._specs:
            mine = series[spec.name]
            starts = sorted(mine)
            parts[spec.name] = Baseline(
                built[spec.name][0],
                stack([mine[s] for s in starts]),
                starts,
                BUCKET_MS,
                self._labels,
                self._segments,
            )
        facts = Facts("bench", 0, 0, 0, 0, BUCKET_MS, 0, (), (), {}, {})
        return BaselineFile(facts, parts, "bench")


def _names(codes: I64 | None) -> list[str]:
    return [] if codes is None else [str(code) for code in range(int(codes.max()) + 1)]


def _length(events: Events) -> int:
    columns = (events.reward, events.state, events.action, events.value)
    return next(len(column) for column in columns if column is not None)


def _sealed(setting: Setting, events: Events, settle: bool = False) -> Iterator[list[Group]]:
    """What is new at each seal: the decisions of the bucket, and the rewards that came in it, by their own bucket."""
    n, size = _length(events), setting.per_bucket
    delay = np.zeros(n) if events.delay is None else events.delay
    when = np.where(delay <= setting.horizon, np.arange(n) + delay, 1e12)
    arrives = (when // size).astype(np.int64)
    order = np.argsort(arrives, kind="stable")
    buckets = n // size
    last = buckets + (setting.horizon // size + 2 if settle else 0)
    edges = np.searchsorted(arrives[order], np.arange(last + 1))
    for i in range(last):
        came = order[edges[i] : edges[i + 1]]
        mine = [i] if i < buckets else []
        groups = []
        for bucket in sorted({*mine, *(came // size).tolist()}):
            new = slice(i * size, (i + 1) * size) if bucket == i and i < buckets else slice(0, 0)
            rows = came[came // size == bucket]
            groups.append(Group(KEY, bucket * BUCKET_MS, _rows(setting, events, new, rows, delay)))
        yield groups


def _rows(setting: Setting, events: Events, new: slice, came: I64, delay: F64) -> BucketRows:
    outcomes, returns = no_outcomes(), no_returns()
    if events.reward is not None and len(came):
        outcomes, returns = _outcomes(setting, events, came, delay), _returns(events, came)
    return BucketRows(_decisions(events, new.start, new.stop), outcomes, returns, no_episodes())


def _outcomes(setting: Setting, events: Events, came: I64, delay: F64) -> Outcomes:
    assert events.reward is not None
    nothing = np.full(len(came), np.nan)
    action = (
        events.action[came].astype(np.int32) if events.action is not None else np.zeros(len(came), np.int32)
    )
    return Outcomes(
        (delay[came] * BUCKET_MS / setting.per_bucket).astype(np.int64), nothing, events.reward[came], nothing,
        events.truth[came] if events.truth is not None else nothing, action, np.zeros(len(came), np.uint64),
    )  # fmt: skip


def _returns(events: Events, came: np.ndarray) -> Returns:
    if events.value is None or events.reward is None:
        return no_returns()
    nothing = np.full(len(came), np.nan)
    action, segment = (
        np.zeros(len(came), np.int64) if column is None else column[came]
        for column in (events.action, events.segment)
    )
    packed, _ = pack([segment if events.segment is not None else segment - 1])
    none = np.zeros(len(came), np.uint64)
    return Returns(events.value[came], nothing, events.reward[came], action.astype(np.int32), none, packed)


def _decisions(events: Events, start: int, stop: int) -> Decisions:
    n = stop - start
    width = 0 if events.state is None else events.state.shape[1]
    if n == 0:
        return no_decisions(width)
    nothing = np.full(n, np.nan)
    part = slice(start, stop)
    return Decisions(
        ts_ms=np.arange(start, stop), action_vector=np.empty((n, 0)), entropy=nothing, confidence=nothing,
        action=events.action[part].astype(np.int32) if events.action is not None else np.full(n, -1, np.int32),
        propensity=events.propensity[part] if events.propensity is not None else nothing,
        value=events.value[part] if events.value is not None else nothing, latency_ms=nothing,
        state=events.state[part] if events.state is not None else np.empty((n, 0)),
        unit=np.zeros(n, np.uint64), violation=np.zeros(n, np.uint8),
        costs={name: column[part] for name, column in events.costs.items()},
    )  # fmt: skip
