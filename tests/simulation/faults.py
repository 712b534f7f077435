"""What goes wrong, as data: a seed gives a schedule."""

import random
from dataclasses import dataclass

TROUBLES = ("500", "503", "429", "410", "timeout", "refused", "dropped")


@dataclass(frozen=True)
class Fault:
    """what: begins `at_ms` after the start, lasts `for_ms`. number: moments to a death, milliseconds, or a receiver."""

    what: str
    at_ms: float
    for_ms: float = 0.0
    number: int = 0


def schedule(seed: int, length_ms: float) -> list[Fault]:
    """The faults of a seed: a few of some kinds, as real bad days are, not a few of all."""
    rng = random.Random(f"faults {seed}")
    kinds = rng.sample(sorted(_MAKE), rng.randint(1, 4))
    return sorted(
        (_MAKE[rng.choice(kinds)](rng, _moment(rng, length_ms)) for _ in range(rng.randint(1, 7))),
        key=lambda fault: fault.at_ms,
    )


def _moment(rng: random.Random, length_ms: float) -> float:
    """Anywhere, and now and then at the very beginning, when hardly anything is known."""
    return rng.uniform(0, length_ms if rng.random() < 0.9 else 50)


def _death(what: str, rng: random.Random, at_ms: float) -> Fault:
    return Fault(what, at_ms, 0.0, int(10 ** rng.uniform(0, 2.7)))


def _clock(rng: random.Random, at_ms: float) -> Fault:
    return Fault(
        "clock", at_ms, rng.uniform(500, 8_000), rng.choice((-3_600_000, -90_000, -2_000, 3_600_000, 120_000))
    )


def _trouble(rng: random.Random, at_ms: float) -> Fault:
    long_ms = rng.choice((500, 5_000, 70_000, 600_000))
    return Fault(rng.choice(TROUBLES), at_ms, rng.uniform(0, long_ms), rng.randrange(2))


_MAKE = {
    "kill": lambda rng, at_ms: _death("kill", rng, at_ms),
    "power": lambda rng, at_ms: _death("power", rng, at_ms),
    "damage": lambda rng, at_ms: _death("damage", rng, at_ms),
    "zombie": lambda rng, at_ms: Fault("zombie", at_ms),
    "pause": lambda rng, at_ms: Fault("pause", at_ms, 0.0, rng.choice((300, 3_000, 60_000, 600_000))),
    "clock": _clock,
    "away": lambda rng, at_ms: Fault("away", at_ms, rng.choice((300, 4_000, 40_000))),
    "rebalance": lambda rng, at_ms: Fault("rebalance", at_ms, rng.choice((100, 3_000, 20_000))),
    "full": lambda rng, at_ms: Fault("full", at_ms, rng.choice((50, 2_000, 15_000))),
    "fsync": lambda rng, at_ms: Fault("fsync", at_ms, rng.choice((50, 2_000, 15_000))),
    "trouble": _trouble,
}
