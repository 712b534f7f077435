"""A whole pipeline in memory: events in as dicts, sealed buckets, signals and rejected records out."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alerts.signal import Signal
from detectors.measurement import Measurement
from monitor.assembly import build_core, build_pipeline, vocabulary_for
from monitor.baselines.baseline import BaselineFile
from monitor.batch import Rejected
from monitor.config import Config
from monitor.pipeline import Pipeline
from monitor.sealed import Sealed
from monitor.source import Records
from tests.unit.monitor.configs import config

T0 = 1_767_225_600_000


def pipeline_of(config: Config, baselines: Mapping[str, BaselineFile] | None = None) -> Pipeline:
    """A new pipeline."""
    vocabulary = vocabulary_for(config, baselines or {})
    return build_pipeline(config, build_core(config, baselines or {}, vocabulary), vocabulary)


def small(**changed: Any) -> Config:
    """Buckets of 10 s, windows of 1 min, a horizon of 30 s, lateness 5 s."""
    home = {"bucket": "10s", "window": "1m", "reward_horizon": "30s", "fallback_policy": "rules-v3"}
    return config(**{"deployments__home": home, "source__lateness": "5s"} | changed)


@dataclass
class World:
    """One pipeline and everything it said."""

    config: Config = field(default_factory=small)
    pipeline: Pipeline = field(init=False)
    sealed: list[Sealed] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pipeline = pipeline_of(self.config)

    def feed(self, *events: dict[str, Any], partition: str = "p", seal: bool = True) -> "World":
        """One poll of one partition, then everything that can be sealed."""
        first = self.offsets.get(partition, 0)
        self.offsets[partition] = first + len(events)
        payloads = [json.dumps(event).encode() for event in events]
        offsets = range(first, first + len(events))
        fed = self.pipeline.feed(Records(partition, None, offsets, payloads, first + len(events)))
        self.signals += fed.signals
        self.rejected += fed.rejected
        return self.advance() if seal else self

    def advance(self) -> "World":
        self._sealed(self.pipeline.advance())
        return self

    def flush(self, extra_ms: int = 0) -> "World":
        self._sealed(self.pipeline.flush(extra_ms))
        return self

    def _sealed(self, sealed: Iterable[Sealed]) -> None:
        for one in sealed:
            self.sealed.append(one)
            self.signals += one.signals
            self.rejected += self.pipeline.set_aside()

    def reasons(self) -> list[tuple[str, str, int]]:
        """(reason, partition, offset) of every rejected record."""
        return [(str(r.reason), r.partition, r.offset) for r in self.rejected]

    def ends(self, deployment: str = "home") -> list[int]:
        """Ends of the sealed buckets, in seconds after T0."""
        return [(s.end_ms - T0) // 1_000 for s in self.sealed if s.deployment == deployment]

    def last(self, detector: str, statistic: str, key: tuple[str, str] = ("v1", "full")) -> Measurement:
        """What the newest seal that measured it said of one statistic."""
        for sealed in reversed(self.sealed):
            for m in sealed.measured.get(key, []):
                if (m.detector, m.statistic) == (detector, statistic):
                    return m
        raise AssertionError(f"{detector}.{statistic} was never measured")


def decision(name: str, at_s: float, **changed: Any) -> dict[str, Any]:
    """A decision `at_s` seconds after T0."""
    made = {
        "type": "decision",
        "decision_id": name,
        "ts": T0 + round(at_s * 1000),
        "policy": "v1",
        "action": 1,
    }
    return made | changed


def reward(name: str, at_s: float, value: float = 1.0, **changed: Any) -> dict[str, Any]:
    """Its reward."""
    return {"type": "reward", "decision_id": name, "ts": T0 + round(at_s * 1000), "reward": value} | changed


def metric(name: str, at_s: float, value: float) -> dict[str, Any]:
    """A business metric."""
    return {
        "type": "metric",
        "metric": name,
        "ts": T0 + round(at_s * 1000),
        "value": value,
        "deployment": "home",
    }
