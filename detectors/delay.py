"""How long rewards take and what the early ones are worth: the curve that makes unlike ages comparable.

A decision of age a shows its reward only if it took no longer than a. The reduced-sample estimator (Kaplan &
Meier, JASA 1958, section 3.1) reads the share of each delay bin off those buckets that were old enough to show it.
"""

from dataclasses import dataclass

import numpy as np

from detectors.arrays import F64, I64

BINS = 64
_DECADES = 6.0
_POINTS = 16  # quadrature points over the decisions of one bucket


def delay_edges_ms(horizon_ms: int) -> F64:
    """(BINS,) upper edges, spaced evenly in the logarithm from a millionth of the horizon (at least 1 ms) to it."""
    first = max(horizon_ms * 10.0**-_DECADES, 1.0)
    return np.geomspace(first, max(float(horizon_ms), first + 1), BINS)


def delay_bins(edges_ms: F64, delay_ms: I64) -> I64:
    """(n,) the bin of each delay; what took longer than the horizon counts as the horizon."""
    return np.minimum(np.searchsorted(edges_ms, delay_ms, side="left"), len(edges_ms) - 1).astype(np.int64)


@dataclass(frozen=True, slots=True)
class DelayCurve:
    """share: (bins,) F, part of the decisions rewarded by each edge. reward: (bins,) G, reward per decision by it."""

    edges_ms: F64
    share: F64
    reward: F64

    def over_bucket(self, youngest_ms: F64, bucket_ms: int) -> tuple[F64, F64]:
        """(b,) F and G of decisions spread evenly over ages [youngest, youngest + bucket)."""
        offsets = (np.arange(_POINTS) + 0.5) / _POINTS * bucket_ms
        ages = youngest_ms[:, None] + offsets[None, :]
        return self._at(self.share, ages).mean(axis=1), self._at(self.reward, ages).mean(axis=1)

    def mean(self) -> float:
        """Mean of all rewards that come by the horizon; NaN where none does."""
        return float(self.reward[-1] / self.share[-1]) if self.share[-1] > 0 else float("nan")

    def _at(self, curve: F64, ages_ms: F64) -> F64:
        result: F64 = np.interp(
            ages_ms, np.concatenate([[0.0], self.edges_ms]), np.concatenate([[0.0], curve])
        )
        return result


def delay_curve(edges_ms: F64, decisions: F64, arrivals: F64, sums: F64, youngest_ms: F64) -> DelayCurve:
    """The curve of a series: (b,) decisions, (b, bins) arrivals and reward sums per delay bin, (b,) ages.

    A bin that no bucket was old enough to show adds nothing.
    """
    seen = youngest_ms[:, None] >= edges_ms[None, :]
    at_risk = np.maximum((decisions[:, None] * seen).sum(axis=0), 1e-300)
    share = np.cumsum((arrivals * seen).sum(axis=0) / at_risk)
    reward = np.cumsum((sums * seen).sum(axis=0) / at_risk)
    return DelayCurve(edges_ms, np.minimum(share, 1.0), reward)
