"""Simulated time, and the moments at which the power may fail."""

import random
from dataclasses import dataclass, field

from tests.integration.traffic import START_MS


class PowerCut(BaseException):
    """The process is gone. Not an Exception: nothing in the product may catch it."""


@dataclass
class World:
    """ms: true time. skew_ms: how wrong the daemon's wall clock is. cut_in: moments until the process dies."""

    rng: random.Random
    ms: float = float(START_MS)
    skew_ms: int = 0
    cut_in: int | None = None
    dead: bool = False
    moments: int = 0
    booted_ms: float = START_MS - 86_400_000.0
    history: list[str] = field(default_factory=list)

    def moment(self) -> None:
        """Something outside is touched: a clock, the broker, the disk, a receiver."""
        self.moments += 1
        if self.dead:
            raise PowerCut
        if self.cut_in is not None:
            self.cut_in -= 1
            if self.cut_in <= 0:
                self.dead, self.cut_in = True, None
                raise PowerCut

    def now_ms(self) -> int:
        """The daemon's wall clock."""
        self.moment()
        return int(self.ms) + self.skew_ms

    def elapsed_ms(self) -> float:
        """The daemon's other clock: never set, and every look takes a little while."""
        self.moment()
        self.ms += 0.02
        return self.ms - self.booted_ms

    @property
    def boot(self) -> str:
        """Which start of the machine this is."""
        return str(self.booted_ms)

    def start_again(self) -> None:
        """The power is back."""
        self.booted_ms = self.ms - 1_000

    def note(self, text: str) -> None:
        """A line of the history that a failing seed is printed with."""
        self.history.append(f"{(self.ms - START_MS) / 1000:8.3f} s  {text}")
