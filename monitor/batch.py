"""A poll as columns: the events of one partition in offset order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from detectors.arrays import F64, I32, I64, U8, U64


class Kind(IntEnum):
    """What a record is."""

    DECISION = 0
    REWARD = 1
    METRIC = 2


class Violation(IntEnum):
    """A hard constraint broken by one executed action."""

    NONE = 0
    MASKED = 1
    OUTSIDE_ENVELOPE = 2


DONE, TRUNCATED, FINAL = 1, 2, 4  # bits of RewardBatch.flags


@dataclass(frozen=True, slots=True)
class DecisionBatch:
    """Decisions of one deployment; missing floats are NaN, missing codes -1, missing hashes 0.

    row: position of the event in its EventBatch. id: 64-bit hash of decision_id. action: code in the
    deployment's action labels, -1 where continuous; action_vector (n, k). state (n, d). entropy in nats, from
    action_probs. candidates: name -> (n, 3) columns p, q, v. probs: action -> (n,) of the whole distributions that
    shadows log (others need none), NaN where a row does not list it.
    """

    row: I64
    ts_ms: I64
    id: U64
    policy: I32
    stage: I32
    action: I32
    action_vector: F64
    propensity: F64
    entropy: F64
    value: F64
    confidence: F64
    latency_ms: F64
    state: F64
    unit: U64
    episode: U64
    step: I64
    violation: U8
    costs: dict[str, F64] = field(default_factory=dict)
    segments: dict[str, I32] = field(default_factory=dict)
    candidates: dict[str, F64] = field(default_factory=dict)
    probs: dict[str, F64] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ts_ms)


@dataclass(frozen=True, slots=True)
class RewardBatch:
    """Rewards, keyed by the hash of their decision; flags: DONE | TRUNCATED | FINAL."""

    row: I64
    ts_ms: I64
    id: U64
    reward: F64
    truth: F64
    flags: U8
    components: dict[str, F64] = field(default_factory=dict)
    costs: dict[str, F64] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ts_ms)


@dataclass(frozen=True, slots=True)
class MetricBatch:
    """Business metrics; metric is a code in the vocabulary's metric labels."""

    row: I64
    ts_ms: I64
    deployment: I32
    policy: I32
    metric: I32
    value: F64

    def __len__(self) -> int:
        return len(self.ts_ms)


@dataclass(frozen=True, slots=True)
class EventBatch:
    """The usable events of one poll of one partition, in offset order.

    offsets, ts_ms, kind: (n,) of every usable event. payloads: their raw bytes, kept until the batch is admitted
    so that a late or impossible event can be dead-lettered whole. next_offset: where the next read starts.
    """

    partition: str
    offsets: I64
    ts_ms: I64
    kind: U8
    payloads: Sequence[bytes]
    decisions: dict[int, DecisionBatch]
    rewards: RewardBatch
    metrics: MetricBatch
    next_offset: int

    def __len__(self) -> int:
        return len(self.ts_ms)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be used: why, where it stands, and its bytes (cut to a limit)."""

    reason: str
    partition: str
    offset: int
    detail: str
    payload: bytes
