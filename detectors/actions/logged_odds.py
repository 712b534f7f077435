"""Whether the logged propensities are the odds with which actions are really taken."""

import numpy as np

from detectors.arrays import F64
from detectors.inference.laws import normal_quantile
from detectors.inference.long_run_covariance import long_run_scores
from detectors.measurement import Measurement, unknown
from detectors.windows.count_divergence import MIN_BUCKETS
from detectors.windows.judged import judged

DETERMINISTIC = "the logged policy is deterministic"


class LoggedOdds:
    """Two checks that hold for any policy whose log is true, each at a two-sided level per look.

    `surprise`: -ln propensity less the logged entropy has mean 0 given the state, so its sum is a martingale: no
    baseline and no autocorrelation correction is needed. `mean_weight`: 1 / propensity averages to the number of
    actions on offer, the importance weight 1 of the uniform policy; compared with the baseline's own mean.
    """

    def __init__(self, detector: str, level: float, weights: F64, surprises: F64, window: float) -> None:
        """weights, surprises: (T, 3) count, sum and sum of squares per bucket of the baseline, T = 0 for none."""
        self._detector, self._depth = detector, float(normal_quantile(level / 2))
        self.weight_n, self._weight_mean, self._weight_variance = moments(weights.sum(axis=0))
        inside = weights[weights[:, 0] > 0]
        if len(inside) >= MIN_BUCKETS:
            scores = long_run_scores(inside[:, 1], inside[:, 0], window)
            self._weight_variance = max(self._weight_variance, float((scores**2).mean()))
        self.surprise_n, _, self._surprise_variance = moments(surprises.sum(axis=0))

    def surprise(self, three: F64, why: str) -> Measurement:
        """|mean| of -ln propensity - entropy in nats, from count, sum and sum of squares; why: not to be judged."""
        n, mean, variance = moments(three)
        variance = max(variance, self._surprise_variance)
        if why or variance <= 0:
            return unknown(self._detector, "surprise", n, why or DETERMINISTIC)
        error = float(np.sqrt(variance / n))
        line = self._depth * error
        reason = f"actions {mean:+.3g} nats more surprising than their logged odds over {n}, line {line:.3g}"
        return judged(self._detector, "surprise", abs(mean), 0.0, line, error, n, reason)

    def mean_weight(self, three: F64, support: int, why: str) -> Measurement:
        """Mean of 1 / propensity over `support` actions, from count, sum and sum of squares."""
        n, mean, variance = moments(three)
        if why or not self.weight_n:
            return unknown(self._detector, "mean_weight", n, why or "the baseline holds no propensities")
        usual = self._weight_mean / support
        spread = max(variance, self._weight_variance, (1e-3 * self._weight_mean) ** 2)
        error = float(np.sqrt(spread * (1 / n + 1 / self.weight_n))) / support
        value = mean / support
        line = usual + float(np.copysign(self._depth * error, value - usual))
        reason = (
            f"mean weight of the uniform policy {value:.3g} over {n}, baseline {usual:.3g}, line {line:.3g}"
        )
        return judged(self._detector, "mean_weight", value, usual, line, error, n, reason)


def three_sums(values: F64) -> F64:
    """(3,) count, sum and sum of squares of the finite values."""
    finite = values[np.isfinite(values)]
    return np.array([len(finite), finite.sum(), (finite**2).sum()])


def moments(three: F64) -> tuple[int, float, float]:
    """Count, mean and variance from count, sum and sum of squares."""
    n = max(float(three[0]), 1.0)
    mean = float(three[1]) / n
    return int(three[0]), mean, max(float(three[2]) / n - mean**2, 0.0)
