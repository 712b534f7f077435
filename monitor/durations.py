"""Durations, rates and instants as people write them, and as milliseconds."""

import re
from datetime import UTC, datetime

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*$")
_RATE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s+per\s+(.+)$")


def duration_ms(text: str) -> int:
    """`500ms`, `10s`, `5m`, `2h`, `30d` in milliseconds; ValueError says what was expected."""
    match = _DURATION.match(text)
    if match is None:
        raise ValueError(f"not a duration: {text!r} (write 500ms, 10s, 5m, 2h or 30d)")
    value = round(float(match[1]) * _UNITS_MS[match[2]])
    if value <= 0:
        raise ValueError(f"a duration must be longer than zero: {text!r}")
    return value


_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(kB|MB|GB)\s*$")
_BYTES = {"kB": 10**3, "MB": 10**6, "GB": 10**9}


def size_bytes(text: str) -> int:
    """`500MB` or `1GB` in bytes; ValueError says what was expected."""
    match = _SIZE.match(text)
    if match is None or not float(match[1]):
        raise ValueError(f"not a size: {text!r} (write 500MB or 1GB)")
    return round(float(match[1]) * _BYTES[match[2]])


def rate_per_day(text: str) -> float:
    """`1 per 30d` as events per day; ValueError says what was expected."""
    match = _RATE.match(text)
    if match is None:
        raise ValueError(f"not a rate: {text!r} (write 1 per 30d)")
    span = match[2].strip()
    per_day = float(match[1]) * _UNITS_MS["d"] / duration_ms(span if span[:1].isdigit() else f"1{span}")
    if per_day <= 0:
        raise ValueError(f"a rate must be above zero: {text!r}")
    return per_day


def human_duration(ms: int) -> str:
    """The largest whole unit: 600000 -> `10m`."""
    for unit in ("w", "d", "h", "m", "s"):
        if ms >= _UNITS_MS[unit] and ms % _UNITS_MS[unit] == 0:
            return f"{ms // _UNITS_MS[unit]}{unit}"
    return f"{ms}ms"


def rfc3339(ms: int) -> str:
    """UTC with milliseconds: `2026-01-01T00:00:00.000Z`."""
    stamp = datetime.fromtimestamp(ms / 1000, UTC)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
