"""What the decoder is told by the config: which deployments exist and what their records may look like."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Format(StrEnum):
    """The wire forms read."""

    POLICYWATCH = "policywatch"
    VW_DSJSON = "vw-dsjson"


class DsjsonTime(StrEnum):
    """Where the time of a decision-service line comes from: its Timestamp, or (old logs have none) its line number."""

    TIMESTAMP = "timestamp"
    OFFSET = "offset"


@dataclass(frozen=True, slots=True)
class DsjsonSettings:
    """What a decision-service log does not say itself.

    deployment: None = the default one. time OFFSET: a line without Timestamp stands at its line number in seconds.
    features: dotted paths of numbers inside the shared context `c` that make the state; none = no state.
    """

    deployment: str | None = None
    policy: str = "vw"
    time: DsjsonTime = DsjsonTime.TIMESTAMP
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Envelope:
    """The actions a deployment may execute without approval: a set of labels, or a box."""

    actions: frozenset[str] | None = None
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class DeploymentSettings:
    """One deployment. state_width: from the baseline, None = the first decision says. policies: None = any."""

    state_width: int | None = None
    policies: frozenset[str] | None = None
    envelope: Envelope = Envelope()


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """fields: our name -> the user's name or dotted path. default_deployment: of records that name none."""

    deployments: Mapping[str, DeploymentSettings]
    default_deployment: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    format: Format = Format.POLICYWATCH
    dsjson: DsjsonSettings = DsjsonSettings()
    max_record_bytes: int = 1 << 20
    max_rejected_bytes: int = 1 << 16
    max_segment_values: int = 100


@dataclass(slots=True)
class DecodeCounts:
    """What was let through or left out without rejecting the record.

    approved: actions outside the mask or the envelope that a person had approved. names_dropped: values of costs,
    components, segments or candidates beyond the number of names kept. probes: probes of the daemon itself; probe_ms:
    the newest one's time.
    """

    approved: int = 0
    names_dropped: int = 0
    probes: int = 0
    probe_ms: int = 0
