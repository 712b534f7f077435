"""What a sender is: accepts or passes on a signal, and makes one attempt at a time to deliver it."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from alerts.outbox import OutboxEntry, Outcome
from alerts.signal import Kind, Signal

PAGER_KINDS: frozenset[Kind] = frozenset({"fallback", "rollback", "hold", "page"})
"""What wakes a person by default."""

ALL_KINDS: frozenset[Kind] = PAGER_KINDS | {"promote", "retrain"}


class ReceiverConfigError(ValueError):
    """A receiver that cannot work as configured; found when it is built, not when it is needed."""


class Sender(Protocol):
    """One receiver; `send` makes one attempt, blocks for a bounded time, raises for no expected trouble."""

    @property
    def name(self) -> str: ...

    def accepts(self, signal: Signal) -> bool: ...

    def send(self, entry: OutboxEntry, now_s: float) -> Outcome: ...


@runtime_checkable
class Refreshing(Protocol):
    """A receiver that forgets an alert unless it is told again.

    resume: before its thread begins, what fired when the daemon went away. keep: from any thread, what fires still.
    """

    def refresh_due(self, now_ms: int) -> int | None: ...

    def refresh(self, now_s: float) -> Outcome: ...

    def resume(self, signals: Iterable[Signal], now_ms: int) -> None: ...

    def keep(self, alert_keys: Collection[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class EnvironmentSecret:
    """A secret in an environment variable; `str` names the variable, never the secret."""

    name: str

    def __str__(self) -> str:
        return f"${{{self.name}}}"


Secret = Path | EnvironmentSecret


def secrets_in(source: Secret) -> tuple[str, ...]:
    """The secrets of a source, one a line, newest first; read at every use: a rotation needs no restart."""
    text = source.read_text(encoding="utf-8") if isinstance(source, Path) else os.environ.get(source.name, "")
    lines = (line.strip() for line in text.splitlines())
    secrets = tuple(line for line in lines if line and not line.startswith("#"))
    if not secrets:
        raise ReceiverConfigError(f"no secret in {source}")
    return secrets
