"""The signal: what the daemon tells the world, its stable id and its wire form (CloudEvents 1.0 JSON)."""

import hashlib
import math
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import quote

import msgspec

Kind = Literal["fallback", "rollback", "hold", "promote", "retrain", "page"]
State = Literal["firing", "resolved"]

SCHEMA = "urn:policywatch:signal:1"
"""Version of the wire form; grows when a field changes its meaning or goes away."""

VIOLATION = "violation"
TYPE_PREFIX = "io.policywatch.signal."
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


class SignalDecodeError(ValueError):
    """Bytes that are not a signal of this schema; never retriable."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers behind a signal; `None` where a number is not finite or does not exist."""

    statistic: str
    value: float | None = None
    threshold: float | None = None
    n: int = 0
    window_start_ms: int | None = None
    window_end_ms: int | None = None
    baseline: str | None = None
    culprits: tuple[str, ...] = ()


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """One instruction or page; `subject` is the stage, feature or cost it is about ("" for the policy)."""

    id: str
    time_ms: int
    deployment: str
    policy: str
    kind: Kind
    state: State
    rule: str
    reason: str
    generation: int
    evidence: Evidence
    to_policy: str | None = None
    expires_at_ms: int | None = None
    dry_run: bool = False
    subject: str = ""

    @property
    def safety(self) -> bool:
        """Whether production goes on being harmed until this arrives: it is retried fast and dropped last."""
        return self.kind in ("fallback", "rollback") and self.state == "firing" and not self.dry_run

    @property
    def hard(self) -> bool:
        """Whether it tells of a forbidden action: that is said at once, and waits for nobody."""
        return self.evidence.statistic == "violations.executed"

    @property
    def alert_key(self) -> str:
        """What firing and resolved of one alert share, at most 255 characters (PagerDuty's limit)."""
        key = "/".join(quote(part, safe=" ") for part in self._alert)
        return key if len(key) <= 255 else f"{key[:222]}-{_hash(*self._alert)}"

    @property
    def acknowledgement(self) -> str:
        """The id under which a pager is told that somebody has seen it."""
        return f"ack_{self.id.removeprefix('sig_')}"

    @property
    def _alert(self) -> tuple[str, ...]:
        """Forbidden actions are apart from cost budgets, of which the same rule tells: each has its own end."""
        return (self.deployment, self.policy, self.rule, self.subject, *((VIOLATION,) if self.hard else ()))


def signal_id(
    deployment: str, policy: str, stage: str, rule: str, subject: str, incident_ordinal: int, state: State
) -> str:
    """The id of one change of one alert: the same on replay, so that a receiver can drop repeats."""
    return "sig_" + _hash(deployment, policy, stage, rule, subject, incident_ordinal, state)


def cloudevent(signal: Signal) -> bytes:
    """The signal in CloudEvents 1.0 structured mode: the same signal gives the same bytes."""
    return _ENCODER.encode(_envelope(signal))


def parse(raw: bytes) -> Signal:
    """The signal in these bytes; raises SignalDecodeError when they hold none of this schema."""
    try:
        event = _DECODER.decode(raw)
        return _signal(event)
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise SignalDecodeError(f"not a signal: {error}") from error


def rfc3339(time_ms: int) -> str:
    """Milliseconds since the epoch as `2024-05-01T12:00:00.000Z`."""
    return (_EPOCH + time_ms * _MS).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_rfc3339(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time; raises ValueError without a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time without zone: {text!r}")
    return (moment - _EPOCH) // _MS


class _WireEvidence(msgspec.Struct, frozen=True):
    statistic: str
    value: float | None
    threshold: float | None
    n: int
    window_start: str | None
    window_end: str | None
    baseline: str | None
    culprits: tuple[str, ...]


class _Data(msgspec.Struct, frozen=True):
    id: str
    time: str
    deployment: str
    policy: str
    kind: Kind
    state: State
    rule: str
    reason: str
    to_policy: str | None
    generation: int
    expires_at: str | None
    dry_run: bool
    evidence: _WireEvidence


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    specversion: str
    id: str
    source: str
    type: str
    time: str
    subject: str = ""
    datacontenttype: str
    dataschema: str
    data: _Data


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Event)


def _envelope(signal: Signal) -> _Event:
    time = rfc3339(signal.time_ms)
    return _Event(
        specversion="1.0",
        id=signal.id,
        source=f"/policywatch/{quote(signal.deployment, safe='')}",
        type=TYPE_PREFIX + signal.kind,
        time=time,
        subject=f"{signal.policy}/{signal.subject}" if signal.subject else signal.policy,
        datacontenttype="application/json",
        dataschema=SCHEMA,
        data=_Data(
            signal.id,
            time,
            signal.deployment,
            signal.policy,
            signal.kind,
            signal.state,
            signal.rule,
            signal.reason,
            signal.to_policy,
            signal.generation,
            _optional_time(signal.expires_at_ms),
            signal.dry_run,
            _wire_evidence(signal.evidence),
        ),
    )


def _wire_evidence(evidence: Evidence) -> _WireEvidence:
    return _WireEvidence(
        evidence.statistic,
        _finite(evidence.value),
        _finite(evidence.threshold),
        evidence.n,
        _optional_time(evidence.window_start_ms),
        _optional_time(evidence.window_end_ms),
        evidence.baseline,
        evidence.culprits,
    )


def _signal(event: _Event) -> Signal:
    data = event.data
    if event.dataschema != SCHEMA:
        raise ValueError(f"schema {event.dataschema!r}, expected {SCHEMA!r}")
    if event.id != data.id or event.type != TYPE_PREFIX + data.kind:
        raise ValueError("envelope and data disagree about id or kind")
    return Signal(
        id=data.id,
        time_ms=from_rfc3339(data.time),
        deployment=data.deployment,
        policy=data.policy,
        kind=data.kind,
        state=data.state,
        rule=data.rule,
        reason=data.reason,
        to_policy=data.to_policy,
        generation=data.generation,
        expires_at_ms=None if data.expires_at is None else from_rfc3339(data.expires_at),
        dry_run=data.dry_run,
        evidence=_evidence(data.evidence),
        subject=event.subject.removeprefix(data.policy).removeprefix("/"),
    )


def _evidence(wire: _WireEvidence) -> Evidence:
    return Evidence(
        statistic=wire.statistic,
        value=wire.value,
        threshold=wire.threshold,
        n=wire.n,
        window_start_ms=None if wire.window_start is None else from_rfc3339(wire.window_start),
        window_end_ms=None if wire.window_end is None else from_rfc3339(wire.window_end),
        baseline=wire.baseline,
        culprits=wire.culprits,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _optional_time(time_ms: int | None) -> str | None:
    return None if time_ms is None else rfc3339(time_ms)


def _hash(*parts: str | int) -> str:
    """128 bits over the parts; JSON keeps ("a", "b/c") and ("a/b", "c") apart."""
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=16).hexdigest()
