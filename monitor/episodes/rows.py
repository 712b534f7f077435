"""What goes into a book of episodes and what comes out of it."""

from dataclasses import dataclass, field

from detectors.arrays import F64, I32, I64, U8, U64, Bool


@dataclass(frozen=True, slots=True)
class EpisodePlan:
    """returns: "reward" | "td" | "n-step" | "episode". cost_gammas: name -> discount of each cost to be summed.

    Limits: an episode longer than max_steps is closed as truncated; above max_rows the longest idle ones are.
    """

    returns: str
    gamma: float
    horizon_ms: int
    n_steps: int = 5
    cost_gammas: dict[str, float] = field(default_factory=dict)
    max_rows: int = 5_000_000
    max_steps: int = 50_000


@dataclass(frozen=True, slots=True)
class NewSteps:
    """Decisions sealed by this tick, in canonical order. episode 0: none. step -1: none, the order is by time.

    segments: packed codes, 0 for none.
    """

    key: I32
    bucket_start_ms: I64
    id: U64
    episode: U64
    step: I64
    ts_ms: I64
    value: F64
    action: I32
    unit: U64
    segments: U64
    costs: dict[str, F64] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RewardUpdates:
    """What rewards changed this tick; key to ts_ms repeat the decision's own. NaN reward: not known yet.

    reward and costs are combined so far, not increments. flags: DONE | TRUNCATED | FINAL.
    """

    key: I32
    id: U64
    episode: U64
    step: I64
    ts_ms: I64
    reward: F64
    flags: U8
    costs: dict[str, F64] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Targets:
    """Critic targets that became known or changed, ordered by (key, bucket, time, id)."""

    key: I32
    bucket_start_ms: I64
    value: F64
    target_before: F64
    target: F64
    action: I32
    unit: U64
    segments: U64

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True, slots=True)
class EndedEpisodes:
    """Episodes that ended, each once, at the bucket of its last decision.

    truncated: cut off, idle beyond the horizon, or with steps or rewards missing: the sums are of what was seen.
    reward is NaN where a step's reward never came, a cost is NaN where no step carried it.
    """

    key: I32
    bucket_start_ms: I64
    steps: I64
    reward: F64
    truncated: Bool
    costs: dict[str, F64]

    def __len__(self) -> int:
        return len(self.key)
