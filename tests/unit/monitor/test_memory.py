"""What the daemon remembers grows neither with time nor, but for a name, with policies that come and go."""

import gc
import tracemalloc

from monitor.persistence.state import snapshot
from tests.unit.monitor.own_process import alone
from tests.unit.monitor.worlds import World, decision, reward

BUCKET_S = 10
WARM = 100  # buckets in which the runs of the join are laid out, and numpy has cached its small arrays
BUCKET_BYTES = 150  # 100 seen, ever fewer
TURN = 8  # buckets that a policy serves: a window and more
POLICY_BYTES = 15_000  # 7,000 seen; the rows of its window were 108,000


def played(world: World, buckets: range, policy: str, decisions: int = 60) -> int:
    """Bytes that are held once these buckets have been sealed and saved."""
    for bucket in buckets:
        names = [f"{bucket}-{i}" for i in range(decisions)]
        made = [decision(name, BUCKET_S * bucket, policy=policy, state=[0.5, 1.0]) for name in names]
        world.feed(*made, *(reward(name, BUCKET_S * bucket + 2) for name in names))
        for said in (world.sealed, world.signals, world.rejected):
            said.clear()
    snapshot(world.pipeline)
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def by_buckets() -> list[int]:
    """Bytes held after one stretch of buckets and after the next."""
    tracemalloc.start(1)
    world = World()
    return [played(world, range(WARM * i, WARM * (i + 1)), "v1") for i in range(2)]


def by_policies() -> list[int]:
    """Bytes held after each of fifteen policies has served its turn."""
    tracemalloc.start(1)
    world = World()
    return [played(world, range(TURN * i, TURN * (i + 1)), f"v{i}", 20) for i in range(15)]


def test_later_buckets_hold_no_more_than_the_first() -> None:
    first, second = alone(by_buckets)
    assert second - first < WARM * BUCKET_BYTES


def test_a_policy_that_serves_no_longer_keeps_no_window() -> None:
    held = alone(by_policies)
    assert held[-1] - held[4] < 10 * POLICY_BYTES
