"""One seal of one key: few events in a bucket, so that what is left is the window and the verdicts of all detectors."""

from collections.abc import Iterator

from tests.bench.table import Row, to_goal
from tests.bench.world import Traffic, baseline_of, world

GOAL_MS = 2.0
BUCKETS, WARM = 90, 60


def rows() -> Iterator[Row]:
    """CPU milliseconds per bucket of 20 decisions and 20 rewards, once a window is full."""
    for features in (3, 32, 128):
        traffic = Traffic(features, per_second=4.0, poll=20)
        one = world(traffic, baseline_of(traffic, per_bucket=20))
        one.run((WARM + BUCKETS) * 40, warm=WARM * 40)
        ms = one.cpu_s / BUCKETS * 1e3
        yield Row(
            f"d = {features}", to_goal(ms, GOAL_MS, "ms"), f"{ms:.2f} ms a seal, join and counting included"
        )
