"""Lists of decoded values to numpy columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import xxhash

from detectors.arrays import F64, I32, I64, U64, Bool
from monitor.vocabulary import Labels

MISSING_HASH, MISSING_CODE = 0, -1

_hash: Callable[[bytes], int] = xxhash.xxh3_64_intdigest
_encode = str.encode


def floats(values: Sequence[float | None]) -> F64:
    """Numbers; None becomes NaN."""
    return (
        np.full(len(values), np.nan) if _all_absent(values) else np.fromiter(values, np.float64, len(values))
    )


def integers(values: Sequence[int]) -> I64:
    """Whole numbers; twice as fast as np.array, OverflowError where one does not fit."""
    return np.fromiter(values, np.int64, len(values))


def optional_integers(values: Sequence[int | None]) -> I64:
    """As `integers`, MISSING_CODE where there is none."""
    if _all_absent(values):
        return np.full(len(values), MISSING_CODE, np.int64)
    return integers([MISSING_CODE if value is None else value for value in values])


def _all_absent(values: Sequence[object]) -> bool:
    """Whether a column is None throughout; the first row tells most columns apart at no cost."""
    return len(values) > 0 and values[0] is None and values.count(None) == len(values)


def _all_alike(values: Sequence[Any]) -> bool:
    """Whether a column says one thing throughout, as one policy's traffic does; few others get past the first look."""
    return bool(values[0] == values[-1] and values.count(values[0]) == len(values))


def translated(names: Sequence[Any], table: Mapping[Any, int]) -> I32:
    """Each name's number in a table, MISSING_CODE where it has none."""
    if names and _all_alike(names):
        return np.full(len(names), table.get(names[0], MISSING_CODE), np.int32)
    return np.fromiter((table.get(name, MISSING_CODE) for name in names), np.int32, len(names))


def hashes(names: Sequence[str]) -> U64:
    """The 64-bit identity of each name, the same in every process; never MISSING_HASH."""
    column = np.fromiter(map(_hash, map(_encode, names)), np.uint64, len(names))
    column[column == MISSING_HASH] = 1
    return column


def optional_hashes(names: Sequence[str | None]) -> U64:
    """As `hashes`, MISSING_HASH where there is no name; each distinct name is hashed once."""
    if _all_absent(names):
        return np.zeros(len(names), np.uint64)
    known: dict[str | None, int] = {name: _hash(_encode(name)) or 1 for name in set(names) if name}
    return np.fromiter((known.get(name, MISSING_HASH) for name in names), np.uint64, len(names))


def codes(labels: Labels, names: Sequence[Any]) -> I32:
    """The code of each name (an int counts as its decimal text), new names in row order; excess names are `(other)`."""
    if names and _text(names[0]) in labels.codes and _all_alike(names):
        return np.full(len(names), labels.codes[_text(names[0])], np.int32)
    known = register(labels, names)
    excess = {name for name in known if _text(name) not in labels.codes}
    if excess:
        labels.dropped += sum(name in excess for name in names)
    return np.fromiter(map(known.__getitem__, names), np.int32, len(names))


def register(labels: Labels, names: Iterable[Any]) -> dict[Any, int]:
    """Codes for the distinct names in their order; what is dropped is not counted, since `codes` counts it by row."""
    before = labels.dropped
    known = {name: labels.code(_text(name)) for name in dict.fromkeys(names)}
    labels.dropped = before
    return known


def _text(name: Any) -> str:
    return name if isinstance(name, str) else str(name)


def optional_codes(labels: Labels, names: Sequence[str | None]) -> I32:
    """As `codes`, MISSING_CODE where there is no name."""
    present = [name for name in names if name is not None]
    column = np.full(len(names), MISSING_CODE, np.int32)
    if present:
        column[where(names)] = codes(labels, present)
    return column


def lengths(lists: Sequence[Sequence[Any] | Mapping[Any, Any] | None]) -> I64:
    """The length of each list; -1 where there is none."""
    if _all_absent(lists):
        return np.full(len(lists), -1, np.int64)
    if all(lists):
        return np.fromiter(map(len, lists), np.int64, len(lists))  # type: ignore[arg-type]
    return np.fromiter((-1 if item is None else len(item) for item in lists), np.int64, len(lists))


def where(values: Sequence[Any]) -> Bool:
    """Which values are there at all."""
    return np.fromiter((value is not None for value in values), np.bool_, len(values))


def admit(labels: Labels, records: Sequence[Mapping[str, Any] | None]) -> tuple[list[str], int]:
    """The names found that have a column, new ones while there is room; and how many values have none."""
    present = [record for record in records if record]
    found = dict.fromkeys(chain.from_iterable(present))
    fresh = [name for name in found if name not in labels.codes]
    labels.extend(fresh[: max(labels.limit - len(labels.names), 0)])
    kept = [name for name in found if name in labels.codes]
    if len(kept) == len(found):
        return kept, 0
    dropped = sum(name not in labels.codes for record in present for name in record)
    labels.dropped += dropped
    return kept, dropped


def by_name(records: Sequence[Mapping[str, Any] | None], name: str) -> list[Any]:
    """One name's value in each record, None where it has none."""
    try:
        return [record[name] for record in records]  # type: ignore[index]
    except (KeyError, TypeError):  # not every record has it
        return [record.get(name) if record else None for record in records]
