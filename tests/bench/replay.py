"""Files: replay and baseline build of gzip JSON lines, beside reading and typed parsing; medians of three turns."""

import gzip
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from monitor.assembly import build_core, build_pipeline, load_baselines, vocabulary_for
from monitor.baselines.building import build_baseline
from monitor.config import Config
from monitor.config_file import load_config
from monitor.decoding.wire import reader
from monitor.garbage import collect_rarely
from monitor.pipeline import Pipeline
from monitor.replaying import Observer, replay
from monitor.source import Files
from tests.bench.log import write_log
from tests.bench.table import Row, cpu_of
from tests.bench.world import NAME

DECISIONS, FEATURES, PER_SECOND = 500_000, 32, 1_000.0
TURNS = 3
GOAL = 150_000


def rows() -> Iterator[Row]:
    """Events per CPU second, and the same as a share of the parse; what comes before the first event apart."""
    collect_rarely()  # as the command line does
    with tempfile.TemporaryDirectory() as folder:
        log, config = Path(folder) / "events.jsonl.gz", _config(Path(folder))
        write_log(log, DECISIONS, FEATURES, PER_SECOND)
        turns = [_turn(config, log, Path(folder)) for _ in range(TURNS)]
    parse, build, _, whole = (median(seconds) for seconds in zip(*turns, strict=True))
    events = 2 * DECISIONS
    yield Row(f"gunzip and typed parse only, d = {FEATURES}", "1", f"{events / parse:,.0f} events/s")
    for name, seconds in (("baseline build", build), ("replay, all detectors", whole)):
        rate = events / seconds
        yield Row(f"{name}, d = {FEATURES}", f"{parse / seconds:.2f} of the parse, {rate / GOAL:.2f} of the goal",
                  f"{rate:,.0f} events/s")  # fmt: skip
    first = f"{turns[0][2]:.1f} s: the baseline, the lines that follow from it, river and its scipy.stats"
    yield Row("before the first event of a replay", "", first)


def _turn(config: Config, log: Path, folder: Path) -> tuple[float, float, float, float]:
    """CPU seconds: parsing, building a baseline, making the core that has it, replaying."""
    made: list[Pipeline] = []
    return (
        cpu_of(lambda: _parse(log)),
        cpu_of(lambda: build_baseline(config, NAME, _files(log), folder / "home.base", Observer())),
        cpu_of(lambda: made.append(_pipeline(config))),
        cpu_of(lambda: replay(made[0], _files(log), Observer())),
    )


def _config(folder: Path) -> Config:
    path = folder / "policywatch.toml"
    path.write_text(
        f'[source]\nkind = "files"\n[deployments.{NAME}]\nbaseline = "{folder}/home.base"\n'
        f'fallback_policy = "rules"\nreward_horizon = "1m"\ncosts.complaint.budget = 0.05\n'
    )
    return load_config(path)


def _parse(log: Path) -> None:
    read = reader(None, {})
    with gzip.open(log, "rb") as file:
        for line in file:
            read(line)


def _pipeline(config: Config) -> Pipeline:
    baselines = load_baselines(config, Path())
    vocabulary = vocabulary_for(config, baselines)
    return build_pipeline(config, build_core(config, baselines, vocabulary), vocabulary)


def _files(log: Path) -> Files:
    return Files([str(log)], 1 << 20)
