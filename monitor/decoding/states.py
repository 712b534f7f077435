"""States read apart from their records: the numbers of a poll as one JSON array, by a parser that makes no objects.

A typed parse makes an object of each number: at 32 features two thirds of its time. So the text of each state is cut
out and a mark left in its place. A record that turns out to hold its mark where its state belongs is what it was with
the numbers in place; where anything else turns out, the caller parses whole records, which says the same, slower.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from monitor.decoding.vectors import Vectors

MARK = "\x7f"  # a text that no record holds: where one does, in whatever spelling, nothing is read apart
_BACKSLASH = 0x5C
_ESCAPED = (b"\\u007f", b"\\u007F")
LOOKED_AT = 16  # records, for how they spell the field
AT_ONCE = 512  # states parsed at a time: their text stays in cache
# A number after each state; where a state holds it, nothing is read apart.
_BETWEEN = -9e307
_BETWEEN_TEXT = b"-9e307"

simdjson: Any = import_module("simdjson") if find_spec("simdjson") else None  # an extra


@dataclass(frozen=True, slots=True)
class Apart:
    """payloads: the records, marks for their states. numbers: the texts cut out, in order."""

    payloads: list[bytes]
    numbers: list[bytes]


def cut(payloads: Sequence[bytes], field: str) -> Apart | None:
    """The records and the numbers of their states apart; None where no record is seen to hold a state."""
    opening = _opening(payloads[:LOOKED_AT], field) if simdjson is not None else None
    if opening is None:
        return None
    key, records, numbers = opening[:-1] + f'"{MARK}"'.encode(), [], []
    mark = ord(MARK)
    for payload in payloads:
        if mark in payload or (_BACKSLASH in payload and any(text in payload for text in _ESCAPED)):
            return None
        before, found, rest = payload.partition(opening)
        if found:
            text, _, after = rest.partition(b"]")
            numbers.append(text)
            payload = before + key + after
        records.append(payload)
    return Apart(records, numbers)


def vectors(marks: Sequence[str | None], numbers: Sequence[bytes]) -> Vectors | None:
    """The state of each decision. marks: what each shows for it, MARK or nothing; None where one was cut elsewhere."""
    if marks.count(MARK) != len(numbers):
        return None
    flat = _parsed(numbers)
    if flat is None:
        return None
    ends = np.flatnonzero(flat == _BETWEEN)
    if len(ends) != len(numbers):
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])
    if len(numbers) == len(marks):
        return Vectors(ends - starts, starts, flat)
    there = np.fromiter((mark is not None for mark in marks), np.bool_, len(marks))
    sizes, begins = np.full(len(marks), -1), np.zeros(len(marks), np.int64)
    sizes[there], begins[there] = ends - starts, starts
    return Vectors(sizes, begins, flat)


def _opening(payloads: Sequence[bytes], field: str) -> bytes | None:
    """How the first record with a state writes the field up to its bracket, with a space or without."""
    spellings = [f'"{field}":['.encode(), f'"{field}": ['.encode()]
    return next((s for payload in payloads for s in spellings if s in payload), None)


@lru_cache(maxsize=1)
def _parser() -> Any:
    """One for all: a fresh one would cost as much as parsing."""
    return simdjson.Parser()


def _parsed(numbers: Sequence[bytes]) -> Any:
    """All numbers, each state's followed by _BETWEEN; None where a text is not numbers and commas alone."""
    between, end = b"," + _BETWEEN_TEXT + b",", b"," + _BETWEEN_TEXT + b"]"
    parts = []
    for start in range(0, len(numbers), AT_ONCE):
        text = b"[" + between.join(numbers[start : start + AT_ONCE]) + end
        try:
            parts.append(np.frombuffer(_parser().parse(text).as_buffer(of_type="d")))
        except (ValueError, TypeError, RuntimeError):
            return None
    return np.concatenate(parts)
