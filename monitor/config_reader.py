"""Reads one table of the config, collecting every fault with its path instead of stopping at the first."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from alerts.senders.sender import EnvironmentSecret, ReceiverConfigError, Secret, secrets_in
from monitor.durations import duration_ms, rate_per_day, size_bytes

T = TypeVar("T")
_ENV = re.compile(r"^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$")


class ConfigError(Exception):
    """A config that cannot be used; `faults` lists every reason, each with its path."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(self.faults))


@dataclass(slots=True)
class Section:
    """One table: ask for its keys by type, then `close` it so that unknown keys are refused."""

    table: dict[str, Any]
    path: str
    faults: list[str]
    asked: set[str] = field(default_factory=set)

    def at(self, key: str) -> str:
        """The dotted path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def fault(self, key: str, message: str) -> None:
        """Note a fault of a key."""
        self.faults.append(f"{self.at(key)}: {message}")

    def _value(self, key: str, kind: type | tuple[type, ...], name: str, default: T) -> T | Any:
        self.asked.add(key)
        value = self.table.get(key)
        if value is None:
            return default
        if not _is_a(value, kind):
            self.fault(key, f"expected {name}, found {type(value).__name__}")
            return default
        return value

    def text(self, key: str, default: str = "", required: bool = False) -> str:
        """A string."""
        if required and key not in self.table:
            self.fault(key, "is missing")
        return str(self._value(key, str, "a string", default))

    def number(
        self, key: str, default: float, least: float = float("-inf"), most: float = float("inf")
    ) -> float:
        """A finite number within bounds."""
        value = float(self._value(key, (int, float), "a number", default))
        if key in self.table and not isfinite(value):
            self.fault(key, f"{value:g} is not a finite number")
            return default
        if not least <= value <= most:
            self.fault(key, f"{value:g} is outside {least:g}..{most:g}")
            return default
        return value

    def integer(self, key: str, default: int, least: int = 0, most: int = 2**53) -> int:
        """An integer within bounds."""
        value = int(self._value(key, int, "an integer", default))
        if not least <= value <= most:
            self.fault(key, f"{value} is outside {least}..{most}")
            return default
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        return bool(self._value(key, bool, "true or false", default))

    def choice(self, key: str, options: Sequence[str], default: str) -> str:
        """One of a closed set of words."""
        value = self.text(key, default)
        if value not in options:
            self.fault(key, f"{value!r} is not one of {', '.join(options)}")
            return default
        return value

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of finite numbers."""
        value: list[Any] = self._value(key, list, "a list of numbers", [])
        if not all(_is_a(item, (int, float)) and isfinite(item) for item in value):
            self.fault(key, "expected a list of numbers")
            return ()
        return tuple(map(float, value))

    def labels(self, key: str) -> tuple[str, ...]:
        """A list of strings or integers, as text."""
        value: list[Any] = self._value(key, list, "a list of integers or strings", [])
        if not all(_is_a(item, (int, str)) for item in value):
            self.fault(key, "expected a list of integers or strings")
            return ()
        return tuple(map(str, value))

    def texts(self, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of strings."""
        value = self._value(key, list, "a list of strings", list(default))
        if not all(isinstance(item, str) for item in value):
            self.fault(key, "expected a list of strings")
            return tuple(default)
        return tuple(value)

    def duration(self, key: str, default: int) -> int:
        """A duration in milliseconds."""
        return self._parsed(key, duration_ms, default)

    def limit(self, key: str, default: int) -> int:
        """A duration in milliseconds, or 0 for `off`."""
        if self.table.get(key) == "off":
            self.asked.add(key)
            return 0
        return self.duration(key, default)

    def size(self, key: str, default: int) -> int:
        """A size in bytes."""
        return self._parsed(key, size_bytes, default)

    def rate(self, key: str, default: float) -> float:
        """A rate such as `1 per 30d`, per day."""
        return self._parsed(key, rate_per_day, default)

    def _parsed(self, key: str, parse: Callable[[str], T], default: T) -> T:
        text = self.text(key)
        if not isinstance(self.table.get(key), str):
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.fault(key, str(error))
            return default

    def secret(self, key: str, required: bool = False) -> Secret | None:
        """Where a secret is: `<key>_file` or `${ENV}` in `<key>`; never in the config itself."""
        inline, path = self.text(key), self.text(f"{key}_file")
        match = _ENV.match(inline)
        source: Secret | None = Path(path) if path else EnvironmentSecret(match[1]) if match else None
        if inline and match is None:
            self.fault(key, "a secret is read from ${ENV} or from a file, never from the config itself")
        elif source is None and required:
            self.fault(key, f'is missing: set {key}_file, or {key} = "${{ENV}}"')
        elif source is not None:
            self._check_secret(f"{key}_file" if path else key, source)
        return source

    def _check_secret(self, key: str, source: Secret) -> None:
        try:
            secrets_in(source)
        except OSError as error:
            self.fault(key, f"cannot read {source}: {error.strerror}")
        except ReceiverConfigError as error:
            self.fault(key, str(error))

    def section(self, key: str) -> "Section":
        """A nested table, empty when absent."""
        self.asked.add(key)
        return self._nested(key, self.table.get(key, {}))

    def sections(self, key: str) -> dict[str, "Section"]:
        """A table of tables by name."""
        table: dict[str, Any] = self._value(key, dict, "a table", {})
        return {name: self._nested(f"{key}.{name}", value) for name, value in table.items()}

    def array(self, key: str) -> list["Section"]:
        """An array of tables."""
        return [
            self._nested(f"{key}[{i}]", value)
            for i, value in enumerate(self._value(key, list, "an array", []))
        ]

    def _nested(self, key: str, value: Any) -> "Section":
        if isinstance(value, dict):
            return Section(value, self.at(key), self.faults)
        self.fault(key, f"expected a table, found {type(value).__name__}")
        return Section({}, self.at(key), [])  # what it lacks is no fault of its own

    def close(self) -> None:
        """Refuse every key that nobody asked for."""
        for key in sorted(set(self.table) - self.asked):
            near = [name for name in sorted(self.asked) if name[:3] == key[:3]]
            hint = f" (did you mean {near[0]}?)" if near else ""
            self.fault(key, f"unknown key{hint}")


def _is_a(value: Any, kind: type | tuple[type, ...]) -> bool:
    """Whether TOML gave this type; true and false are no numbers."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
