"""What the daemon remembers grows neither with time nor, but for a name, with policies that come and go."""

import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from monitor.persistence.state import snapshot
from tests.unit.monitor.worlds import World, decision, reward

BUCKET_S = 10
WARM = 100  # buckets in which the runs of the join are laid out, and numpy has cached its small arrays
BUCKET_BYTES = 150  # 70 seen, ever fewer
TURN = 8  # buckets that a policy serves: a window and more
POLICY_BYTES = 15_000  # 7,000 seen; the rows of its window were 108,000


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start(1)
    yield
    tracemalloc.stop()


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


@pytest.mark.usefixtures("traced")
def test_later_buckets_hold_no_more_than_the_first() -> None:
    world = World()
    warm = played(world, range(WARM), "v1")
    assert played(world, range(WARM, 2 * WARM), "v1") - warm < WARM * BUCKET_BYTES


@pytest.mark.usefixtures("traced")
def test_a_policy_that_serves_no_longer_keeps_no_window() -> None:
    world = World()
    held = [
        played(world, range(TURN * number, TURN * (number + 1)), f"v{number}", 20) for number in range(15)
    ]
    assert held[-1] - held[4] < 10 * POLICY_BYTES
