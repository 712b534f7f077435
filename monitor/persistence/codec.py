"""State as bytes and back: dataclasses of a closed list, numpy arrays and plain values. Never pickle."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import msgspec
import numpy as np

_ARRAY, _OBJECT, _TUPLE, _PAIRS = 1, 2, 3, 4
_KINDS = "biufSU"
_LEAVES = (bool, int, float, str, bytes)
_PLAIN = {*_LEAVES, type(None)}  # their very types, not what derives from them


Upgrade = Callable[[dict[str, Any]], dict[str, Any]]  # columns of an older object to those of today's


class CodecError(ValueError):
    """Bytes that are not a state of ours; never retriable."""


class Codec:
    """Encodes values made of the given dataclasses (and what they hold); equal values give equal bytes.

    Older bytes may hold fewer columns than a dataclass (it has defaults for them, or `upgrades` adds them) or more
    (they are left out).
    """

    def __init__(self, types: list[type], upgrades: Mapping[str, Upgrade] | None = None) -> None:
        self._types = {t.__name__: t for t in types}
        self._columns = {t: tuple(spec.name for spec in fields(t)) for t in types if is_dataclass(t)}
        self._upgrades = upgrades or {}
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._extend)
        self._decoder = msgspec.msgpack.Decoder(ext_hook=self._restore)

    def encode(self, value: Any) -> bytes:
        """The bytes of a value; TypeError for a type that is not on the list."""
        return self._encoder.encode(self._plain(value))

    def decode(self, data: bytes) -> Any:
        """The value of `encode`; CodecError where the bytes are not such a value."""
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise CodecError(str(error)) from error

    def _plain(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind in self._columns:
            return self._object(value)
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, dict):
            return self._mapping(value)
        if isinstance(value, tuple):
            return msgspec.msgpack.Ext(_TUPLE, self._encoder.encode([self._plain(item) for item in value]))
        if isinstance(value, (list, deque)):
            return [self._plain(item) for item in value]
        if value is None or isinstance(value, _LEAVES):
            return value
        raise TypeError(
            f"{kind.__name__} is not on the list of state types"
        )  # sets and times would come back as something else

    def _array(self, value: Any) -> msgspec.msgpack.Ext:
        if value.dtype.kind not in _KINDS:
            raise TypeError(f"arrays of {value.dtype} are not state")
        header = (value.dtype.str, value.shape, value.tobytes())
        return msgspec.msgpack.Ext(_ARRAY, self._encoder.encode(header))

    def _object(self, value: Any) -> msgspec.msgpack.Ext:
        kind = type(value)
        columns = {name: self._plain(getattr(value, name)) for name in self._columns[kind]}
        return msgspec.msgpack.Ext(_OBJECT, self._encoder.encode((kind.__name__, columns)))

    def _mapping(self, value: dict[Any, Any]) -> Any:
        if all(issubclass(kind, str) for kind in {*map(type, value)}):
            return {key: self._plain(item) for key, item in value.items()}
        pairs = [(self._plain(key), self._plain(item)) for key, item in value.items()]
        return msgspec.msgpack.Ext(_PAIRS, self._encoder.encode(pairs))

    def _extend(self, value: Any) -> Any:
        raise TypeError(f"{type(value).__name__} is not state")

    def _restore(self, code: int, data: memoryview) -> Any:
        if code == _ARRAY:
            dtype, shape, raw = msgspec.msgpack.decode(bytes(data))
            if np.dtype(dtype).kind not in _KINDS:
                raise CodecError(f"arrays of {dtype} are not state")
            return np.frombuffer(raw, np.dtype(dtype)).reshape(shape).copy()
        content = self._decoder.decode(bytes(data))
        if code == _TUPLE:
            return tuple(content)
        if code == _PAIRS:
            return dict(content)
        if code == _OBJECT:
            name, columns = content
            kind = self._types[name]
            if name in self._upgrades:
                columns = self._upgrades[name](columns)
            known = kind.__dataclass_fields__  # type: ignore[attr-defined]
            return kind(**{column: value for column, value in columns.items() if column in known})
        raise CodecError(f"unknown extension {code}")
