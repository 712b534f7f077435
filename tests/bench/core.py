"""The core alone: columns in, measurements out, all detectors; CPU microseconds per event, which must not grow."""

from collections.abc import Iterator

from tests.bench.world import Traffic, baseline_of, world

GOALS_US = {32: 3.0, 128: 8.0}


def lines(sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000)) -> Iterator[tuple[str, str, str]]:
    """One row per width and size: the cost of an event beside its goal."""
    for features, goal in GOALS_US.items():
        traffic = Traffic(features)
        baseline = baseline_of(traffic)
        for events in sizes:
            one = world(traffic, baseline)
            sealed = one.run(events)
            us = one.cpu_s / events * 1e6
            yield (
                f"core, d = {features}, {events:,} events",
                f"{us / goal:.2f} of {goal:g} us",
                f"{us:.2f} us/event, {sealed} buckets",
            )
