"""Scenarios measured: false signals of their quiet world, delays of their changes, and the limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np
from scipy import stats

from tests.bench.scoreboard import limit
from tests.bench.scoreboard.scenario import Scenario
from tests.bench.scoreboard.watch import Watcher


@dataclass(frozen=True, slots=True)
class Effort:
    """references: baselines drawn per scenario. runs: changes per baseline. quiet: events without one per baseline.

    short: rows of a second, shorter baseline watched over half as many quiet events (0: none).
    """

    references: int
    runs: int
    quiet: int
    short: int = 0
    warm: int = 300


FULL = Effort(10, 4, 10_000, short=2_000)
HALF = Effort(4, 5, 5_000, short=2_000)
QUICK = Effort(1, 2, 3_000)


@dataclass(frozen=True, slots=True)
class Part:
    """What one baseline gave. delays: to the first signal of the right rule, inf where there was none.

    wrong: runs in which another rule spoke first. early: runs thrown away because of a false signal before the change.
    signals: in `events` quiet events, and the same against the shorter baseline.
    """

    delays: tuple[float, ...]
    wrong: int = 0
    early: int = 0
    signals: int = 0
    events: int = 0
    short_signals: int = 0
    short_events: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A scenario, its parts by baseline, and the mean delay of the best possible test."""

    scenario: Scenario
    parts: Sequence[Part]
    limit: float

    @property
    def delays(self) -> list[float]:
        """Of the runs that were found."""
        return [delay for part in self.parts for delay in part.delays if isfinite(delay)]

    @property
    def delay(self) -> float:
        """Mean over the runs that were found."""
        return float(np.mean(self.delays)) if self.delays else nan

    @property
    def error(self) -> float:
        """Standard error of the mean delay; runs of one baseline are one draw."""
        means = [
            float(np.mean(found))
            for part in self.parts
            if (found := [delay for delay in part.delays if isfinite(delay)])
        ]
        return float(np.std(means, ddof=1) / len(means) ** 0.5) if len(means) > 1 else nan

    @property
    def multiple(self) -> float:
        """The mean delay over the limit."""
        return self.delay / self.limit if isfinite(self.limit) else nan

    @property
    def missed(self) -> int:
        """Runs without a signal of the right rule."""
        return sum(not isfinite(delay) for part in self.parts for delay in part.delays)

    @property
    def judged(self) -> int:
        """Runs that had no false signal before the change."""
        return sum(len(part.delays) for part in self.parts)

    def total(self, name: str) -> int:
        """Of a count over the parts."""
        return sum(int(getattr(part, name)) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Realised:
    """Time between false signals over its setting, with a 90 % interval (Garwood's, of a Poisson count)."""

    signals: int
    paid: float

    @property
    def ratio(self) -> float:
        return self.paid / self.signals if self.signals else float("inf")

    @property
    def interval(self) -> tuple[float, float]:
        low = stats.chi2.ppf(0.05, 2 * self.signals) / 2 if self.signals else 0.0
        high = stats.chi2.ppf(0.95, 2 * self.signals + 2) / 2
        return self.paid / high, self.paid / low if low else float("inf")


def groups(scenarios: Sequence[Scenario]) -> list[list[Scenario]]:
    """Scenarios that can share baselines: the same quiet world, watched in the same way."""
    found: dict[tuple[str, object], list[Scenario]] = {}
    for scenario in scenarios:
        found.setdefault((scenario.null or scenario.name, scenario.setting), []).append(scenario)
    return list(found.values())


def part_of(scenarios: Sequence[Scenario], effort: Effort, seed: int, reference: int) -> dict[str, Part]:
    """One baseline, and every scenario of its group against it."""
    first = scenarios[0]
    rng = np.random.default_rng([seed, reference, *first.name.encode()])
    watcher = Watcher(first.setting, first.world(rng, first.baseline, first.baseline))
    found = {}
    for scenario in scenarios:
        quiet = (0, 0, 0, 0)
        if not scenario.null:
            short = (
                Watcher(first.setting, first.world(rng, effort.short, effort.short)) if effort.short else None
            )
            quiet = (
                *_quiet(scenario, watcher, rng, effort.quiet),
                *_quiet(scenario, short, rng, effort.quiet // 2),
            )
        firsts = [_first(scenario, watcher, rng, effort.warm) for _ in range(effort.runs)]
        heard = [found for found in firsts if found is not None]
        wrong = sum(other for _, other in heard)
        delays = tuple(delay for delay, _ in heard)
        found[scenario.name] = Part(delays, wrong, effort.runs - len(heard), *quiet)
    return found


def limit_of(scenario: Scenario, seed: int) -> float:
    """Mean delay in events of the best possible test; NaN where none is known."""
    return limit.delay(scenario.ratios, scenario.setting.between, seed) if scenario.ratios else nan


def measure(scenario: Scenario, effort: Effort, seed: int) -> Row:
    """One scenario by itself, its quiet world included."""
    parts = [part_of([scenario], effort, seed, i)[scenario.name] for i in range(effort.references)]
    return Row(scenario, parts, limit_of(scenario, seed))


def _quiet(scenario: Scenario, watcher: Watcher | None, rng: np.random.Generator, n: int) -> tuple[int, int]:
    if watcher is None:
        return 0, 0
    return sum(1 for _ in watcher.signals(scenario.world(rng, n, n))), n


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
