"""Everything remembered adds up: sufficient statistics as frozen arrays with one `+`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import F64


@dataclass(frozen=True, slots=True)
class Statistic:
    """A mergeable sufficient statistic: every field is a float64 array and merging is addition.

    Sub-classes declare their fields only. Counts are exact up to 2**53. A field may differ in length along its
    last axis between two statistics (labels seen later have higher codes); the shorter is padded with zeros.
    """

    def __add__(self, other: Self) -> Self:
        return type(self)(*(_padded_sum([a, b]) for a, b in zip(_values(self), _values(other), strict=True)))

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """The sum of one or more statistics, added in the order given."""
        if len(parts) == 1:
            return parts[0]
        columns = zip(*(_values(part) for part in parts), strict=True)
        return cls(*(_padded_sum(list(column)) for column in columns))

    def values(self) -> list[F64]:
        """The fields' arrays, in their order."""
        return _values(self)

    def arrays(self) -> dict[str, F64]:
        """Field name -> array, the form that is stored."""
        return dict(zip(_names(type(self)), _values(self), strict=True))

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """The inverse of `arrays`; raises KeyError where a field is missing."""
        return cls(*(arrays[name] for name in _names(cls)))


def stack(parts: Sequence[Statistic], names: Sequence[str] = ()) -> dict[str, Any]:
    """Statistics of successive buckets as arrays with a leading bucket axis (shape (buckets, ...)).

    names: the fields that are wanted, all of them unless given.
    """
    wanted = names or _names(type(parts[0]))
    return {name: np.stack(_aligned([getattr(part, name) for part in parts])) for name in wanted}


def widened(part: Any, width: int) -> Any:
    """With zeros behind, as wide as asked along the last axis (np.pad costs ten times as much)."""
    if part.shape[-1] == width:
        return part
    wider = np.zeros((*part.shape[:-1], width))
    wider[..., : part.shape[-1]] = part
    return wider


def _names(kind: type[Statistic]) -> tuple[str, ...]:
    return tuple(kind.__dataclass_fields__)  # dataclasses.fields looks at every field anew: ten times as slow


def _values(statistic: Statistic) -> list[Any]:
    return [getattr(statistic, name) for name in _names(type(statistic))]


def _padded_sum(parts: list[Any]) -> Any:
    if len(parts) == 2 and parts[0].shape == parts[1].shape:
        return parts[0] + parts[1]
    return np.add.reduce(np.stack(_aligned(parts)), axis=0)


def _aligned(parts: list[Any]) -> list[Any]:
    width = max(part.shape[-1] if part.ndim else 0 for part in parts)
    if all(part.ndim == 0 or part.shape[-1] == width for part in parts):
        return parts
    return [widened(part, width) for part in parts]
