"""Many policies in one deployment: the same traffic over 1, 10, 100 and 1,000 keys."""

import resource
from collections.abc import Iterator
from pathlib import Path

from tests.bench.table import Row
from tests.bench.world import Traffic, baseline_of, world

EVENTS = {1: 100_000, 10: 100_000, 100: 100_000, 1_000: 60_000}
RATE = 10_000.0


def rows() -> Iterator[Row]:
    """CPU per event, per seal and key, and resident memory per key."""
    baseline, single = baseline_of(Traffic(8)), 0.0
    for keys, events in EVENTS.items():
        one = world(Traffic(8, RATE, keys), baseline)
        before = _resident_kb()
        sealed = max(one.run(events), 1)
        us = one.cpu_s / events * 1e6
        single = single or us
        ms = one.cpu_s / sealed / keys * 1e3
        number = f"{us:.1f} us an event, {ms:.2f} ms a bucket and key, {(_resident_kb() - before) / keys:,.0f} kB a key"
        yield Row(f"{keys:,} keys, d = 8, {RATE:,.0f} events/s", f"{us / single:.2f} times one key", number)


def _resident_kb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e3
