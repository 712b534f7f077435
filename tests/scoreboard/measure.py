"""One scenario, measured: false signals of its quiet world, delays of its change, and the limit."""

from dataclasses import dataclass
from math import isfinite, nan

import numpy as np

from tests.scoreboard import limit
from tests.scoreboard.scenarios import Scenario
from tests.scoreboard.watch import Watcher


@dataclass(frozen=True, slots=True)
class Effort:
    """references: baselines drawn. runs: changes per baseline. quiet: events without a change per baseline."""

    references: int
    runs: int
    quiet: int
    warm: int = 600


FULL, QUICK = Effort(3, 2, 10_000), Effort(1, 2, 3_000, 300)


@dataclass(frozen=True, slots=True)
class Row:
    """delays: events from the change to the first signal of the right rule. wrong: runs whose first signal was another.

    early: runs thrown away because of a false signal before the change. signals: in `events` quiet events.
    """

    scenario: Scenario
    signals: int
    events: int
    delays: tuple[float, ...]
    runs: int
    wrong: int
    early: int
    limit: float

    @property
    def delay(self) -> float:
        """Mean over the runs that were found."""
        return float(np.mean(self.delays)) if self.delays else nan

    @property
    def error(self) -> float:
        """Standard error of the mean delay."""
        return float(np.std(self.delays, ddof=1) / len(self.delays) ** 0.5) if len(self.delays) > 1 else nan

    @property
    def multiple(self) -> float:
        """The mean delay over the limit."""
        return self.delay / self.limit if isfinite(self.limit) else nan

    @property
    def missed(self) -> int:
        """Runs without a signal of the right rule."""
        return self.runs - self.early - len(self.delays)


def measure(scenario: Scenario, effort: Effort, seed: int, quiet: bool = True) -> Row:
    """quiet: whether to run the world without its change as well."""
    rng = np.random.default_rng([seed, *scenario.name.encode()])
    signals = wrong = early = 0
    delays: list[float] = []
    for _ in range(effort.references):
        watcher = Watcher(scenario.setting, scenario.world(rng, scenario.baseline, scenario.baseline))
        if quiet:
            signals += sum(1 for _ in watcher.signals(scenario.world(rng, effort.quiet, effort.quiet)))
        for _ in range(effort.runs):
            found = _first(scenario, watcher, rng, effort.warm)
            early += found is None
            if found is not None:
                delay, other = found
                wrong += other
                delays += [delay] if isfinite(delay) else []
    limit_ = limit.delay(scenario.ratios, scenario.setting.between, seed) if scenario.ratios else nan
    events = effort.references * effort.quiet if quiet else 0
    return Row(
        scenario, signals, events, tuple(delays), effort.references * effort.runs, wrong, early, limit_
    )


def _first(
    scenario: Scenario, watcher: Watcher, rng: np.random.Generator, warm: int
) -> tuple[float, bool] | None:
    """(delay of the right rule or inf, whether another spoke first); None where a signal came before the change."""
    other = False
    for seen, rule in watcher.signals(scenario.world(rng, warm + scenario.longest, warm)):
        if seen <= warm:
            return None
        if rule == scenario.rule:
            return float(seen - warm), other
        other = True
    return float("inf"), other
