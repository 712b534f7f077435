"""What the hour of the day or of the week usually adds to a mean, learnt from a baseline's own buckets.

A mean per event of slot k (an hour of the season) is `mean + effect_k`. Effects are shrunk towards 0 by empirical
Bayes: slots whose scatter between periods is large against the spread between slots say little (DerSimonian & Laird,
Controlled Clinical Trials 1986, for the spread; Efron & Morris, JASA 1973, for the shrinkage). Between slot centres
they are interpolated. The baseline's own buckets are compared with effects learnt from *other* periods only
(cross-fitted), so that the long-run variance of what is left prices the uncertainty of the profile as well.

How a test of its own uses it: `learn(sums, counts, starts_ms, bucket_ms, season)` on the baseline's bucket sums;
calibrate on `sums - counts * learnt.own` (instead of `sums`), and live subtract
`n * learnt.profile.effects_at([start_ms])[0]` from the sum of each bucket of n events. Nothing else changes.
`detectors.rewards.deseasonalised` does so for whole statistics, and `monitor` hands such buckets to every test that
reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.arrays import F64, I64, Bool

HOUR_MS, DAY_MS, YEAR_MS = 3_600_000, 86_400_000, 31_556_952_000
SEASONS = {"hour-of-day": (DAY_MS, 24), "hour-of-week": (7 * DAY_MS, 168), "year": (YEAR_MS, 26)}
FEWEST_PERIODS = 2  # what was seen once may be chance
_NEARLY = 0.95  # of a period counts as one
_FEWEST_SLOTS = 4
_FOLDS = 8


@dataclass(frozen=True, slots=True)
class Profile:
    """effects: (slots, c) what an event of each slot adds to the mean of its column. width_ms: of a slot."""

    effects: F64
    width_ms: int
    bucket_ms: int

    def effects_at(self, starts_ms: Sequence[int] | I64, bucket_ms: int = 0) -> F64:
        """(t, c) at buckets that begin then; bucket_ms: their width where it is not the baseline's."""
        low, high, share = _between(starts_ms, bucket_ms or self.bucket_ms, self.width_ms, len(self.effects))
        return np.asarray(self.effects[low] * (1 - share) + self.effects[high] * share)

    def mixed(self, starts_ms: Sequence[int] | I64, weights: F64, bucket_ms: int) -> F64:
        """(c,) the sum over buckets of weights (t,) times their effects, without forming (t, c)."""
        low, high, share = _between(starts_ms, bucket_ms, self.width_ms, len(self.effects))
        by_slot = np.bincount(low, weights * (1 - share[:, 0]), len(self.effects))
        by_slot += np.bincount(high, weights * share[:, 0], len(self.effects))
        used = np.flatnonzero(by_slot)
        return np.asarray(by_slot[used] @ self.effects[used])


@dataclass(frozen=True, slots=True)
class Learnt:
    """profile: for new buckets. own: (t, c) effects at the baseline's buckets, learnt without their own period."""

    profile: Profile
    own: F64


def why_not(starts_ms: Sequence[int], bucket_ms: int, season: str) -> str:
    """Why a baseline of these buckets cannot show the season's effects, with the length that would do; "" if it can."""
    period_ms, _ = SEASONS[season]
    span_ms = (starts_ms[-1] - starts_ms[0] + bucket_ms) if len(starts_ms) else 0
    if span_ms < FEWEST_PERIODS * period_ms * _NEARLY:
        return (
            f"season {season} needs {FEWEST_PERIODS * period_ms / DAY_MS:.3g} d of baseline to tell the season from "
            f"chance, it covers {span_ms / DAY_MS:.3g} d: cycles widen the lines instead"
        )
    if period_ms // max(bucket_ms, 1) < _FEWEST_SLOTS:
        return f"season {season} cannot be seen in buckets of {bucket_ms / HOUR_MS:.3g} h"
    return ""


