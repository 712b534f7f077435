"""Slow changes of a mean, by river's ADWIN and Page-Hinkley on the series of its buckets.

Bifet & Gavalda, "Learning from time-changing data with adaptive windowing", SDM 2007; Page, Biometrika 1954.
The whole state is the values since the last epoch began: live or restored, the detectors are what replaying those
values makes of them.
"""

from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from math import ceil, exp, isfinite
from typing import Any, TypeVar

import numpy as np
from scipy import optimize

from detectors.arrays import F64

T = TypeVar("T", float, F64)
MAX_EPOCH = 1024  # values; then the newer half begins a new epoch
_CLIP = 4.0  # standard deviations: one outlier is no change
DRIFT = 0.25  # standard deviations per value that Page-Hinkley tolerates
_FEWEST_VALUES = 30
_RARE = 1e-12


class Change(StrEnum):
    """What one update found."""

    NONE = "none"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Scale:
    """How a series of bucket means is standardised: mean, long-run standard deviation of one bucket's mean, lag-1
    autocorrelation (values are pooled until they are nearly independent), rows in a bucket that has this deviation.
    """

    mean: float
    sd: float
    rho: float = 0.0
    rows: float = 0.0

    def weighed(self, mean: T, n: float) -> T:
        """A bucket's mean, drawn towards the centre where fewer rows than usual made it: a small canary is no change.

        By the square root of their ratio, which is exact for independent rows and cautious for dependent ones.
        """
        return self.mean + (mean - self.mean) * min(1.0, (n / self.rows) ** 0.5) if self.rows > 0 else mean

    @property
    def pool(self) -> int:
        """Successive values that become one: the time in which an AR(1) forgets nine tenths, twice."""
        return 1 if self.rho < 0.05 else ceil(2 * np.log(0.1) / np.log(min(self.rho, 0.97)))


@dataclass(frozen=True, slots=True)
class Finding:
    """adwin, page_hinkley: the direction each found at this value. since: values from the epoch's start to here."""

    adwin: Change
    page_hinkley: Change
    since: int


class ChangePoints:
    """Both detectors over one series; a finding begins a new epoch."""

    def __init__(self, scale: Scale, false_per_value: float, history: F64 | None = None) -> None:
        """false_per_value: budget of false findings per value of the series, both detectors and directions."""
        self._scale = scale
        per_pooled = max(false_per_value * scale.pool, _RARE)
        self._adwin_delta = min(per_pooled / 2, 0.002)
        self._threshold = page_hinkley_threshold(per_pooled / 4)
        self._drift = library()
        self._begin([] if history is None else [float(value) for value in history][-MAX_EPOCH:])

    def update(self, value: float) -> Finding:
        """Takes the mean of the next bucket; a value that is not finite is passed over."""
        if not isfinite(value):
            return Finding(Change.NONE, Change.NONE, len(self._history))
        finding = self._feed(value)
        if finding.adwin is not Change.NONE or finding.page_hinkley is not Change.NONE:
            self._begin([])
        elif len(self._history) >= MAX_EPOCH:
            self._begin(self._history[-MAX_EPOCH // 2 :])
        return finding

    def state(self) -> F64:
        """(n,) values since the epoch began, n < MAX_EPOCH; `ChangePoints(..., history=state)` has the same future."""
        return np.array(self._history)

    def _begin(self, values: list[float]) -> None:
        self._history: list[float] = []
        self._pooled: list[float] = []
        self._adwin: Any = self._drift.ADWIN(delta=self._adwin_delta, clock=1)
        self._up = self._page_hinkley("up")
        self._down = self._page_hinkley("down")
        for value in values:
            self._feed(value)

    def _page_hinkley(self, mode: str) -> Any:
        return self._drift.PageHinkley(
            min_instances=_FEWEST_VALUES, delta=DRIFT, threshold=self._threshold, alpha=1.0, mode=mode
        )

    def _feed(self, value: float) -> Finding:
        self._history.append(value)
        self._pooled.append(value)
        since = len(self._history)
        if len(self._pooled) < self._scale.pool:
            return Finding(Change.NONE, Change.NONE, since)
        pooled, self._pooled = float(np.mean(self._pooled)), []
        z = (
            (pooled - self._scale.mean) / self._scale.sd * self._scale.pool**0.5
            if self._scale.sd > 0
            else 0.0
        )
        z = min(max(z, -_CLIP), _CLIP)
        return Finding(self._adwin_change(z), self._page_hinkley_change(z), since)

    def _adwin_change(self, z: float) -> Change:
        before = self._adwin.estimation
        self._adwin.update(z)
        if not self._adwin.drift_detected:
            return Change.NONE
        return Change.UP if self._adwin.estimation > before else Change.DOWN

    def _page_hinkley_change(self, z: float) -> Change:
        self._up.update(z)
        self._down.update(z)
        if self._up.drift_detected:
            return Change.UP
        return Change.DOWN if self._down.drift_detected else Change.NONE


def library() -> Any:
    """river.drift, which brings scipy.stats: half a second of CPU that only who judges a series has to pay."""
    return import_module("river.drift")


def page_hinkley_threshold(false_per_value: float) -> float:
    """The threshold of a one-sided test on standard normal values whose mean time between false findings is this.

    Siegmund's approximation (Sequential Analysis, 1985, eq. 2.57): (exp(2kb) - 2kb - 1) / (2 k^2), b = h + 1.166.
    """
    k = DRIFT

    def excess(threshold: float) -> float:
        b = threshold + 1.166
        return (exp(2 * k * b) - 2 * k * b - 1) / (2 * k * k) - 1 / false_per_value

    return float(optimize.brentq(excess, 0.0, 200.0)) if excess(0.0) < 0 else 0.0
