"""Which part of a declared season a baseline has seen; outside of it, a comparison would compare the season."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan

import numpy as np

from detectors.arrays import I64
from detectors.measurement import Measurement, Verdict
from detectors.rewards.seasonal import SEASONS

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
FINER = {"year": 7}  # seen in two days, not in a fortnight: after five days of autumn it is colder
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
        width_ms, slots = _slots(self.season)
        times = (*range(start_ms, end_ms, width_ms), end_ms - 1)
        return all((t // width_ms) % slots in self.covered for t in times)

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
    width_ms, slots = _slots(season)
    seen: I64 = np.bincount((np.asarray(starts_ms, np.int64) // width_ms) % slots, minlength=slots)
    typical = float(np.median(seen[seen > 0]))
    return Coverage(season, frozenset(np.flatnonzero(seen >= ENOUGH * typical).tolist()))


def _slots(season: str) -> tuple[int, int]:
    """Width in milliseconds and number of the slots that are told apart."""
    period_ms, slots = SEASONS[season]
    finer = FINER.get(season, 1)
    return period_ms // (slots * finer), slots * finer
