"""Files: replay and baseline build of gzip JSON lines, beside reading and typed parsing alone."""

import gzip
import tempfile
from collections.abc import Iterator
from pathlib import Path

from monitor.assembly import build_core, build_pipeline, load_baselines, vocabulary_for
from monitor.baselines.building import build_baseline
from monitor.config import Config
from monitor.config_file import load_config
from monitor.decoding.wire import reader
from monitor.garbage import collect_rarely
from monitor.replaying import Observer, replay
from monitor.source import Files
from tests.bench.log import write_log
from tests.bench.table import Row, cpu_of
from tests.bench.world import NAME

DECISIONS, FEATURES, PER_SECOND = 500_000, 32, 1_000.0
GOAL = 150_000


def rows() -> Iterator[Row]:
    """Events per CPU second, and the same as a share of the parse."""
    collect_rarely()  # as the command line does
    with tempfile.TemporaryDirectory() as folder:
        log, config = Path(folder) / "events.jsonl.gz", _config(Path(folder))
        write_log(log, DECISIONS, FEATURES, PER_SECOND)
        events = 2 * DECISIONS
        parse = events / cpu_of(lambda: _parse(log))
        build = events / cpu_of(
            lambda: build_baseline(
                config, NAME, Files([str(log)], 1 << 20), Path(folder) / "home.base", Observer()
            )
        )
        whole = events / cpu_of(lambda: _replay(config, log))
    yield Row(f"gunzip and typed parse only, d = {FEATURES}", "1", f"{parse:,.0f} events/s")
    for name, rate in (("baseline build", build), ("replay, all detectors", whole)):
        yield Row(f"{name}, d = {FEATURES}", f"{rate / parse:.2f} of the parse, {rate / GOAL:.2f} of the goal",
                  f"{rate:,.0f} events/s")  # fmt: skip


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


def _replay(config: Config, log: Path) -> None:
    baselines = load_baselines(config, Path())
    vocabulary = vocabulary_for(config, baselines)
    pipeline = build_pipeline(config, build_core(config, baselines, vocabulary), vocabulary)
    replay(pipeline, Files([str(log)], 1 << 20), Observer())
