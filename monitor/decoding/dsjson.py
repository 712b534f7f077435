"""Vowpal Wabbit decision-service lines (`vw-dsjson`): one line is a decision and what came of it.

`a` ranks the action numbers (from 1), the first was executed; `p` are their probabilities in the same order.
`_label_cost` is the negative reward, `_label_probability` the propensity, `c` the context, `VWState` the model.
A line may instead be a reward that found no decision (`RewardValue`). Lines of several slots are not read, and
`pdrop` (thinning of the log) is not corrected for. Format: VowpalWabbit wiki, "DSJSON".
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct, field

from monitor.decoding.decode_settings import DsjsonSettings, DsjsonTime
from monitor.decoding.reasons import Reason, UnusableError
from monitor.decoding.wire import Decision, Id, Reward, Time

_Action = Annotated[int, Meta(ge=1)]
_NULL = Raw(b"null")


class _Line(Struct, gc=False):
    event_id: Id | None = field(default=None, name="EventId")
    timestamp: Time | None = field(default=None, name="Timestamp")
    cost: float | None = field(default=None, name="_label_cost")
    probability: float | None = field(default=None, name="_label_probability")
    label: _Action | None = field(default=None, name="_label_Action")
    skip_learn: bool | None = field(default=None, name="_skipLearn")
    actions: list[_Action] | None = field(default=None, name="a")
    probs: list[float] | None = field(default=None, name="p")
    context: Raw = field(default=_NULL, name="c")
    slots: Raw = field(default=_NULL, name="_outcomes")
    dangling_reward: float | None = field(default=None, name="RewardValue")
    enqueued: Time | None = field(default=None, name="EnqueuedTimeUtc")


_read_line = msgspec.json.Decoder(_Line).decode


def read(payload: bytes, line_number: int, settings: DsjsonSettings) -> tuple[Decision | None, Reward | None]:
    """The decision of a line and its reward, at the same time; raises UnusableError or a decode error."""
    line = _read_line(payload)
    if line.slots != _NULL:
        raise UnusableError(Reason.UNKNOWN_TYPE, "a line of several slots (`_outcomes`)")
    if line.event_id is None:
        raise UnusableError(Reason.MISSING_FIELD, "no `EventId`")
    ts = _time(line, line_number, settings)
    if line.dangling_reward is not None:
        return None, Reward(decision_id=line.event_id, ts=ts, reward=line.dangling_reward)
    decision = _decision(line, line.event_id, ts, settings)
    if line.skip_learn or line.cost is None:
        return decision, None
    return decision, Reward(decision_id=line.event_id, ts=ts, reward=0.0 - line.cost, final=True)


def _time(line: _Line, line_number: int, settings: DsjsonSettings) -> Time:
    said = line.timestamp if line.dangling_reward is None else line.enqueued or line.timestamp
    if said is not None:
        return said
    if settings.time is DsjsonTime.OFFSET:
        return line_number * 1000
    raise UnusableError(
        Reason.MISSING_FIELD, 'no `Timestamp`; `time = "offset"` reads such logs by line number'
    )


def _decision(line: _Line, event_id: str, ts: Time, settings: DsjsonSettings) -> Decision:
    return Decision(
        decision_id=event_id,
        ts=ts,
        policy=settings.policy,
        deployment=settings.deployment,
        action=_action(line),
        propensity=line.probability,
        action_probs=_distribution(line),
        state=_state(line.context, settings.features),
    )


def _action(line: _Line) -> int:
    if line.label is not None:
        return line.label
    if line.actions:
        return line.actions[0]
    raise UnusableError(Reason.MISSING_FIELD, "no `_label_Action` and no `a`")


def _distribution(line: _Line) -> dict[str, float] | None:
    if not line.probs or not line.actions:
        return None
    if len(line.probs) != len(line.actions):
        raise UnusableError(
            Reason.WRONG_TYPE, f"{len(line.probs)} numbers in `p`, {len(line.actions)} in `a`"
        )
    return {str(action): p for action, p in zip(line.actions, line.probs, strict=True)}


def _state(context: Raw, features: tuple[str, ...]) -> list[float] | None:
    """The configured numbers of the shared context; a feature that is not there or no number is 0, as VW has it."""
    if not features:
        return None
    values = msgspec.json.decode(context)
    return [_number(values, path.split(".")) for path in features]


def _number(value: Any, path: list[str]) -> float:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) else 0.0
