"""A saved state as a plain value that two runs can be compared by, however their polls were cut.

Left out is what depends on the reader and not on the log: the order in which partitions were first heard of, which one
fell idle last, and where in the log a row came from. Rows of the join are sorted, since places are given by arrival.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monitor.persistence.checkpoint import Checkpoint
from monitor.persistence.state import CODEC

LEFT_OUT = {"low_ms", "idle", "partitions", "row"}
BY_WALL_CLOCK = {"vigil", "desk", "clock"}  # parts that follow no log
State = dict[str, Any]


def state_in(folder: Path) -> State:
    """The newest state saved in a folder."""
    checkpoint = Checkpoint(folder)
    try:
        saved = checkpoint.load()
    finally:
        checkpoint.close()
    assert saved is not None, f"nothing was saved in {folder}"
    return state_of(saved.parts)


def state_of(parts: Mapping[str, bytes]) -> State:
    """The parts of a checkpoint, but for those that follow no log."""
    return {
        name: _plain(CODEC.decode(data)) for name, data in sorted(parts.items()) if name not in BY_WALL_CLOCK
    }


def digest(state: State) -> str:
    """A hash of it all."""
    return hashlib.blake2b(repr(state).encode(), digest_size=16).hexdigest()


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Where two states differ, in words."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}, key=str):
            yield from differences(one.get(key), other.get(key), f"{path}/{key}")
    elif one != other:
        yield f"{path}: {str(one)[:120]} != {str(other)[:120]}"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _mapping({spec.name: getattr(value, spec.name) for spec in fields(value)})
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, value.tobytes().hex()]
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    if "id" in value and "ts_ms" in value:
        value = _sorted(value, value["ts_ms"], value["id"])
    elif "rows/id" in value:
        rows = {name: column for name, column in value.items() if name.startswith("rows/")}
        prints = {name: column for name, column in value.items() if name.startswith("prints/")}
        value = {**_sorted(rows, rows["rows/ts_ms"], rows["rows/id"]),
                 **_sorted(prints, prints["prints/ts_ms"], prints["prints/id"])}  # fmt: skip
    return {str(key): _plain(value[key]) for key in sorted(value, key=str) if key not in LEFT_OUT}


def _sorted(columns: Mapping[str, Any], ts_ms: Any, ids: Any) -> dict[str, Any]:
    order = np.lexsort((ids, ts_ms))
    return {
        name: column[order] if isinstance(column, np.ndarray) and len(column) == len(order) else column
        for name, column in columns.items()
    }
