"""All that is remembered of a log about one candidate: sums that add up, of bounded size."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from detectors.ope import totals
from detectors.ope.bandit.estimator import Statistic
from detectors.ope.calibration import Calibration
from detectors.ope.columns import Floats
from detectors.ope.intervals import clipped_sums, confidence_sequence
from detectors.ope.intervals.clipped_sums import ClippedSums
from detectors.ope.intervals.confidence_sequence import Wealth
from detectors.ope.options import Options
from detectors.ope.totals import Totals
from detectors.ope.weights import Weights, weights_of


@dataclass(frozen=True, slots=True)
class Evidence:
    """Sums over rows, which are decisions of a bandit or whole episodes.

    seen: rows, usable or not. statistics: by estimator. enclosing: (lower, upper) terms of biased ones.
    reward: the incumbent's own mean. costs: SNIPS of each cost.
    clipped, wealth, difference (to the incumbent): for the bounds that need the range of rewards, None
    without it. independent: no row shared its unit, as far as was told.
    """

    seen: int
    statistics: Mapping[str, Statistic]
    enclosing: Mapping[str, tuple[Totals, Totals]]
    reward: Totals
    costs: Mapping[str, Statistic]
    weights: Weights
    calibration: Calibration
    clipped: ClippedSums | None
    wealth: Wealth | None
    difference: Wealth | None
    independent: bool = True

    def __add__(self, other: "Evidence") -> "Evidence":
        if not self.weights.n or not other.weights.n:
            rich = self if self.weights.n else other
            return replace(
                rich, seen=self.seen + other.seen, independent=self.independent and other.independent
            )
        statistics, enclosing = self.statistics, self.enclosing
        return Evidence(
            self.seen + other.seen,
            _shared(statistics, other.statistics),
            {
                name: (ends[0] + other.enclosing[name][0], ends[1] + other.enclosing[name][1])
                for name, ends in enclosing.items()
                if name in other.enclosing
            },
            self.reward + other.reward,
            _shared(self.costs, other.costs),
            self.weights + other.weights,
            self.calibration + other.calibration,
            self.clipped + other.clipped if self.clipped and other.clipped else None,
            self.wealth + other.wealth if self.wealth and other.wealth else None,
            self.difference + other.difference if self.difference and other.difference else None,
            self.independent and other.independent,
        )

    @property
    def n(self) -> int:
        """Usable rows."""
        return int(self.weights.n)


def start(options: Options) -> Evidence:
    """Nothing seen yet."""
    nothing = np.zeros(0)
    ranged = options.reward_range is not None
    return Evidence(
        0,
        {},
        {},
        totals.empty(1),
        {},
        weights_of(nothing),
        Calibration(0.0, nothing, nothing),
        clipped_sums.empty() if ranged else None,
        confidence_sequence.start(options.delta) if ranged else None,
        confidence_sequence.start(options.delta) if ranged else None,
    )


def with_bounds(
    merged: Evidence, before: Evidence, weight: Floats, reward: Floats, options: Options
) -> Evidence:
    """The merged evidence with the sums behind finite-sample bounds that `before` had, after these rows.

    Bets continue on their own past instead of starting anew with every part.
    """
    if options.reward_range is None or not before.clipped or not before.wealth or not before.difference:
        return replace(merged, clipped=None, wealth=None, difference=None)
    low, high = options.reward_range
    x = np.clip((reward - low) / (high - low), 0.0, 1.0) if high > low else np.zeros_like(reward)
    return replace(
        merged,
        clipped=before.clipped + clipped_sums.clipped_sums(weight, x),
        wealth=before.wealth.observe(confidence_sequence.value_gains(weight, x)),
        difference=before.difference.observe(confidence_sequence.difference_gains(weight, x)),
    )


def _shared(mine: Mapping[str, Statistic], theirs: Mapping[str, Statistic]) -> dict[str, Statistic]:
    """Only what both parts have: a sum over some of the rows would pass for one over all."""
    return {name: statistic + theirs[name] for name, statistic in mine.items() if name in theirs}
