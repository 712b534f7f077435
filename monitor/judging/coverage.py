"""Which part of a declared season a baseline has seen; outside of it, a comparison would compare the season."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan

import numpy as np

from detectors.arrays import I64
from detectors.measurement import Measurement, Verdict
from detectors.seasonal import SEASONS

WHAT = {
    "hour-of-day": "this hour of the day",
    "hour-of-week": "this hour of the week",
    "year": "this time of the year",
}
COMPARED = frozenset(
    {
        "reward",
        "state_kl",
        "state_mmd",
        "state_quality",
        "action_mix",
        "critic",
        "proxy",
        "change_points",
        "metrics",
    }
)
ENOUGH = 0.5  # of a slot's typical buckets


@dataclass(frozen=True, slots=True)
class Coverage:
    """covered: which slots of the season the baseline has seen. season "": none was declared."""

    season: str
    covered: frozenset[int]

    def sees(self, start_ms: int, end_ms: int) -> bool:
        """Whether the baseline has seen every slot that a window lies in."""
        if not self.season:
            return True
        period_ms, slots = SEASONS[self.season]
        width_ms = period_ms // slots
        return all((t // width_ms) % slots in self.covered for t in range(start_ms, end_ms, width_ms))

    def judged(self, measured: Sequence[Measurement], start_ms: int, end_ms: int) -> list[Measurement]:
        """The measurements, those that compare with the baseline unknown where it has not seen the season."""
        if self.sees(start_ms, end_ms):
            return list(measured)
        reason = f"the baseline does not cover {WHAT[self.season]}"
        return [
            replace(m, verdict=Verdict.UNKNOWN, reason=reason, hold_buckets=0)
            if m.detector in COMPARED and not isnan(m.threshold)
            else m
            for m in measured
        ]


def coverage(season: str, starts_ms: Sequence[int]) -> Coverage:
    """What the baseline's buckets cover of a declared season."""
    if season == "none" or not len(starts_ms):
        return Coverage("", frozenset())
    period_ms, slots = SEASONS[season]
    seen: I64 = np.bincount(
        (np.asarray(starts_ms, np.int64) // (period_ms // slots)) % slots, minlength=slots
    )
    typical = float(np.median(seen[seen > 0]))
    return Coverage(season, frozenset(np.flatnonzero(seen >= ENOUGH * typical).tolist()))