def learn(sums: F64, counts: F64, starts_ms: Sequence[int], bucket_ms: int, season: str) -> Learnt | None:
    """From bucket sums (t, c) over counts (t, 1) or (t, c), in order of time; None where `why_not` says why."""
    if season == "none" or why_not(starts_ms, bucket_ms, season):
        return None
    period_ms, slots = SEASONS[season]
    width_ms = max(period_ms // slots, bucket_ms)
    slots = period_ms // width_ms
    place = (np.asarray(starts_ms, np.int64) + bucket_ms // 2) // width_ms
    total = np.maximum(counts.sum(axis=0), 1e-300)
    cells = np.flatnonzero(np.diff(place, prepend=place[0] - 1))
    count, strayed = np.add.reduceat(counts, cells), np.add.reduceat(sums, cells)
    strayed = strayed - count * (sums.sum(axis=0) / total)
    slot, period = place[cells] % slots, place[cells] // slots
    folds = (period - period[0]) % min(int(period[-1] - period[0]) + 1, _FOLDS)
    by_fold = [
        _by_slot(slot[folds == f], slots, count[folds == f], strayed[folds == f])
        for f in range(folds.max() + 1)
    ]
    everything = np.add.reduce([n for n, _ in by_fold]), np.add.reduce([s for _, s in by_fold])
    chance = _chance(slot, count, strayed, *everything)

    def profile(n: F64, strays: F64) -> Profile:
        return Profile(_shrunk(n, strays, chance), width_ms, bucket_ms)

    own = np.empty(sums.shape)
    fold_of = ((place // slots) - period[0]) % (folds.max() + 1)
    starts = np.asarray(starts_ms, np.int64)
    for f, (n, strays) in enumerate(by_fold):
        mine = fold_of == f
        own[mine] = profile(everything[0] - n, everything[1] - strays).effects_at(starts[mine])
    return Learnt(profile(*everything), own)


def _by_slot(slot: I64, slots: int, count: F64, strayed: F64) -> tuple[F64, F64]:
    """(slots, .) sums over the cells of each slot."""
    order = np.argsort(slot, kind="stable")
    known, first = np.unique(slot[order], return_index=True)
    result = []
    for cells in (count, strayed):
        summed = np.zeros((slots, cells.shape[1]))
        if len(known):
            summed[known] = np.add.reduceat(cells[order], first)
        result.append(summed)
    return result[0], result[1]


def _chance(slot: I64, count: F64, strayed: F64, by_slot_n: F64, by_slot: F64) -> F64:
    """(c,) variance per event of a cell's mean about its slot's, from the scatter between periods."""
    mean = by_slot / np.maximum(by_slot_n, 1e-300)
    scatter = (strayed - count * mean[slot]) ** 2 / np.maximum(count, 1e-300)
    dof = (count > 0).sum(axis=0) - (by_slot_n > 0).sum(axis=0)
    return np.asarray(scatter.sum(axis=0) / np.maximum(dof, 1))


def _shrunk(n: F64, strayed: F64, chance: F64) -> F64:
    """(slots, c) shrunk effects; slots without events lie on the line between their neighbours."""
    total = np.maximum(n.sum(axis=0), 1e-300)
    effect = strayed / np.maximum(n, 1e-300)
    effect = np.where(n > 0, effect - strayed.sum(axis=0) / total, 0.0)
    spread = (n * effect**2).sum(axis=0) - chance * np.maximum((n > 0).sum(axis=0) - 1, 0)
    spread = np.maximum(spread, 0.0) / np.maximum(total - (n**2).sum(axis=0) / total, 1e-300)
    heard = spread * n
    shrunk = effect * heard / np.maximum(heard + chance, 1e-300)
    return _filled(shrunk, np.asarray((n > 0).any(axis=1)))


def _filled(effects: F64, known: Bool) -> F64:
    if known.all() or not known.any():
        return effects
    slots, seen = len(effects), np.flatnonzero(known)
    missing = np.flatnonzero(~known)
    after = np.searchsorted(seen, missing)
    low, high = seen[after - 1], seen[after % len(seen)]
    gap = (high - low) % slots
    share = (((missing - low) % slots) / np.maximum(np.where(gap == 0, slots, gap), 1))[:, None]
    filled = effects.copy()
    filled[missing] = effects[low] * (1 - share) + effects[high] * share
    return filled


def _between(
    starts_ms: Sequence[int] | I64, bucket_ms: int, width_ms: int, slots: int
) -> tuple[I64, I64, F64]:
    """(t,) the slots whose centres lie around each bucket's middle, and (t, 1) how far it is to the second."""
    middle = (np.asarray(starts_ms, np.int64) + bucket_ms // 2).astype(np.float64) / width_ms - 0.5
    below = np.floor(middle)
    low = below.astype(np.int64) % slots
    return low, (low + 1) % slots, (middle - below)[:, None]
