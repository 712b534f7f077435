"""Reads the config file: TOML in, frozen values out, or every fault with its path."""

import re
import tomllib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, cast, get_args
from urllib.parse import urlsplit

from alerts.rules import DEFAULT_KINDS, Kind, RuleSettings
from monitor.config import (
    KINDS,
    TOPICS,
    BlindConfig,
    Config,
    CostBudget,
    DeploymentConfig,
    DsjsonConfig,
    Envelope,
    HeartbeatConfig,
    ReceiverConfig,
    SourceConfig,
)
from monitor.config_reader import ConfigError, Section
from monitor.decoding.wire import Decision, Metric, Reward
from monitor.joins.combine import Combine

MOST_BYTES = 256 << 10
MOST_DOTS = 64
RETURNS = ("reward", "episode", "n-step", "td")
FORMATS = ("json", "vw-dsjson")
FIELDS = {name for struct in (Decision, Reward, Metric) for name in struct.__struct_fields__} | {"type"}
_RECEIVERS = {"webhooks": "webhook", "pagerduty": "pagerduty", "alertmanager": "alertmanager", "chat": "chat"}
_SECRET_KEYS = {"webhook": "secret", "pagerduty": "routing_key", "chat": "url"}  # a chat address is a secret
_DEFAULT_URLS = {"pagerduty": "https://events.pagerduty.com"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def load_config(path: Path) -> Config:
    """The config of a TOML file; raises ConfigError with every fault."""
    try:
        table = tomllib.loads(_bounded(path))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from error
    except RecursionError as error:
        raise ConfigError([f"{path}: nested too deeply"]) from error
    return parse_config(table)


def _bounded(path: Path) -> str:
    """The text of a file of a size that configs have; tomllib takes time by the square of a key's dots."""
    with path.open("rb") as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise ConfigError([f"{path}: larger than {MOST_BYTES >> 10} KiB"])
    text = raw.decode("utf-8")
    if any(part.count(".") > MOST_DOTS for part in re.split(r"[^\w\-.\"' \t]", text)):
        raise ConfigError([f"{path}: nested too deeply"])
    return text


def parse_config(table: dict[str, Any]) -> Config:
    """The config of a parsed table; raises ConfigError with every fault."""
    root = Section(table, "", [])
    deployments = {name: _deployment(name, section) for name, section in root.sections("deployments").items()}
    if not deployments and not root.faults:
        root.fault("deployments", "name at least one deployment: [deployments.NAME]")
    buckets = [deployment.bucket_ms for deployment in deployments.values()] or [10_000]
    source = _source(root.section("source"), root.choice("format", FORMATS, "json"), buckets)
    state, http, log, signals, probe = (
        root.section(name) for name in ("state", "http", "log", "signals", "probe")
    )
    config = Config(
        source=source,
        deployments=deployments,
        receivers=tuple(_receivers(root, deployments)),
        state_path=state.text("path", "state/"),
        checkpoint_ms=state.duration("checkpoint", 1_000),
        pending_bytes=state.size("pending_memory", 1_000_000_000),
        http_host=http.text("host", "127.0.0.1"),
        http_port=http.integer("port", 9464, 0, 65_535),
        http_token=http.secret("token"),
        signals_topic=signals.flag("kafka", True),
        fields=_renames(root.section("fields")),
        dsjson=_dsjson(root.section("dsjson")),
        log_level=log.choice("level", ("debug", "info", "warning", "error"), "info"),
        heartbeat=_heartbeat(root.section("heartbeat")),
        probe_ms=probe.limit("interval", 0),
    )
    if config.probe_ms and source.format != "json":
        probe.fault("interval", f"a probe cannot be written as {source.format}")
    for section in (state, http, log, signals, probe, root):
        section.close()
    if root.faults:
        raise ConfigError(root.faults)
    return config


def _heartbeat(section: Section) -> HeartbeatConfig:
    default = HeartbeatConfig()
    heartbeat = HeartbeatConfig(
        url=section.secret("url"),
        method=section.choice("method", ("POST", "GET"), default.method),
        interval_ms=section.duration("interval", default.interval_ms),
        timeout_ms=section.duration("timeout", default.timeout_ms),
        allow_http=section.flag("allow_http", default.allow_http),
    )
    section.close()
    return heartbeat


def _source(section: Section, top_format: str, buckets: list[int]) -> SourceConfig:
    topics = section.section("topics")
    names = {key: topics.text(key, default) for key, default in TOPICS.items()}
    topics.close()
    default = SourceConfig()
    source = SourceConfig(
        kind=section.choice("kind", ("kafka", "files"), "kafka"),
        client=section.choice("client", ("kafka-python", "confluent"), default.client),
        bootstrap_servers=section.texts("bootstrap_servers", default.bootstrap_servers),
        topics=names,
        group_id=section.text("group_id", default.group_id),
        security_protocol=section.choice(
            "security_protocol", ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"), default.security_protocol
        ),
        sasl_mechanism=section.choice("sasl_mechanism", ("", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"), ""),
        sasl_username=section.text("sasl_username"),
        sasl_password=section.secret("sasl_password"),
        ssl_cafile=section.text("ssl_cafile"),
        ssl_certfile=section.text("ssl_certfile"),
        ssl_keyfile=section.text("ssl_keyfile"),
        api_version=_version(section),
        start=section.choice("start", ("earliest", "latest"), "earliest"),
        max_poll_records=section.integer("max_poll_records", default.max_poll_records, 1, 1_000_000),
        max_record_bytes=section.integer("max_record_bytes", default.max_record_bytes, 1_024, 1 << 27),
        paths=section.texts("paths"),
        format=section.choice("format", FORMATS, top_format),
        lateness_ms=section.duration("lateness", min(10_000, *buckets)),
        idle_timeout_ms=section.duration("idle_timeout", default.idle_timeout_ms),
        session_timeout_ms=section.duration("session_timeout", default.session_timeout_ms),
        max_ahead_ms=section.duration("max_ahead", max(3_600_000, 10 * max(buckets))),
    )
    if source.security_protocol.startswith("SASL") and not source.sasl_mechanism:
        section.fault("sasl_mechanism", f"is needed with security_protocol {source.security_protocol}")
    section.close()
    return source


def _version(section: Section) -> tuple[int, ...]:
    text = section.text("api_version")
    if not text:
        return ()
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError:
        section.fault("api_version", f"expected a version such as 2.3, found {text!r}")
        return ()


def _deployment(name: str, section: Section) -> DeploymentConfig:
    costs = {cost: _cost(part) for cost, part in section.sections("costs").items()}
    rules = {rule: _rule(rule, part, section) for rule, part in section.sections("rules").items()}
    envelope = _envelope(section.section("action_envelope"))
    default = DeploymentConfig(name)
    deployment = DeploymentConfig(
        name=name,
        baseline=section.text("baseline"),
        fallback_policy=section.text("fallback_policy"),
        rollback_policy=section.text("rollback_policy"),
        policies=section.texts("policies"),
        gamma=section.number("gamma", 0.0, 0.0, 1.0),
        returns=section.choice("returns", RETURNS, "reward"),
        n_step=section.integer("n_step", default.n_step, 1, 10_000),
        reward_horizon_ms=section.duration("reward_horizon", default.reward_horizon_ms),
        bucket_ms=section.duration("bucket", default.bucket_ms),
        window_ms=section.duration("window", default.window_ms),
        combine=cast(Combine, section.choice("combine", get_args(Combine), "sum")),
        missing_reward=section.choice("missing_reward", ("ignore", "zero"), "ignore"),
        components=section.texts("components"),
        metrics=section.texts("metrics"),
        reward_range=section.numbers("reward_range"),
        min_samples=section.integer("min_samples", default.min_samples, 2),
        false_per_day=section.rate("false_signals", default.false_per_day),
        dry_run=section.flag("dry_run", False),
        season=section.choice("season", ("none", "hour-of-day", "hour-of-week", "year"), "none"),
        costs=costs,
        envelope=envelope,
        rules=rules,
        blind=_blind(section.section("blind")),
        closed_loop_ms=section.limit("closed_loop", default.closed_loop_ms),
        max_policies=section.integer("max_policies", default.max_policies, 2, 5_000),
        latch=section.flag("latch", default.latch),
        max_actions=section.integer("max_actions", default.max_actions, 1, 1_000),
        inhibit=section.flag("inhibit", default.inhibit),
        approval_timeout_ms=section.duration("approval_timeout", default.approval_timeout_ms),
        unanswered=section.choice("unanswered", ("drop", "send"), default.unanswered),
    )
    if deployment.window_ms % deployment.bucket_ms:
        section.fault("window", f"must be a multiple of the bucket ({deployment.bucket_ms} ms)")
    if deployment.reward_range and (
        len(deployment.reward_range) != 2 or not deployment.reward_range[0] < deployment.reward_range[1]
    ):
        section.fault("reward_range", "expected [lowest, highest]")
    if deployment.window_buckets > 10_000:
        section.fault("window", f"holds {deployment.window_buckets} buckets; at most 10000")
    section.close()
    return deployment


def _blind(section: Section) -> BlindConfig:
    default = BlindConfig()
    blind = BlindConfig(
        no_events_ms=section.limit("no_events", default.no_events_ms),
        no_rewards_ms=section.limit("no_rewards", default.no_rewards_ms),
        join_rate=section.flag("join_rate", default.join_rate),
        lag_ms=section.limit("lag", default.lag_ms),
        watermark_ms=section.limit("watermark", default.watermark_ms),
        baseline_age_ms=section.limit("baseline_age", default.baseline_age_ms),
    )
    section.close()
    return blind


def _cost(section: Section) -> CostBudget:
    if "budget" not in section.table:
        section.fault("budget", "is missing")
    cost = CostBudget(
        budget=section.number("budget", 0.0),
        per=section.choice("per", ("decision", "episode"), "decision"),
        gamma=section.number("gamma", 1.0, 0.0, 1.0),
    )
    section.close()
    return cost


def _rule(name: str, section: Section, parent: Section) -> RuleSettings:
    if name not in DEFAULT_KINDS:
        parent.fault(f"rules.{name}", f"unknown rule; there are {', '.join(DEFAULT_KINDS)}")
    kind = section.choice("kind", (*KINDS, ""), "")
    settings = RuleSettings(
        kind=Kind(kind) if kind else None,
        enabled=section.flag("enabled", True),
        sigma=section.number("sigma", 2.0, 0.1, 20.0),
        sigma_of=section.choice("sigma_of", ("window", "decision"), "window"),
        hold_ms=section.duration("hold", -1),
        keep_firing_ms=section.duration("keep_firing", -1),
        false_per_day=section.rate("false_signals", -1.0),
        dry_run=section.flag("dry_run", False),
        budget=section.number("budget", -1.0),
        approval=section.flag("approval", False),
    )
    section.close()
    return settings


def _envelope(section: Section) -> Envelope:
    faults = len(section.faults)
    envelope = Envelope(section.labels("actions"), section.numbers("low"), section.numbers("high"))
    if len(envelope.low) != len(envelope.high) and len(section.faults) == faults:
        section.fault("high", f"has {len(envelope.high)} numbers where low has {len(envelope.low)}")
    section.close()
    return envelope


def _renames(section: Section) -> dict[str, str]:
    for key in sorted(section.table.keys() - FIELDS):
        section.fault(key, "unknown field: our name stands on the left, the log's own on the right")
    return {key: section.text(key) for key in section.table}


def _dsjson(section: Section) -> DsjsonConfig:
    dsjson = DsjsonConfig(
        policy=section.text("policy", "vw"),
        time=section.choice("time", ("timestamp", "offset"), "timestamp"),
        features=section.texts("features"),
    )
    section.close()
    return dsjson


def _receivers(root: Section, deployments: Collection[str]) -> Iterator[ReceiverConfig]:
    for key, kind in _RECEIVERS.items():
        for section in root.array(key):
            yield _receiver(kind, section, deployments)


def _receiver(kind: str, section: Section, deployments: Collection[str]) -> ReceiverConfig:
    key = _SECRET_KEYS.get(kind)
    receiver = ReceiverConfig(
        kind=kind,
        url=""
        if kind == "chat"
        else section.text("url", _DEFAULT_URLS.get(kind, ""), required=kind not in _DEFAULT_URLS),
        secret=section.secret(key, required=True) if key else None,
        kinds=section.texts("kinds", KINDS),
        deployments=section.texts("deployments"),
        allow_http=section.flag("allow_http", False),
        timeout_ms=section.duration("timeout", 5_000),
    )
    _check_among(section, "kinds", receiver.kinds, KINDS)
    _check_among(section, "deployments", receiver.deployments, deployments)
    if kind != "chat":
        _check_url(receiver, section)
    section.close()
    return receiver


def _check_among(section: Section, key: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            section.fault(key, f"{name!r} is not one of {', '.join(known)}")


def _check_url(receiver: ReceiverConfig, section: Section) -> None:
    try:
        parts = urlsplit(receiver.url)
    except ValueError:  # half an IPv6 address
        parts = urlsplit("")
    if "url" not in section.table:
        return
    if parts.scheme not in ("http", "https") or not parts.hostname:
        section.fault("url", f"{receiver.url!r} is not an http(s) address")
    elif parts.scheme == "http" and parts.hostname not in _LOOPBACK and not receiver.allow_http:
        section.fault("url", f"plain http to {parts.hostname}: use https, or say allow_http = true")
