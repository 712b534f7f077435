"""A 64-bit fingerprint of what a reward says, equal for exact duplicates whatever batch they came in."""

from functools import cache

import numpy as np
import xxhash

from detectors.arrays import F64, U64
from monitor.batch import RewardBatch


def fingerprints(rewards: RewardBatch) -> U64:
    """(n,) hashes of id, ts and content, never 0. A missing number and an absent column are the same."""
    total = _mixed(rewards.id) + _mixed(rewards.ts_ms.view(np.uint64) ^ _salt("ts")) + _mixed(
        rewards.flags.astype(np.uint64) ^ _salt("flags")
    )  # fmt: skip
    total += _number("reward", rewards.reward) + _number("truth", rewards.truth)
    for kind, columns in (("components", rewards.components), ("costs", rewards.costs)):
        for name, values in columns.items():
            total += _number(f"{kind}/{name}", values)
    return np.maximum(_mixed(total), np.uint64(1))


def _number(name: str, values: F64) -> U64:
    bits = (values + 0.0).view(np.uint64)  # + 0.0 makes -0.0 the same as 0.0
    return np.where(np.isnan(values), np.uint64(0), _mixed(bits ^ _salt(name)))


@cache
def _salt(name: str) -> np.uint64:
    return np.uint64(xxhash.xxh3_64_intdigest(name.encode()))


def _mixed(x: U64) -> U64:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection that spreads every bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
