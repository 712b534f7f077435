"""Files through the same pipeline as the live topics, as fast as it goes."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from alerts.signal import Signal
from monitor.batch import Rejected
from monitor.pipeline import Pipeline
from monitor.sealed import Sealed
from monitor.source import Files


@dataclass(slots=True)
class Observer:
    """What a replay hands on as it goes; each is called in the order of the log."""

    on_sealed: Callable[[Sealed], None] = lambda sealed: None
    on_signal: Callable[[Signal], None] = lambda signal: None
    on_rejected: Callable[[Sequence[Rejected]], None] = lambda rejected: None
    on_progress: Callable[[int], None] = lambda events: None


@dataclass(slots=True)
class Summary:
    """What a replay saw."""

    events: int = 0
    signals: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)


def replay(
    pipeline: Pipeline, paths: Sequence[str], max_record_bytes: int, observer: Observer, settle_ms: int = 0
) -> Summary:
    """Every event of every file, in event time across files; at the end everything that has begun is sealed.

    settle_ms: go on so much beyond the end, so that every reward horizon has passed (for a baseline).
    """
    files, summary = Files(paths, max_record_bytes), Summary()
    for path in files.open():
        pipeline.watermark.expect(path)
    while open_files := files.open():
        path = min(open_files, key=lambda p: pipeline.watermark.clocks.get(p) or -1)
        records = files.read(path)
        if records is None:
            _note(summary, observer, [], pipeline.end(path))
        else:
            fed = pipeline.feed(records)
            summary.events += fed.events
            _note(summary, observer, fed.signals, fed.rejected)
            observer.on_progress(summary.events)
        _seal(pipeline, summary, observer, pipeline.advance())
    _seal(pipeline, summary, observer, pipeline.flush(settle_ms))
    return summary


def _seal(pipeline: Pipeline, summary: Summary, observer: Observer, sealed_buckets: Iterator[Sealed]) -> None:
    for sealed in sealed_buckets:
        observer.on_sealed(sealed)
        _note(summary, observer, sealed.signals, pipeline.set_aside())


def _note(
    summary: Summary, observer: Observer, signals: Sequence[Signal], rejected: Sequence[Rejected]
) -> None:
    summary.signals += len(signals)
    for signal in signals:
        observer.on_signal(signal)
    for one in rejected:
        summary.rejected[one.reason] += 1
        summary.examples.setdefault(one.reason, f"{one.partition}:{one.offset} {one.detail}".strip())
    if rejected:
        observer.on_rejected(rejected)
