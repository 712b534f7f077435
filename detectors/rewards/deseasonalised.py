"""A detector that sees its season taken off: the usual hour of each bucket subtracted from baseline and window alike.

Means lose the effect of their hour. Counts in cells stay counts: where an hour usually has more than the average they
are scaled down, where it has fewer the missing ones are added, so that their noise is never larger than that of the
average law, which the null prices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from detectors.arrays import F64
from detectors.measurement import Measurement
from detectors.protocol import Baseline, Detector, Rate, Window
from detectors.rewards.seasonal import Profile, learn
from detectors.rows import BucketRows
from detectors.statistic import Statistic

WORDS = {"hour-of-day": "hour of the day", "hour-of-week": "hour of the week", "year": "time of the year"}


@dataclass(frozen=True)
class Seasons:
    """The profiles of one detector's rates. usual: (rate) the baseline's mean per event, for counts in cells."""

    season: str
    bucket_ms: int
    rates: Sequence[Rate]
    profiles: Sequence[Profile]
    usual: Sequence[F64]

    @cached_property
    def by_bucket(self) -> bool:
        """Whether the detector looks at single buckets of what is adjusted."""
        return any(rate.by_bucket for rate in self.rates)

    def bucket(self, start_ms: int, arrays: Mapping[str, F64]) -> dict[str, F64]:
        """One bucket's arrays, adjusted."""
        one = self.series([start_ms], {name: np.asarray(array)[None] for name, array in arrays.items()})
        return {name: array[0] for name, array in one.items()}

    def series(self, starts_ms: Sequence[int], arrays: Mapping[str, F64]) -> dict[str, F64]:
        """Fields (t, ...) of buckets that begin then, adjusted."""
        found = dict(arrays)
        for rate, profile, usual in zip(self.rates, self.profiles, self.usual, strict=True):
            effects = profile.effects_at(starts_ms, self.bucket_ms)
            found[rate.field] = _adjusted(rate, found, effects, usual)
        return found

    def window(self, window: Window) -> Window:
        """The window, its total and (where they are looked at) its buckets adjusted."""
        if self.by_bucket:
            columns = {name: window.series(name) for name in window.total.arrays()}
            columns = self.series(window.starts_ms, columns)
            total = {name: np.add.reduce(column, axis=0) for name, column in columns.items()}
            return replace(window, total=type(window.total).of_arrays(total), columns=columns)
        total = dict(window.total.arrays())
        for rate, profile, usual in zip(self.rates, self.profiles, self.usual, strict=True):
            n = window.series(rate.count)[(slice(None), *rate.of)]
            share = n / max(float(n.sum()), 1e-300)
            effect = profile.mixed(window.starts_ms, share, self.bucket_ms)
            one = {name: array[None] for name, array in total.items()}
            total[rate.field] = _adjusted(rate, one, effect[None], usual)[0]
        return replace(window, total=type(window.total).of_arrays(total))


class Deseasonalised:
    """A detector that was built on an adjusted baseline, and is shown adjusted windows."""

    def __init__(self, inner: Detector, seasons: Seasons) -> None:
        self.inner, self.seasons = inner, seasons
        self._said = f", the usual {WORDS[seasons.season]} taken off"

    @property
    def name(self) -> str:
        """The registry's name."""
        return self.inner.name

    def observe(self, rows: BucketRows) -> Statistic:
        """As it is: only comparisons know of seasons."""
        return self.inner.observe(rows)

    def measure(self, window: Window) -> tuple[Measurement, ...]:
        """What is said of the adjusted window; lines say so."""
        return tuple(
            m if np.isnan(m.threshold) else replace(m, reason=m.reason + self._said if m.reason else "")
            for m in self.inner.measure(self.seasons.window(window))
        )


def without_season(
    part: Baseline, rates: Sequence[Rate], bucket_ms: int, season: str
) -> tuple[Baseline, Seasons | None]:
    """The baseline with every bucket freed of the usual hour of other periods, and what live buckets are freed with.

    As it was, and None, where nothing has a season or the baseline is too short for it. bucket_ms: of live buckets.
    """
    series = {name: np.asarray(array, np.float64) for name, array in part.series.items()}
    kept, profiles, usual = [], [], []
    for rate in rates:
        if rate.field not in series or not series[rate.field].size:
            continue
        sums, counts = _columns(rate, series)
        learnt = learn(sums, counts, part.starts_ms, part.bucket_ms, season)
        if learnt is None:
            continue
        kept.append(rate)
        profiles.append(learnt.profile)
        usual.append(sums.sum(axis=0) / np.maximum(counts.sum(axis=0), 1e-300))
        series[rate.field] = _adjusted(rate, series, learnt.own, usual[-1])
    if not kept:
        return part, None
    return replace(part, series=dict(series)), Seasons(season, bucket_ms, kept, profiles, usual)


def _columns(rate: Rate, series: Mapping[str, F64]) -> tuple[F64, F64]:
    """(t, c) sums and (t, 1) or (t, c) counts of a rate."""
    sums = np.asarray(series[rate.field], np.float64)[(slice(None), *rate.part)]
    counts = np.asarray(series[rate.count], np.float64)[(slice(None), *rate.of)]
    if rate.cumulated:
        sums, counts = np.cumsum(sums, axis=-1), np.cumsum(counts, axis=-1)
    return sums.reshape(len(sums), -1), counts.reshape(len(counts), -1)


def _adjusted(rate: Rate, series: Mapping[str, F64], effects: F64, usual: F64) -> F64:
    """The rate's field (t, ...) without effects (t, c)."""
    sums, counts = _columns(rate, series)
    width = min(sums.shape[1], effects.shape[1])  # actions seen later have no usual hour
    effects, held = effects[:, :width], sums[:, :width]
    if rate.cells:
        above = usual[:width] / np.maximum(usual[:width] + effects, 1e-300)
        kept = np.where(effects > 0, held * above, held - counts * effects)
    else:
        kept = held - counts[:, : width if counts.shape[1] > 1 else 1] * effects
    sums = np.concatenate([kept, sums[:, width:]], axis=1) if width < sums.shape[1] else kept
    field = np.array(series[rate.field], np.float64)
    view = field[(slice(None), *rate.part)]
    shaped = sums.reshape(view.shape)
    field[(slice(None), *rate.part)] = np.diff(shaped, prepend=0.0, axis=-1) if rate.cumulated else shaped
    return field
