"""A floor under the standard error: what it would be if rewards fell on large weights as on small ones."""

from dataclasses import dataclass

import numpy as np

from detectors.ope.columns import Floats
from detectors.ope.functional import standard_error
from detectors.ope.totals import Totals


@dataclass(frozen=True, slots=True)
class Spread:
    """Sums (7,) of 1, w, w^2, e, e^2, w e, w e^2 over decisions: weights w and what they multiply, e."""

    sums: Floats

    def __add__(self, other: "Spread") -> "Spread":
        return Spread(self.sums + other.sums)


def spread_of(weight: Floats, residual: Floats) -> Spread:
    """weight (n,), residual (n,)."""
    weighted = weight * residual
    return Spread(
        np.array(
            [
                len(weight),
                weight.sum(),
                weight @ weight,
                residual.sum(),
                residual @ residual,
                weighted.sum(),
                weighted @ residual,
            ],
            dtype=np.float64,
        )
    )


def stretch(totals: Totals, spread: Spread) -> float:
    """The factor (at least 1) by which an interval is widened to respect the floor.

    Where rewards are rare, the few that exist need not have met a large weight yet, and every interval that
    looks at w e alone is too short: it covered 90 % instead of 95 % (tests/coverage). Weights
    themselves are seen on every decision, so with e taken as independent of w the variance is
    E[w^2] E[e^2], with E[e^2] as logged or as weighted, whichever is larger. A ratio centres e at its value.
    Where rows are steps of an episode, the w^2 of an episode add up, as for errors without memory.
    """
    n, w, w2, e, e2, we, we2 = (float(x) for x in spread.sums)
    error = standard_error(totals)
    if not n or not w > 0 or not error > 0:
        return 1.0
    centre = we / w if totals.total.shape[1] > 1 else 0.0
    logged = e2 / n - 2 * centre * e / n + centre**2
    weighted = (we2 - 2 * centre * we + centre**2 * w) / w
    return max(1.0, float(np.sqrt(w2 * max(logged, weighted, 0.0))) / totals.n / error)
