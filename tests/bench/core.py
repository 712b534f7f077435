"""The core alone: columns in, measurements out, all detectors; the cost of an event must not grow."""

from collections.abc import Iterator

from tests.bench.table import Row, to_goal
from tests.bench.world import Traffic, baseline_of, world

GOALS_US = {32: 3.0, 128: 8.0}
SIZES = {32: (10_000, 100_000, 1_000_000), 128: (10_000, 200_000)}


def rows() -> Iterator[Row]:
    """CPU microseconds per event, widths and sizes."""
    for features, goal in GOALS_US.items():
        traffic = Traffic(features)
        baseline = baseline_of(traffic)
        for events in SIZES[features]:
            one = world(traffic, baseline)
            sealed = one.run(events)
            us = one.cpu_s / events * 1e6
            number = f"{us:.2f} us an event, {sealed} buckets"
            yield Row(f"d = {features}, {events:,} events", to_goal(us, goal, "us"), number)
