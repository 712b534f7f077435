"""What a replay of the same events says: the reference that the live daemon must meet to the byte."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alerts.signal import Signal, cloudevent
from monitor.assembly import build_core, build_pipeline, load_baselines, vocabulary_for
from monitor.batch import Rejected
from monitor.config import Config
from monitor.config_file import load_config
from monitor.durations import rfc3339
from monitor.pipeline import Pipeline
from monitor.replaying import Observer, replay
from monitor.sealed import Sealed, measurement_lines
from monitor.source import Files
from tests.integration.traffic import Event, write_file


@dataclass(frozen=True)
class Seen:
    """Everything that a run said, in its order."""

    sealed: list[Sealed]
    signals: list[Signal]
    rejected: list[Rejected]

    @property
    def lines(self) -> list[bytes]:
        return [line for sealed in self.sealed for line in measurement_lines(sealed)]

    @property
    def wire(self) -> list[bytes]:
        return [cloudevent(signal) for signal in self.signals]

    @property
    def ids(self) -> list[str]:
        return [signal.id for signal in self.signals]

    @property
    def counts(self) -> list[tuple[str, int]]:
        return [(rfc3339(sealed.end_ms), sealed.decisions) for sealed in self.sealed]


def pipeline_of(config: Config, beside: Path) -> Pipeline:
    """A fresh pipeline, as `run` and `replay` put it together."""
    baselines = load_baselines(config, beside)
    vocabulary = vocabulary_for(config, baselines)
    return build_pipeline(config, build_core(config, baselines, vocabulary), vocabulary)


def replayed(config_path: Path, made: Sequence[Event | bytes], folder: Path) -> Seen:
    """Through `replay`, from one merged file."""
    config, seen = load_config(config_path), Seen([], [], [])
    log = write_file(folder / "replayed.jsonl", made)
    observer = Observer(
        on_sealed=seen.sealed.append, on_signal=seen.signals.append, on_rejected=seen.rejected.extend
    )
    replay(
        pipeline_of(config, config_path.parent), Files([str(log)], config.source.max_record_bytes), observer
    )
    return seen
