"""State as bytes: equal after a round trip, of known types only, and bad bytes are a plain error."""

import pickle
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.persistence.codec import Codec, CodecError


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Known:
    name: str
    numbers: Any


@dataclass(frozen=True)
class Foreign:
    name: str


CODEC = Codec([Known])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3)
    | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text() | st.integers(-5, 5) | st.tuples(st.text(), st.integers(0, 3)), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(PLAIN)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    back = CODEC.decode(CODEC.encode(value))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<i8", "<i4", "<u8", "|u1", "|b1", "<U3", "|S2"])
def test_arrays_come_back_with_dtype_and_shape_and_can_be_written(dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    back = CODEC.decode(CODEC.encode(array))
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert (back == array).all()
    back[0, 0] = back[0, 1]


def test_an_empty_array_keeps_its_width() -> None:
    assert CODEC.decode(CODEC.encode(np.empty((0, 7)))).shape == (0, 7)


def test_a_view_is_stored_like_its_copy() -> None:
    whole = np.arange(12).reshape(3, 4)
    assert CODEC.encode(whole[:, ::2]) == CODEC.encode(whole[:, ::2].copy())


def test_known_dataclasses_come_back_nested() -> None:
    value = {("a", 1): Known("x", (Known("y", [1, 2]), deque([3])))}
    assert CODEC.decode(CODEC.encode(value)) == {("a", 1): Known("x", (Known("y", [1, 2]), [3]))}


def test_an_enum_is_stored_as_its_value() -> None:
    assert CODEC.decode(CODEC.encode({"c": Colour.RED})) == {"c": "red"}


def test_a_numpy_scalar_is_stored_as_a_plain_number() -> None:
    assert type(CODEC.decode(CODEC.encode(np.int64(3)))) is int


@pytest.mark.parametrize(
    "value",
    [
        Foreign("x"),
        {"inside": [Foreign("x")]},
        object(),
        {1, 2},
        frozenset({1}),
        datetime(2026, 1, 1, tzinfo=UTC),
        np.array([object()]),
        lambda: None,
        Known,
    ],
    ids=lambda value: type(value).__name__,
)
def test_foreign_types_are_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        CODEC.encode(value)


def test_a_dataclass_of_a_known_name_but_another_type_is_refused() -> None:
    other: Any = dataclass(type("Known", (), {"__annotations__": {"name": str}}))
    with pytest.raises(TypeError):
        CODEC.encode(other("x"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x92\x01",
        pickle.dumps({"a": 1}),
        Codec([Foreign]).encode(Foreign("x")),
        CODEC.encode(Known("x", 1)).replace(b"numbers", b"numbars"),
        b"\xd4\x09\x00",  # an extension of another code
        b"\xd4\x02\x05",  # an object that is no pair
        b"\xd4\x01\x05",  # an array that is no header
    ],
)
def test_bad_bytes_are_one_plain_error(data: bytes) -> None:
    with pytest.raises(CodecError):
        CODEC.decode(data)


def test_arrays_of_objects_are_refused_on_the_way_in() -> None:
    data = CODEC.encode(np.zeros(1)).replace(b"<f8", b"|O8")
    with pytest.raises(CodecError):
        CODEC.decode(data)


@given(st.binary(max_size=60))
def test_no_bytes_make_it_do_anything_else(data: bytes) -> None:
    with suppress(CodecError):
        CODEC.decode(data)


def test_bytes_nested_beyond_all_bounds_are_refused() -> None:
    """Found by the worst inputs: each level of an extension is a call of its own."""
    with pytest.raises(CodecError):
        Codec([]).decode(b"\x91" * 1_000_000)
