"""Tables are dataclasses of columns: rows of them, and several end to end."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def take(table: T, index: Any) -> T:
    """The rows of a table chosen by a mask or an index array; what is not a column stays as it is."""
    if isinstance(index, np.ndarray) and index.dtype == np.bool_ and index.all():
        return table  # nearly always: nothing is late, double or foreign
    return _map(table, lambda column: column[index])


def concat(tables: Sequence[T]) -> T:
    """Tables of one kind end to end; a named column missing in one of them is filled as missing."""
    if len(tables) == 1:
        return tables[0]
    lengths = [len(table) for table in tables]  # type: ignore[arg-type]
    columns: dict[str, Any] = {}
    for name in _names(tables[0]):
        columns[name] = _joined([getattr(table, name) for table in tables], lengths)
    return type(tables[0])(**columns)


def _joined(parts: Sequence[Any], lengths: Sequence[int]) -> Any:
    first = parts[0]
    if isinstance(first, dict):
        names = sorted({name for part in parts for name in part})
        return {name: _filled([part.get(name) for part in parts], lengths) for name in names}
    return np.concatenate(_even(parts)) if isinstance(first, np.ndarray) else first


def _even(parts: Sequence[Any]) -> Sequence[Any]:
    """Vectors whose width was not known yet when their poll was read: as wide as the others, missing."""
    widths = {part.shape[1] for part in parts if part.ndim == 2}
    if len(widths) < 2:
        return parts
    return [
        np.pad(part, ((0, 0), (0, max(widths) - part.shape[1])), constant_values=np.nan) for part in parts
    ]


def _filled(parts: Sequence[Any], lengths: Sequence[int]) -> Any:
    known = next(part for part in parts if part is not None)
    if isinstance(known, tuple):
        sides = range(len(known))
        return tuple(
            _filled([None if part is None else part[side] for part in parts], lengths) for side in sides
        )
    missing = -1 if known.dtype.kind == "i" else np.nan
    return np.concatenate(
        [
            np.full((n, *known.shape[1:]), missing, known.dtype) if part is None else part
            for part, n in zip(parts, lengths, strict=True)
        ]
    )


def _names(table: object) -> Iterable[str]:
    """The columns of a table; dataclasses.fields looks at each anew and is ten times as slow."""
    names: dict[str, object] = type(table).__dataclass_fields__  # type: ignore[attr-defined]
    return names


def _map(table: T, change: Callable[[Any], Any]) -> T:
    return type(table)(*[_mapped(getattr(table, name), change) for name in _names(table)])


def _mapped(column: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(column, np.ndarray):
        return change(column)
    if not isinstance(column, dict):
        return column
    return {
        name: tuple(change(side) for side in part) if isinstance(part, tuple) else change(part)
        for name, part in column.items()
    }
