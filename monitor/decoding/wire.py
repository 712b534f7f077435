"""The wire form: JSON records as typed structs, and how their bytes are read."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import nan
from typing import Annotated, Any, ClassVar, Literal, cast

import msgspec
from msgspec import Meta, Struct

from monitor.batch import Kind

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Step = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Time = int | float | str
Numbers = dict[Name, float]
Mark = Literal["\x7f"]


class Candidate(Struct, gc=False):
    """A candidate policy's view of the logged action: its probability, its critic's value of it and of the state."""

    p: float | None = None
    q: float | None = None
    v: float | None = None


class Decision(Struct, gc=False, tag_field="type", tag="decision"):
    """One decision; a null stands for an absent field."""

    kind: ClassVar[Kind] = Kind.DECISION
    decision_id: Id
    ts: Time
    policy: Name
    action: Number | Name | list[float]
    deployment: Name | None = None
    stage: Name | None = None
    unit: str | None = None
    episode: str | None = None
    step: Step | None = None
    state: list[float] | None = None
    propensity: float | None = None
    action_probs: list[float] | dict[str, float] | None = None
    masked: list[int | str] | None = None
    value: float | None = None
    confidence: float | None = None
    latency_ms: float | None = None
    costs: Numbers | None = None
    approved_by: str | None = None
    segments: dict[Name, Name] | None = None
    candidates: dict[Name, Candidate] | None = None


class Reward(Struct, gc=False, tag_field="type", tag="reward"):
    """One reward; NaN is absent (it cannot come from the wire), None an explicit null."""

    kind: ClassVar[Kind] = Kind.REWARD
    decision_id: Id
    ts: Time
    reward: float | None = nan
    components: Numbers | None = None
    truth: float | None = nan
    costs: Numbers | None = None
    done: bool | None = False
    truncated: bool | None = False
    final: bool | None = False


class Metric(Struct, gc=False, tag_field="type", tag="metric"):
    """One value of a business metric."""

    kind: ClassVar[Kind] = Kind.METRIC
    metric: Name
    ts: Time
    value: float
    deployment: Name | None = None
    policy: Name | None = None


Event = Decision | Reward | Metric
Read = Callable[[bytes], Event]

_STRUCTS: dict[Kind, type[Struct]] = {Kind.DECISION: Decision, Kind.REWARD: Reward, Kind.METRIC: Metric}


def reader(kind: Kind | None, fields: Mapping[str, str], marked: bool = False) -> Read:
    """How one record's bytes become an event; kind None lets the record's `type` decide.

    marked: a decision's state is a mark for the numbers that were cut out, and nothing else may stand for it.
    """
    return _reader(kind, tuple(sorted(fields.items())), marked)


def by_path(fields: Mapping[str, str]) -> bool:
    """Whether any field is found by a dotted path."""
    return any("." in name for name in fields.values())


@lru_cache(maxsize=16)
def _reader(kind: Kind | None, fields: tuple[tuple[str, str], ...], marked: bool) -> Read:
    names = dict(fields)
    if by_path(names):
        return _by_path(_wanted(kind, {}), names)
    return cast(Read, msgspec.json.Decoder(_wanted(kind, names, marked)).decode)


def _wanted(kind: Kind | None, names: Mapping[str, str], marked: bool = False) -> Any:
    chosen = list(_STRUCTS.values()) if kind is None else [_STRUCTS[kind]]
    types: list[Any] = [_renamed(one, names, marked) if names or marked else one for one in chosen]
    wanted = types[0]
    for other in types[1:]:
        wanted = wanted | other
    return wanted


def _renamed(struct: type[Struct], names: Mapping[str, str], marked: bool) -> type[Struct]:
    """The same struct under the user's own field names; a mark for its state where that is asked for."""
    return msgspec.defstruct(
        struct.__name__,
        [
            (spec.name, Mark | None, None)
            if marked and spec.name == "state"
            else (spec.name, spec.type)
            if spec.required
            else (spec.name, spec.type, spec.default)
            for spec in msgspec.structs.fields(struct)
        ],
        namespace={"kind": struct.kind},  # type: ignore[attr-defined]
        rename=names,
        tag_field=names.get("type", "type"),
        tag=struct.__struct_config__.tag,
        gc=False,
    )


def _by_path(wanted: Any, names: Mapping[str, str]) -> Read:
    """Fields found by dotted paths, such as `payload.user.id`: slower, since the record is built twice."""
    paths = {ours: path.split(".") for ours, path in names.items()}

    def read(payload: bytes) -> Event:
        record = msgspec.json.decode(payload)
        if not isinstance(record, dict):
            raise msgspec.ValidationError("Expected `object`")
        found = {
            ours: value for ours, path in paths.items() if (value := _at(record, path)) is not msgspec.UNSET
        }
        plain = {name: value for name, value in record.items() if name not in paths}
        return cast(Event, msgspec.convert(plain | found, wanted))

    return read


def _at(record: Any, path: list[str]) -> Any:
    for name in path:
        if not isinstance(record, dict) or name not in record:
            return msgspec.UNSET
        record = record[name]
    return record
