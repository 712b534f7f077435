"""The cached rows of a window give the sums and series that adding its buckets up anew gives, to the bit."""

from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.arrays import F64
from detectors.statistic import Statistic, stack
from monitor.judging.window_rows import WindowRows

BUCKET_MS, WINDOW_MS = 10, 200

# seal by seal: for each new row, how many buckets before the newest it belongs to and how many labels it knows
SEALS = st.lists(
    st.lists(st.tuples(st.integers(0, 25), st.integers(0, 6)), max_size=4), min_size=1, max_size=80
)


@dataclass(frozen=True, slots=True)
class Some(Statistic):
    by_label: F64
    table: F64


def some(rng: np.random.Generator, labels: int) -> Some:
    return Some(rng.normal(size=labels), rng.normal(size=(2, labels + 1)))


@settings(max_examples=150, deadline=None)
@given(SEALS, st.integers(0, 2**32), st.sets(st.integers(0, 80)))
def test_the_window_is_the_sum_of_its_buckets_however_it_was_reached(
    seals: list[list[tuple[int, int]]], seed: int, restarts: set[int]
) -> None:
    rng = np.random.default_rng(seed)
    buckets: dict[int, Some] = {}
    rows = WindowRows()
    for number, new in enumerate(seals):
        now_ms = 1_000 + number * BUCKET_MS
        for back, labels in new:
            start = now_ms - (back + 1) * BUCKET_MS
            buckets[start] = buckets[start] + some(rng, labels) if start in buckets else some(rng, labels)
            rows.stale.add(start)
        if number in restarts:
            rows = WindowRows(stale=set(buckets))
        rows.follow(buckets, now_ms - WINDOW_MS, now_ms)
        inside = [buckets[start] for start in sorted(buckets) if now_ms - WINDOW_MS <= start < now_ms]
        assert rows.starts == [start for start in sorted(buckets) if now_ms - WINDOW_MS <= start < now_ms]
        if not inside:
            continue
        anew, kept = reduce(add, inside), rows.total(Some)
        for name, series in stack(inside).items():
            assert rows[name].tobytes() == series.tobytes()
            assert getattr(kept, name).tobytes() == getattr(anew, name).tobytes()
