"""`policywatch replay`: files through the same core; signals and measurements as JSON lines."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from alerts.signal import Signal, cloudevent
from monitor.assembly import build_core, build_pipeline, load_baselines, vocabulary_for
from monitor.checking import short_baseline
from monitor.commands.events import events_of, until_of
from monitor.commands.output import Progress, opened
from monitor.config_file import load_config
from monitor.dead_letter import DeadLetterFile
from monitor.exit_codes import FINDING, FINE
from monitor.pages.replay import ReplayReport
from monitor.persistence.checkpoint import FILE_NAME
from monitor.persistence.returns import returns_of
from monitor.replaying import Observer, Summary, replay
from monitor.sealed import Sealed, measurement_lines

T = TypeVar("T")


def run(arguments: Namespace) -> int:
    """Replay, print, and exit 1 if asked to and a signal fired."""
    config = load_config(arguments.config)
    baselines = load_baselines(config, arguments.config.parent)
    for name, baseline in baselines.items():
        if too_short := short_baseline(config.deployments[name], baseline):
            print(f"{name}: {too_short}", file=sys.stderr)
    vocabulary = vocabulary_for(config, baselines)
    pipeline = build_pipeline(config, build_core(config, baselines, vocabulary), vocabulary)
    letters = DeadLetterFile(arguments.dead_letters) if arguments.dead_letters else None
    progress = Progress("events")
    page = ReplayReport() if arguments.report else None
    with (
        opened(arguments.signals, None if arguments.json else sys.stdout.buffer) as signals,
        opened(arguments.measurements, None) as measurements,
    ):
        observer = Observer(
            on_sealed=_both(_writer_of_measurements(measurements), page.sealed if page else None),
            on_signal=_both(_writer_of_signals(signals), page.signalled if page else None),
            on_rejected=letters.put if letters else (lambda rejected: None),
            on_progress=progress,
        )
        summary = replay(
            pipeline,
            events_of(arguments, config),
            observer,
            until_ms=until_of(arguments),
            returns=returns_of(Path(config.state_path) / FILE_NAME) if arguments.from_kafka else (),
        )
    progress.done()
    if letters:
        letters.close()
    if page:
        arguments.report.write_text(page.render(summary), encoding="utf-8")
    _report(summary, arguments.json)
    return FINDING if arguments.fail_on_signal and summary.signals else FINE


def _both(first: Callable[[T], None], second: Callable[[T], None] | None) -> Callable[[T], None]:
    if second is None:
        return first

    def call(value: T) -> None:
        first(value)
        second(value)

    return call


def _writer_of_signals(out: BinaryIO | None) -> Callable[[Signal], None]:
    def write(signal: Signal) -> None:
        if out is not None:
            out.write(cloudevent(signal) + b"\n")

    return write


def _writer_of_measurements(out: BinaryIO | None) -> Callable[[Sealed], None]:
    def write(sealed: Sealed) -> None:
        if out is not None:
            out.writelines(line + b"\n" for line in measurement_lines(sealed))

    return write


def _report(summary: Summary, as_json: bool) -> None:
    facts = {"events": summary.events, "signals": summary.signals, "rejected": dict(summary.rejected)}
    if as_json:
        print(json.dumps(facts))
        return
    print(f"{summary.events:,} events, {summary.signals} signals", file=sys.stderr)
    for reason, count in sorted(summary.rejected.items()):
        print(f"  rejected {count:,}: {reason} (first: {summary.examples[reason]})", file=sys.stderr)
