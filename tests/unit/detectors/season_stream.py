"""Weeks of hourly buckets of rewards, statistics straight away: what a year of traffic would be counted into."""

from collections.abc import Iterator

import numpy as np

from detectors.arrays import F64, Arrays
from detectors.protocol import Baseline, Detector, Plan, Window
from detectors.rewards.reward import REWARD, RewardStatistic
from detectors.rewards.seasonal import HOUR_MS
from detectors.rows import no_decisions

PLAN = Plan(bucket_ms=HOUR_MS, window_buckets=6, horizon_ms=60_000, false_per_day=1 / 300)
WEEK = 168
CYCLE = 0.3


def rewards(seed: int, first: int, weeks: float, step: float = 1.0, clicks: bool = False) -> Baseline:
    """From this hour on: +/-30 % over the week, traffic +/-50 % over the day, sd .5 (or clicks of a tenth)."""
    rng = np.random.default_rng(seed)
    hours = np.arange(round(weeks * WEEK)) + first
    n = rng.poisson(200 * (1 + 0.5 * np.sin(2 * np.pi * hours / 24))).astype(np.float64)
    mean = step * (1 + CYCLE * np.sin(2 * np.pi * hours / WEEK))
    if clicks:
        sums = rng.binomial(n.astype(np.int64), 0.1 * mean).astype(np.float64)
        squares = sums
    else:
        sums = n * mean + 0.5 * np.sqrt(n) * rng.standard_normal(len(n))
        squares = n * (mean**2 + 0.25)
    return Baseline(*_counted(n, sums, squares), [int(hour) * HOUR_MS for hour in hours], HOUR_MS)


def windows(stream: Baseline, plan: Plan = PLAN) -> Iterator[Window]:
    """Every full sliding window of a stream."""
    buckets = [
        RewardStatistic.of_arrays({name: array[i] for name, array in stream.series.items()})
        for i in range(len(stream.starts_ms))
    ]
    width = plan.window_buckets
    for end in range(width, len(buckets) + 1):
        inside, starts = buckets[end - width : end], stream.starts_ms[end - width : end]
        yield Window(RewardStatistic.merged(inside), inside, starts, starts[-1] + plan.bucket_ms)


def signals(detector: Detector, stream: Baseline) -> list[int]:
    """Hours since the stream began at which a breach of the mean had lasted as long as it must."""
    fired, run = [], 0
    for hour, window in enumerate(windows(stream), PLAN.window_buckets):
        mean = next(m for m in detector.measure(window) if m.statistic == "mean")
        run = run + 1 if mean.verdict == "breach" else 0
        if run == mean.hold_buckets + 1 and run:
            fired.append(hour)
    return fired


def _counted(n: F64, sums: F64, squares: F64) -> tuple[Arrays, Arrays]:
    schema = REWARD.fit(no_decisions(), PLAN)
    delay = np.zeros((len(n), 2, len(schema["delay_edges_ms"])))
    delay[:, 0, 0], delay[:, 1, 0] = n, sums
    moments = np.stack([n, sums, squares], axis=1)[:, :, None]
    sketch = np.zeros((len(n), 1, 1))
    return schema, {"decisions": n[:, None], "moments": moments, "delay": delay, "sketch": sketch}
