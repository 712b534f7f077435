"""The messages of the bucket topic: what a lane counted, what it saw, how far it is. Versioned, equal bytes for equals.

A lane is one partition of the decisions with its partition of the rewards, or one of the metrics. What a lane says is a
function of its own partitions' records, whoever reads them, so that a bucket published again is the same bucket.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from alerts.violations import ViolationEvent
from detectors.arrays import F64
from monitor.persistence.codec import Codec, CodecError

VERSION = 2
READ = (1, VERSION)  # 1: buckets without segments
_CODEC = Codec([])


@dataclass(frozen=True, slots=True)
class BucketMessage:
    """What lane `lane` adds at the seal `end_ms` to the bucket `bucket_ms`.

    counted_as: hash of what the numbers mean (grid, baseline, detectors). actions, segments: names of the lane's codes,
    as far as the statistics need them. statistics: detector -> field -> array.
    """

    lane: str
    deployment: str
    end_ms: int
    policy: str
    stage: str
    bucket_ms: int
    decisions: int
    rewarded: int
    first_ms: int
    last_ms: int
    counted_as: str
    actions: list[str]
    statistics: Mapping[str, Mapping[str, F64]]
    segments: list[str] = field(default_factory=list)

    @property
    def key(self) -> bytes:
        """The same bucket of the same lane and seal replaces what was said of it before."""
        place = (
            self.deployment,
            self.policy,
            self.stage,
            self.counted_as,
            self.bucket_ms,
            self.end_ms,
            self.lane,
        )
        return "\x1f".join(map(str, ("bucket", *place))).encode()


@dataclass(frozen=True, slots=True)
class ViolationMessage:
    """A forbidden action that was executed, told before its bucket is sealed."""

    lane: str
    deployment: str
    event: ViolationEvent

    @property
    def key(self) -> bytes:
        """By its place in the log."""
        return "\x1f".join(("violation", self.deployment, self.lane, str(self.event.offset))).encode()


@dataclass(frozen=True, slots=True)
class ProgressMessage:
    """Every bucket of the lane that ends at or before sealed_ms has been told. idle: do not wait for more."""

    lane: str
    sealed_ms: int | None
    idle: bool

    @property
    def key(self) -> bytes:
        """The newest counts."""
        return f"progress\x1f{self.lane}".encode()


Message = BucketMessage | ViolationMessage | ProgressMessage
_KINDS: dict[str, type[Any]] = {
    "bucket": BucketMessage,
    "violation": ViolationMessage,
    "progress": ProgressMessage,
}


class UnreadableMessage(ValueError):
    """Bytes that are no message of a version that we read."""


def encode(message: Message) -> bytes:
    """The value of the record."""
    kind = next(name for name, known in _KINDS.items() if isinstance(message, known))
    fields = {name: getattr(message, name) for name in type(message).__dataclass_fields__}
    if isinstance(message, ViolationMessage):
        fields["event"] = asdict(message.event)
    return _CODEC.encode({"version": VERSION, "kind": kind, **fields})


def decode(value: bytes) -> Message:
    """The message of a record; UnreadableMessage in words."""
    try:
        fields = dict(_CODEC.decode(value))
        version, kind = fields.pop("version"), fields.pop("kind")
        if version not in READ:
            raise UnreadableMessage(f"bucket message of version {version}, this one reads {VERSION}")
        if kind == "violation":
            fields["event"] = ViolationEvent(**fields["event"])
        message: Message = _KINDS[kind](**fields)
    except (CodecError, KeyError, TypeError, ValueError) as error:
        raise UnreadableMessage(str(error)) from error
    return message
