"""Files through the same pipeline as the live topics, as fast as it goes."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from alerts.signal import Signal
from monitor.batch import Rejected
from monitor.persistence.returns import Paced, Return
from monitor.pipeline import Pipeline, earlier
from monitor.sealed import Sealed
from monitor.source import Log


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
    pipeline: Pipeline,
    log: Log,
    observer: Observer,
    settle_ms: int = 0,
    until_ms: int | None = None,
    returns: Sequence[Return] = (),
) -> Summary:
    """Every event of every partition, in step with event time; at the end everything that has begun is sealed.

    settle_ms: go on so much beyond the end, so that every reward horizon has passed (for a baseline). until_ms: read no
    partition further than this event time, and seal no bucket that ends after it. returns: what a daemon noted of
    partitions that were silent, to be silent here as well.
    """
    summary = Summary()
    for partition in log.open():
        pipeline.watermark.expect(partition)
    paced = Paced.by(returns, log, pipeline)
    _read_on(pipeline, paced, observer, summary, until_ms)
    while (silent_ms := paced.ceiling_ms()) is not None:  # all were silent: what had begun was sealed
        _seal(pipeline, summary, observer, pipeline.flush(until_ms=earlier(silent_ms, until_ms)))
        paced.wake()
        _read_on(pipeline, paced, observer, summary, until_ms)
    _seal(pipeline, summary, observer, pipeline.flush(settle_ms, until_ms))
    if until_ms is None:
        pipeline.core.give_up()
        _note(summary, observer, [], pipeline.set_aside())
    return summary


def _read_on(
    pipeline: Pipeline, log: Log, observer: Observer, summary: Summary, until_ms: int | None
) -> None:
    """Until no partition can be read any more; whose clock is furthest behind comes first."""
    while partitions := log.open():
        partition = min(partitions, key=lambda name: pipeline.watermark.clocks.get(name) or -1)
        records = log.read(partition)
        if records is None:
            _note(summary, observer, [], pipeline.end(partition))
        else:
            fed = pipeline.feed(records)
            summary.events += fed.events
            _note(summary, observer, fed.signals, fed.rejected)
            observer.on_progress(summary.events)
        if until_ms is not None and (pipeline.watermark.clocks.get(partition) or 0) > until_ms:
            log.leave(partition)
            continue
        _seal(pipeline, summary, observer, pipeline.advance(until_ms))


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
