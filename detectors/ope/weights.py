"""What importance weights tell about how far an estimate can be trusted."""

from dataclasses import dataclass

import numpy as np

from detectors.ope.columns import Floats
from detectors.ope.pareto import tail_shape

LARGEST = 512


@dataclass(frozen=True, slots=True)
class Weights:
    """Sums over weights, and the LARGEST of them: enough for every diagnostic, whatever their number.

    total, squares: sums of w and w^2. zeros: decisions the candidate would never make. largest: descending.
    """

    n: float
    total: float
    squares: float
    zeros: float
    largest: Floats

    def __add__(self, other: "Weights") -> "Weights":
        largest = np.sort(np.concatenate([self.largest, other.largest]))[::-1][:LARGEST]
        return Weights(
            self.n + other.n,
            self.total + other.total,
            self.squares + other.squares,
            self.zeros + other.zeros,
            largest,
        )

    @property
    def ess(self) -> float:
        """Effective sample size (sum w)^2 / sum w^2 (Kish 1965; Kong 1992)."""
        return self.total * self.total / self.squares if self.squares > 0 else 0.0

    @property
    def mean(self) -> float:
        return self.total / self.n if self.n else float("nan")

    @property
    def largest_share(self) -> float:
        """The largest weight's part of the sum of all."""
        return self.max / self.total if self.total > 0 else 0.0

    @property
    def max(self) -> float:
        return float(self.largest[0]) if len(self.largest) else 0.0

    @property
    def mean_error(self) -> float:
        """Standard error of the mean weight, decisions taken as independent."""
        if self.n < 2:
            return float("nan")
        return float(np.sqrt(max(self.squares / self.n - self.mean * self.mean, 0.0) / (self.n - 1)))

    @property
    def mean_z(self) -> float:
        """(mean - 1) / its standard error: weights under full support and true propensities have mean 1."""
        gap, error = self.mean - 1.0, self.mean_error
        if abs(gap) <= 1e-9:
            return 0.0
        return gap / error if error > 0 else float(np.copysign(np.inf, gap))

    @property
    def tail(self) -> float:
        """Pareto shape of the largest weights: above .7 a mean is not to be trusted (Vehtari et al. 2024).

        nan where the largest weights repeat: the end of such a tail has been seen, and no smooth law fits it.
        """
        size = int(min(0.2 * self.n, 3 * np.sqrt(self.n), len(self.largest) - 1))
        if size < 5 or len(np.unique(self.largest[:size])) < size / 2:
            return float("nan")
        return tail_shape(self.largest[:size] - self.largest[size])


def weights_of(weight: Floats) -> Weights:
    """weight (n,)."""
    few = weight if len(weight) <= LARGEST else np.partition(weight, -LARGEST)[-LARGEST:]
    return Weights(
        float(len(weight)),
        float(weight.sum()),
        float(weight @ weight),
        float(np.count_nonzero(weight == 0)),
        np.sort(few)[::-1],
    )
