"""Event time: what the wire says to int64 milliseconds since 1970."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np

from detectors.arrays import F64, I64

BAD = -1  # no time can be read, or it lies outside 1970..2199
_END_MS = 7_258_118_400_000  # 2200-01-01
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SAFE_SECONDS = 1e11  # far outside the accepted range, far inside int64 milliseconds

Time = int | float | str


def to_ms(times: Sequence[Time]) -> I64:
    """Milliseconds of each time, BAD where there is none.

    The JSON token decides the unit: an integer is milliseconds, a number with a point or an exponent is seconds
    (rounded to the nearest millisecond), a string is RFC 3339 with its offset.
    """
    kinds = set(map(type, times))
    if kinds == {float}:
        ms = _from_seconds(np.fromiter(times, np.float64, len(times)))
    elif kinds == {int}:
        ms = _from_ints(times)
    else:
        ms = np.fromiter(map(_one, times), np.int64, len(times))
    ms[(ms < 0) | (ms >= _END_MS)] = BAD
    return ms


def _from_seconds(seconds: F64) -> I64:
    rounded: I64 = np.rint(np.clip(seconds, -_SAFE_SECONDS, _SAFE_SECONDS) * 1000.0).astype(np.int64)
    return rounded


def _from_ints(times: Sequence[Time]) -> I64:
    try:
        return np.fromiter(times, np.int64, len(times))
    except OverflowError:
        return np.fromiter(map(_one, times), np.int64, len(times))


def _one(time: Time) -> int:
    if isinstance(time, str):
        return _from_text(time)
    if isinstance(time, float):
        return round(min(max(time, -_SAFE_SECONDS), _SAFE_SECONDS) * 1000.0)
    return time if 0 <= time < _END_MS else BAD


def _from_text(text: str) -> int:
    try:
        moment = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return BAD
    if moment.tzinfo is None:
        return BAD
    since = moment - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + (since.microseconds + 500) // 1000
