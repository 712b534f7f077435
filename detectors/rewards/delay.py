"""How long rewards take and what the early ones are worth: the curve that makes unlike ages comparable.

A decision of age a shows its reward only if it took no longer than a. The reduced-sample estimator (Kaplan &
Meier, JASA 1958, section 3.1) reads the share of each delay bin off those buckets that were old enough to show it.
"""

from dataclasses import dataclass

import numpy as np

from detectors.arrays import F64, I64

BINS = 96
_DECADES = 6.0


def delay_edges_ms(horizon_ms: int) -> F64:
    """(BINS,) upper edges, spaced evenly in the logarithm from a millionth of the horizon (at least 1 ms) to it."""
    first = max(horizon_ms * 10.0**-_DECADES, 1.0)
    return np.geomspace(first, max(float(horizon_ms), first + 1), BINS)


def delay_bins(edges_ms: F64, delay_ms: I64) -> I64:
    """(n,) the bin of each delay; what took longer than the horizon counts as the horizon."""
    return np.minimum(np.searchsorted(edges_ms, delay_ms, side="left"), len(edges_ms) - 1).astype(np.int64)


def bins_seen(edges_ms: F64, youngest_ms: F64, bucket_ms: int) -> I64:
    """(b,) how many delay bins every decision of a bucket has passed: later arrivals of it are not yet comparable.

    A fiftieth of the bucket is forgiven, so that instant rewards count at once.
    """
    age = np.maximum(youngest_ms, bucket_ms / 50)
    return np.searchsorted(edges_ms, age, side="right").astype(np.int64)


def within(histogram: F64, seen: I64) -> F64:
    """(b,) sum of the first `seen` bins of each row of (b, bins)."""
    last = np.cumsum(histogram, axis=1)[np.arange(len(histogram)), seen - 1]
    return np.where(seen > 0, last, 0.0)


@dataclass(frozen=True, slots=True)
class DelayCurve:
    """share: (bins,) F, part of the decisions rewarded by each edge. reward: (bins,) G, reward per decision by it."""

    edges_ms: F64
    share: F64
    reward: F64

    def after(self, seen: I64) -> tuple[F64, F64]:
        """(b,) F and G after this many bins."""
        return np.concatenate([[0.0], self.share])[seen], np.concatenate([[0.0], self.reward])[seen]

    def mean(self) -> float:
        """Mean of all rewards that come by the horizon; NaN where none does."""
        return float(self.reward[-1] / self.share[-1]) if self.share[-1] > 0 else float("nan")


def delay_curve(edges_ms: F64, decisions: F64, arrivals: F64, sums: F64, youngest_ms: F64) -> DelayCurve:
    """The curve of a series: (b,) decisions, (b, bins) arrivals and reward sums per delay bin, (b,) ages.

    A bin that no bucket was old enough to show adds nothing.
    """
    seen = youngest_ms[:, None] >= edges_ms[None, :]
    at_risk = np.maximum((decisions[:, None] * seen).sum(axis=0), 1e-300)
    share = np.cumsum((arrivals * seen).sum(axis=0) / at_risk)
    reward = np.cumsum((sums * seen).sum(axis=0) / at_risk)
    return DelayCurve(edges_ms, np.minimum(share, 1.0), reward)
