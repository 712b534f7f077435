"""The columns that a detector sees: everything that happened to the decisions of one bucket and one key."""

from dataclasses import dataclass, field

import numpy as np

from detectors.arrays import F64, I32, I64, U8, U64, Bool


@dataclass(frozen=True, slots=True)
class Decisions:
    """n decisions in canonical order (event time, then id). Missing numbers are NaN.

    action: code of a discrete action in the deployment's vocabulary, -1 where the action is continuous.
    action_vector: (n, k) continuous actions, k = 0 where actions are discrete.
    state: (n, d), a row of NaN where the decision carries none. unit: 64-bit hash, 0 where there is none.
    entropy: nats, of the logged action distribution. violation: a `Violation`, 0 for none.
    costs: name -> (n,). segments: name -> (n,) codes in the segment's vocabulary, -1 where missing.
    """

    ts_ms: I64
    action: I32
    action_vector: F64
    propensity: F64
    entropy: F64
    value: F64
    confidence: F64
    latency_ms: F64
    state: F64
    unit: U64
    violation: U8
    costs: dict[str, F64] = field(default_factory=dict)
    segments: dict[str, I32] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ts_ms)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """n decisions of this bucket whose combined reward changed; `*_before` is NaN at the first arrival.

    delay_ms: event time from the decision to the arrival that changed it. A change is removed and added anew:
    a sum takes `after - before`, a count takes 1 where `before` is NaN and `after` is not. costs and components
    hold (before, after) per name. final: no more rewards can follow (said so, or the horizon has passed).
    """

    delay_ms: I64
    reward_before: F64
    reward: F64
    truth_before: F64
    truth: F64
    action: I32
    unit: U64
    components: dict[str, tuple[F64, F64]] = field(default_factory=dict)
    costs: dict[str, tuple[F64, F64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.delay_ms)


@dataclass(frozen=True, slots=True)
class Returns:
    """n decisions of this bucket whose critic target became known or changed (target_before NaN at first).

    value: the critic's prediction, target: what it should have been (reward, n-step or Monte-Carlo return, or
    the TD target r + gamma V(s')). Steps of truncated episodes whose target cannot be known are absent. segments:
    packed codes of the segments that a decision lies in (`packed_segments`).
    """

    value: F64
    target_before: F64
    target: F64
    action: I32
    unit: U64
    segments: U64

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, slots=True)
class Episodes:
    """n episodes that ended in this bucket. truncated ones are censored: their totals are lower bounds.

    steps: number of decisions seen. reward: discounted return by gamma. costs: name -> discounted sum.
    """

    steps: I64
    reward: F64
    truncated: Bool
    costs: dict[str, F64] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Business metrics of this bucket: name -> values (m,) in event order."""

    values: dict[str, F64] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BucketRows:
    """What is new for one (key, bucket): all of a bucket at its seal, or late arrivals for an older bucket.

    Statistics add up, so a detector treats both alike. expired: decisions of this bucket whose horizon passed
    without any reward, at this seal.
    """

    decisions: Decisions
    outcomes: Outcomes
    returns: Returns
    episodes: Episodes
    metrics: Metrics = field(default_factory=Metrics)
    expired: int = 0


def no_decisions(state_width: int = 0, action_width: int = 0) -> Decisions:
    """An empty table."""
    f, i = np.empty(0), np.empty(0, np.int32)
    return Decisions(
        ts_ms=np.empty(0, np.int64), action=i, action_vector=np.empty((0, action_width)), propensity=f, entropy=f,
        value=f, confidence=f, latency_ms=f, state=np.empty((0, state_width)), unit=np.empty(0, np.uint64),
        violation=np.empty(0, np.uint8),
    )  # fmt: skip


def no_outcomes() -> Outcomes:
    """An empty table."""
    f = np.empty(0)
    return Outcomes(np.empty(0, np.int64), f, f, f, f, np.empty(0, np.int32), np.empty(0, np.uint64))


def no_returns() -> Returns:
    """An empty table."""
    f = np.empty(0)
    u = np.empty(0, np.uint64)
    return Returns(f, f, f, np.empty(0, np.int32), u, u)


def no_episodes() -> Episodes:
    """An empty table."""
    return Episodes(np.empty(0, np.int64), np.empty(0), np.empty(0, np.bool_))
