"""A named world: what is quiet, what changes, which rule must say so, and how soon."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.scoreboard.events import World
from tests.bench.scoreboard.limit import Ratios
from tests.bench.scoreboard.watch import Setting

BETWEEN = 10_000.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """rule: the cause that must be named. goal: the delay as a multiple of the limit. baseline: events in it.

    band: realised over set time between false signals that the issue asks for, (0, inf) where it asks for none.
    """

    name: str
    world: World
    setting: Setting
    rule: str
    goal: float = float("nan")
    ratios: Sequence[Ratios] = ()
    baseline: int = 5_000
    longest: int = 6_000
    band: tuple[float, float] = (0.8, float("inf"))
    null: str = ""  # scenarios with the same quiet world are quiet together: measured once


def setting_of(
    rule: str,
    per_bucket: int,
    window: int = 1_000,
    horizon: int = 0,
    rules: tuple[str, ...] = (),
    costs: tuple[str, ...] = (),
) -> Setting:
    return Setting(per_bucket, window, horizon, rules or (rule,), BETWEEN, costs)
