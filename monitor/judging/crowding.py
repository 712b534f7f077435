"""Which policies have windows of their own when there are more than can be judged in time: the busiest."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from detectors.arrays import F64
from detectors.rewards.reward import REWARD
from monitor.judging.windows import Buckets, Group


def left_out(
    held: Mapping[int, Mapping[str, Buckets]], groups: Sequence[Group], kept: Collection[int], limit: int
) -> set[int]:
    """The keys without room among those held and those that come, the least busy first; none while all fit.

    Who has made more decisions in what is held and what comes stays, so that a flood of new names, each with a few
    decisions, displaces no policy that serves. kept: keys that stay however quiet they are. Event time alone decides.
    """
    coming: dict[int, int] = {}
    for group in groups:
        coming[group.key] = coming.get(group.key, 0) + len(group.rows.decisions)
    keys = held.keys() | coming.keys()
    if len(keys) <= limit:
        return set()
    busy = {key: coming.get(key, 0) + _decisions(held.get(key, {})) for key in keys}
    ranked = sorted(keys, key=lambda key: (key not in kept, -busy[key], key))
    return set(ranked[limit:])


def _decisions(mine: Mapping[str, Buckets]) -> float:
    """Decisions in the buckets of a key."""
    counts: list[F64] = [bucket.decisions for bucket in mine.get(REWARD.name, {}).values()]  # type: ignore[attr-defined]
    return float(np.sum(counts)) if counts else 0.0
