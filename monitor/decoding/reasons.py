"""Why a record cannot be used: the closed set of reasons, and how a failed decode is named."""

import json
import re
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec


class Reason(StrEnum):
    """Every way a record can be unusable; the label of `records_rejected_total` and of the dead letters."""

    BAD_JSON = "bad_json"
    BAD_UTF8 = "bad_utf8"
    TOMBSTONE = "tombstone"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    NOT_FINITE = "not_finite"
    PROPENSITY_RANGE = "propensity_range"
    PROBS_SUM = "probs_sum"
    STATE_LENGTH = "state_length"
    ACTION_LENGTH = "action_length"
    OVERSIZE = "oversize"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_DEPLOYMENT = "unknown_deployment"
    UNKNOWN_POLICY = "unknown_policy"
    BAD_TIMESTAMP = "bad_timestamp"
    LATE = "late"
    FUTURE = "future"
    DUPLICATE = "duplicate"
    UNKNOWN_DECISION = "unknown_decision"
    ORPHAN = "orphan"
    BAD_BUCKET = "bad_bucket"


class Fault(NamedTuple):
    """A reason and one plain clause with the particulars."""

    reason: Reason
    detail: str


class UnusableError(Exception):
    """A record whose fault is already named."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(reason, detail)


Faults = dict[int, Fault]  # position in the poll -> what is wrong; the first fault found is the one kept

_NOT_NUMBERS = frozenset({"nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"})
_FIELD = re.compile(r"`\$\.([^.\[`]+)")
_DETAIL_LIMIT = 300


def diagnose(payload: bytes, error: BaseException) -> Fault:
    """Names a failed decode; the slow path, taken for unusable records only."""
    if isinstance(error, UnusableError):
        return error.fault
    return Fault(_reason(payload, error), str(error)[:_DETAIL_LIMIT])


def _reason(payload: bytes, error: BaseException) -> Reason:
    match error:
        case UnicodeDecodeError():
            return Reason.BAD_UTF8
        case msgspec.ValidationError():
            return _invalid(payload, str(error))
        case OverflowError():
            return Reason.NOT_FINITE
        case msgspec.DecodeError() if _has_non_finite_literal(payload):
            return Reason.NOT_FINITE
        case _:
            return Reason.BAD_JSON


def _invalid(payload: bytes, message: str) -> Reason:
    found = _FIELD.search(message)
    field = found.group(1) if found else ""
    if "missing required field" in message or "of length >= 1" in message:
        return Reason.MISSING_FIELD
    if field == "type":
        return Reason.UNKNOWN_TYPE
    if "of length <=" in message:
        return Reason.OVERSIZE
    if "out of range" in message and field == "ts":
        return Reason.BAD_TIMESTAMP
    if "Number out of range" in message:
        return Reason.NOT_FINITE
    if "`float" in message and ("got `null`" in message or _spells_non_finite(payload, message)):
        return Reason.NOT_FINITE
    return Reason.WRONG_TYPE


def _spells_non_finite(payload: bytes, message: str) -> bool:
    """Whether the text found where a number belongs is "NaN" or the like."""
    if "got `str`" not in message:
        return False
    found = _FIELD.search(message)
    try:
        record = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return False
    return _any_text(record.get(found.group(1)) if found else record, depth=4)


def _any_text(value: Any, depth: int) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _NOT_NUMBERS
    if depth and isinstance(value, list):
        return any(_any_text(item, depth - 1) for item in value)
    if depth and isinstance(value, dict):
        return any(_any_text(item, depth - 1) for item in value.values())
    return False


def _has_non_finite_literal(payload: bytes) -> bool:
    """Whether the record is JSON but for NaN or Infinity, which Python and others write."""
    if b"NaN" not in payload and b"Infinity" not in payload:
        return False
    seen: list[str] = []
    try:
        json.loads(payload, parse_constant=seen.append)
    except (ValueError, RecursionError):
        return False
    return bool(seen)
