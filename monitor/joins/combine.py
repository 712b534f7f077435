"""Several rewards of one decision become one number: their sum, their mean, or the last by event time."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from detectors.arrays import F64, I64
from monitor.joins.runs import Column, Runs

Combine = Literal["sum", "mean", "last"]

NUMBER = Column("f8", np.nan)
COUNT = Column("u4", 0)  # beside a mean, whose column holds the sum
TIME = Column("i8", np.iinfo(np.int64).min)  # beside a last


@dataclass(frozen=True, slots=True)
class Arrivals:
    """n rewards in canonical order: places of the m decisions they reach, group (n,) into places, ts_ms (n,)."""

    places: I64
    group: I64
    ts_ms: I64


def declare(rows: Runs, name: str, how: Combine) -> None:
    """Makes a combined column known to the rows."""
    rows.declare(name, NUMBER)
    if how == "mean":
        rows.declare(f"{name}#n", COUNT)
    elif how == "last":
        rows.declare(f"{name}#ts", TIME)


def combined(rows: Runs, name: str, how: Combine, places: I64) -> Any:
    """The number so far, NaN where none has come."""
    held = rows.read(name, places)
    return held / np.maximum(rows.read(f"{name}#n", places), 1) if how == "mean" else held


def add(rows: Runs, name: str, how: Combine, values: F64, arrivals: Arrivals) -> tuple[F64, F64]:
    """Adds the values that are not NaN, in their order. Returns the number before and after, (m,) each."""
    before = combined(rows, name, how, arrivals.places)
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return before, before
    group = arrivals.group[known]
    if how == "last":
        _take_last(rows, name, values[known], arrivals, known)
    else:
        _take_all(rows, name, how, values[known], arrivals.places, group)
    return before, combined(rows, name, how, arrivals.places)


def _take_all(rows: Runs, name: str, how: Combine, values: F64, places: I64, group: I64) -> None:
    touched = np.flatnonzero(np.bincount(group, minlength=len(places)))
    held = rows.read(name, places)
    total = np.where(np.isnan(held), 0.0, held)
    np.add.at(total, group, values)  # one by one, in order: the sum does not depend on how ticks were cut
    rows.write(name, places[touched], total[touched])
    if how == "mean":
        count = rows.read(f"{name}#n", places)
        np.add.at(count, group, 1)
        rows.write(f"{name}#n", places[touched], count[touched])


def _take_last(rows: Runs, name: str, values: F64, arrivals: Arrivals, known: I64) -> None:
    newest = np.full(len(arrivals.places), -1)
    np.maximum.at(newest, arrivals.group[known], np.arange(len(known)))  # rewards are in order of time
    some = np.flatnonzero(newest >= 0)
    ts_ms = arrivals.ts_ms[known[newest[some]]]
    wins = ts_ms >= rows.read(f"{name}#ts", arrivals.places[some])
    some, ts_ms = some[wins], ts_ms[wins]
    rows.write(name, arrivals.places[some], values[newest[some]])
    rows.write(f"{name}#ts", arrivals.places[some], ts_ms)
