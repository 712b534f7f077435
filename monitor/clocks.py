"""The clocks of one life of the daemon: the wall's, which anybody may set, and a steady one, which nobody can."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the former counts sleep; Linux only


class Clock(Protocol):
    """Wall time; and elapsed time, which is never set and counts from anywhere."""

    def now_ms(self) -> int: ...

    def elapsed_ms(self) -> float: ...


class Machine(Clock, Protocol):
    """boot: names the start of the machine from which its elapsed time counts."""

    @property
    def boot(self) -> str: ...


class SteadyClock(Clock, Protocol):
    """Also steady time, by which what waits is timed."""

    def steady_ms(self) -> int: ...

    def landmark(self) -> "Landmark": ...


class RealClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Wall time."""
        return time.time_ns() // 1_000_000

    def elapsed_ms(self) -> float:
        """Never goes back, and counts while the machine sleeps."""
        return time.clock_gettime(_SINCE_BOOT) * 1000

    @property
    def boot(self) -> str:
        """Which start of the machine this is; "" where it does not say."""
        with suppress(OSError):
            return BOOT_ID.read_text().strip()
        return ""


@dataclass(frozen=True, slots=True)
class Landmark:
    """Where all clocks stood at a save; kept in the state, so that the next life goes on from it."""

    steady_ms: int
    wall_ms: int
    elapsed_ms: int
    boot: str

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """From what a checkpoint holds."""
        return cls(**state)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return asdict(self)

    def away_ms(self, wall_ms: int, elapsed_ms: int, boot: str) -> int:
        """How long nobody was there. On another start of the machine only its wall clock can tell."""
        if boot and boot == self.boot and elapsed_ms >= self.elapsed_ms:
            return elapsed_ms - self.elapsed_ms
        return max(0, wall_ms - self.wall_ms)


class Clocks:
    """A machine's clocks, and steady time: the wall's when the state began, and all that has passed since.

    What waits is timed by it, so that a wall clock that is set ends nothing early and nothing late.
    """

    def __init__(self, machine: Machine, kept: Landmark | None = None) -> None:
        self._machine, self._boot = machine, machine.boot
        wall_ms, elapsed_ms = machine.now_ms(), int(machine.elapsed_ms())
        kept = kept or Landmark(wall_ms, wall_ms, elapsed_ms, self._boot)
        away_ms = kept.away_ms(wall_ms, elapsed_ms, self._boot)
        self._ahead_ms = kept.steady_ms + away_ms - elapsed_ms
        self.away_ms = max(away_ms, wall_ms - kept.wall_ms)
        """The time since the save before, by whichever clock saw more of it."""

    def now_ms(self) -> int:
        """Wall time."""
        return self._machine.now_ms()

    def elapsed_ms(self) -> float:
        """Never goes back; counts from anywhere."""
        return self._machine.elapsed_ms()

    def steady_ms(self) -> int:
        """Steady time."""
        return int(self._machine.elapsed_ms()) + self._ahead_ms

    def landmark(self) -> Landmark:
        """Where they stand."""
        elapsed_ms = int(self._machine.elapsed_ms())
        return Landmark(elapsed_ms + self._ahead_ms, self._machine.now_ms(), elapsed_ms, self._boot)
