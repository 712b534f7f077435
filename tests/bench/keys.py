"""Many policies in one deployment: the same traffic over 1, 10, 100 and 1,000 keys."""

from collections.abc import Iterator

from monitor.core import Core
from monitor.judging.watched import Watched
from tests.bench.table import Row
from tests.bench.world import Traffic, baseline_of, world

EVENTS = {1: 100_000, 10: 100_000, 100: 100_000, 1_000: 60_000}
RATE = 10_000.0


def rows() -> Iterator[Row]:
    """CPU per event, per seal and key, and the memory that a bucket of a key holds."""
    baseline, single = baseline_of(Traffic(8)), 0.0
    for keys, events in EVENTS.items():
        one = world(Traffic(8, RATE, keys), baseline)
        sealed = max(one.run(events), 1)
        us = one.cpu_s / events * 1e6
        single = single or us
        ms = one.cpu_s / sealed / keys * 1e3
        held_kb = _held_kb(one.core) / sealed / keys
        number = f"{us:.1f} us an event, {ms:.2f} ms and {held_kb:,.0f} kB a bucket and key"
        yield Row(f"{keys:,} keys, d = 8, {RATE:,.0f} events/s", f"{us / single:.2f} times one key", number)


def _held_kb(core: Core) -> float:
    """The buckets of all keys and the rows of their windows."""
    held = 0
    for watched in core.watched.values():
        assert isinstance(watched, Watched)
        for mine in watched.windows.buckets.values():
            held += sum(
                array.nbytes for b in mine.values() for one in b.values() for array in one.arrays().values()
            )
        for rows in watched.windows.rows.values():
            held += rows.cells.nbytes
    return held / 1e3
