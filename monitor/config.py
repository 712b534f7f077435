"""The config as frozen values with every default; config_file.py reads them."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from math import gcd

from alerts.rules import RuleSettings
from alerts.senders.sender import Secret
from monitor.joins.combine import Combine

KINDS: tuple[str, ...] = ("fallback", "rollback", "hold", "promote", "retrain", "page")
TOPICS = {"decisions": "rl.decisions", "rewards": "rl.rewards", "metrics": "rl.metrics",
           "signals": "rl.signals", "dead_letters": "rl.dead-letters", "buckets": "rl.buckets"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Where events come from, and how their time is read."""

    kind: str = "kafka"
    client: str = "kafka-python"
    bootstrap_servers: tuple[str, ...] = ("localhost:9092",)
    topics: dict[str, str] = field(default_factory=lambda: dict(TOPICS))
    group_id: str = "policywatch"
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = ""
    sasl_username: str = ""
    sasl_password: Secret | None = None
    ssl_cafile: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    api_version: tuple[int, ...] = ()
    start: str = "earliest"
    max_poll_records: int = 5_000
    max_record_bytes: int = 1 << 20
    paths: tuple[str, ...] = ()
    format: str = "json"
    lateness_ms: int = 10_000
    idle_timeout_ms: int = 10_000
    session_timeout_ms: int = 10_000  # after a death its partitions are given to others no sooner
    max_ahead_ms: int = 3_600_000


@dataclass(frozen=True, slots=True)
class CostBudget:
    """A CMDP constraint: E[cost] <= budget per decision, or per episode discounted by gamma."""

    budget: float
    per: str = "decision"
    gamma: float = 1.0


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an action may be: a set of labels, or bounds per dimension of a continuous action."""

    actions: tuple[str, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class BlindConfig:
    """When we say that we cannot see; 0 switches a hold off. no_rewards_ms -1: the horizon and a window."""

    no_events_ms: int = 600_000
    no_rewards_ms: int = -1
    join_rate: bool = True
    lag_ms: int = 300_000
    watermark_ms: int = 600_000
    baseline_age_ms: int = 400 * 86_400_000


@dataclass(frozen=True, slots=True)
class DeploymentConfig:
    """One decision-making service that is watched."""

    name: str
    baseline: str = ""
    fallback_policy: str = ""
    rollback_policy: str = ""
    policies: tuple[str, ...] = ()
    gamma: float = 0.0
    returns: str = "reward"
    n_step: int = 5
    reward_horizon_ms: int = 1_800_000
    bucket_ms: int = 10_000
    window_ms: int = 600_000
    combine: Combine = "sum"
    missing_reward: str = "ignore"
    components: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    reward_range: tuple[float, ...] = ()
    min_samples: int = 30
    false_per_day: float = 1 / 30
    dry_run: bool = False
    season: str = "none"
    costs: dict[str, CostBudget] = field(default_factory=dict)
    envelope: Envelope = Envelope()
    rules: dict[str, RuleSettings] = field(default_factory=dict)
    blind: BlindConfig = BlindConfig()
    closed_loop_ms: int = 120_000  # 0: not watched
    max_policies: int = 100
    latch: bool = True
    max_actions: int = 6
    inhibit: bool = True
    approval_timeout_ms: int = 600_000
    unanswered: str = "drop"

    @property
    def window_buckets(self) -> int:
        """Buckets in a window, at least one."""
        return max(1, round(self.window_ms / self.bucket_ms))


@dataclass(frozen=True, slots=True)
class ReceiverConfig:
    """One receiver of signals: webhook, pagerduty, alertmanager or chat."""

    kind: str
    url: str
    secret: Secret | None = None
    kinds: tuple[str, ...] = KINDS
    deployments: tuple[str, ...] = ()
    allow_http: bool = False
    timeout_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class HeartbeatConfig:
    """A dead-man's switch elsewhere, called while the main loop makes progress; without an address never."""

    url: Secret | None = None
    method: str = "POST"
    interval_ms: int = 60_000
    timeout_ms: int = 5_000
    allow_http: bool = False


@dataclass(frozen=True, slots=True)
class DsjsonConfig:
    """What Vowpal Wabbit's decision-service logs do not say: the policy, where time comes from, what the state is.

    time: "timestamp", or "offset" for old logs without one (a line a second). features: dotted paths of numbers
    inside the shared context.
    """

    policy: str = "vw"
    time: str = "timestamp"
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    source: SourceConfig
    deployments: dict[str, DeploymentConfig]
    receivers: tuple[ReceiverConfig, ...] = ()
    state_path: str = "state/"
    checkpoint_ms: int = 1_000
    pending_bytes: int = (
        1_000_000_000  # columns of decisions that wait for rewards; what is beyond lies in scratch files
    )
    http_host: str = "127.0.0.1"
    http_port: int = 9464
    http_token: Secret | None = None
    signals_topic: bool = True
    fields: dict[str, str] = field(default_factory=dict)
    dsjson: DsjsonConfig = DsjsonConfig()
    log_level: str = "info"
    heartbeat: HeartbeatConfig = HeartbeatConfig()
    probe_ms: int = 0  # 0: no probe

    @property
    def tick_ms(self) -> int:
        """The grid on which rewards are joined: the greatest common divisor of all buckets."""
        return gcd(*(deployment.bucket_ms for deployment in self.deployments.values()))

    def digest(self) -> str:
        """Hash of everything that can change a measurement or a signal (secrets and receivers left out)."""
        watched = {
            "deployments": asdict(self)["deployments"],
            "fields": self.fields,
            "dsjson": asdict(self.dsjson),
            "format": self.source.format,
            "lateness_ms": self.source.lateness_ms,
            "max_ahead_ms": self.source.max_ahead_ms,
        }
        return hashlib.blake2b(json.dumps(watched, sort_keys=True).encode(), digest_size=16).hexdigest()
