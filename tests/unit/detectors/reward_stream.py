"""Turns plain columns of decisions and rewards into buckets, as a core would: sealed in order, rewards joined late."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from detectors.arrays import F64, I64
from detectors.inference.long_run import student_line
from detectors.protocol import Baseline, Detector, Plan, Window
from detectors.rewards.reference import RewardReference
from detectors.rewards.reward import REWARD, RewardStatistic
from detectors.rows import BucketRows, no_decisions, no_episodes, no_outcomes, no_returns
from detectors.statistic import stack


def rows(decisions: int, rewards: F64, delay_ms: I64, expired: int = 0) -> BucketRows:
    """New rows of one bucket, every reward a first arrival."""
    n, m = len(rewards), decisions
    nan, zero = np.full(n, np.nan), np.zeros(n)
    outcomes = replace(
        no_outcomes(), delay_ms=delay_ms, reward_before=nan, reward=rewards, truth_before=nan, truth=nan,
        action=zero.astype(np.int32), unit=zero.astype(np.uint64),
    )  # fmt: skip
    return BucketRows(replace(no_decisions(), ts_ms=np.zeros(m, np.int64)), outcomes, no_returns(), no_episodes(),
                      expired=expired)  # fmt: skip


def count(detector: Detector, new: BucketRows) -> RewardStatistic:
    """What the detector remembers of new rows."""
    statistic = detector.observe(new)
    assert isinstance(statistic, RewardStatistic)
    return statistic


class Stream:
    """Decisions at ts_ms with a reward after delay_ms (NaN reward: none ever comes)."""

    def __init__(self, ts_ms: I64, reward: F64, delay_ms: I64) -> None:
        order = np.argsort(ts_ms, kind="stable")
        self.ts_ms, self.reward, self.delay_ms = ts_ms[order], reward[order], delay_ms[order]

    def between(self, start_ms: int, end_ms: int) -> "Stream":
        inside = (self.ts_ms >= start_ms) & (self.ts_ms < end_ms)
        return Stream(self.ts_ms[inside], self.reward[inside], self.delay_ms[inside])

    def baseline(self, plan: Plan, bucket_ms: int | None = None) -> Baseline:
        """All rewards joined, as a build that ran to its end."""
        width = bucket_ms or plan.bucket_ms
        schema = REWARD.fit(no_decisions(), plan)
        counter = REWARD.build(None, plan)
        start = self.ts_ms // width * width
        starts = [int(s) for s in np.unique(start)]
        series = []
        for s in starts:
            chosen = start == s
            known = chosen & np.isfinite(self.reward) & (self.delay_ms <= plan.horizon_ms)
            expired = int(chosen.sum() - known.sum())
            series.append(
                counter.observe(rows(int(chosen.sum()), self.reward[known], self.delay_ms[known], expired))
            )
        return Baseline(schema, stack(series), starts, width)

    def windows(self, detector: Detector, plan: Plan, every: int = 1) -> Iterator[Window]:
        """One window per sealed bucket (or only every so many), first to last decision."""
        width = plan.bucket_ms
        buckets: dict[int, RewardStatistic] = {}
        start, arrival = self.ts_ms // width * width, self.ts_ms + self.delay_ms
        usable = np.isfinite(self.reward) & (self.delay_ms <= plan.horizon_ms)
        by_arrival = np.argsort(np.where(usable, arrival, np.iinfo(np.int64).max), kind="stable")
        arrivals = arrival[by_arrival][: usable.sum()]
        due = self.ts_ms + plan.horizon_ms
        for seal in range(int(start[0]) + width, int(start[-1]) + width + 1, width):
            low, high = np.searchsorted(arrivals, [seal - width, seal], side="left")
            fresh = by_arrival[low:high]
            new = np.arange(*np.searchsorted(self.ts_ms, [seal - width, seal]))
            gone = np.arange(*np.searchsorted(due, [seal - width, seal]))
            gone = gone[~usable[gone]]
            for s in sorted({*start[fresh].tolist(), *start[new].tolist(), *start[gone].tolist()}):
                mine = fresh[start[fresh] == s]
                part = count(detector, rows(
                    int((start[new] == s).sum()), self.reward[mine], self.delay_ms[mine], int((start[gone] == s).sum())
                ))  # fmt: skip
                buckets[s] = buckets[s] + part if s in buckets else part
            oldest = seal - plan.window_buckets * width
            buckets = {s: b for s, b in buckets.items() if s >= oldest}
            if buckets and (seal // width % every == 0 or seal > start[-1]):
                inside = sorted(buckets)
                parts = [buckets[s] for s in inside]
                yield Window(RewardStatistic.merged(parts), parts, inside, seal)


def signals(stream: Stream, detector: Detector, plan: Plan) -> list[int]:
    """Seal times at which a breach of the mean has lasted as long as it must; one per run of breaches."""
    fired, run, done = [], 0, False
    for window in stream.windows(detector, plan):
        mean = next(m for m in detector.measure(window) if m.statistic == "mean")
        if mean.verdict != "breach":
            run, done = 0, False
            continue
        if not done and run >= mean.hold_buckets:
            fired.append(window.now_ms)
            done = True
        run += 1
    return fired


def log(path: Path) -> Stream:
    """A real log: one reward per decision."""
    ts, reward, arrival = {}, {}, {}
    with gzip.open(path, "rt") as lines:
        for line in lines:
            record = json.loads(line)
            if record["type"] == "decision":
                ts[record["decision_id"]] = round(record["ts"] * 1000)
            elif record["type"] == "reward":
                reward[record["decision_id"]] = record["reward"]
                arrival[record["decision_id"]] = round(record["ts"] * 1000)
    ids = [i for i in ts if i in reward]
    times = np.array([ts[i] for i in ids])
    delays = np.array([arrival[i] for i in ids]) - times
    return Stream(times, np.array([reward[i] for i in ids], dtype=np.float64), np.maximum(delays, 0))


def signal_buckets(reference: RewardReference, plan: Plan, sums: F64, counts: F64) -> I64:
    """Indices of the buckets at whose seal a signal fires, for matured buckets: what `signals` says, all at once."""
    scales, width = reference.price.scales, plan.window_buckets
    short = sums - counts * reference.mean
    robust = reference.clipped(short, counts)
    joined = _moving(counts, width)
    line = student_line(plan.sigma, reference.noise.dof) * np.sqrt(reference.sum_variance(joined)) / joined
    below = np.maximum(_moving(short, width), _moving(robust, width)) / joined < -line
    depth = reference.depth(
        np.stack([_moving(robust, s) for s in scales], 1), np.stack([_moving(counts, s) for s in scales], 1)
    )
    run = np.arange(len(sums)) - np.maximum.accumulate(np.where(below, -1, np.arange(len(sums)))) - 1
    room = (reference.price.depth - depth) / max(reference.price.depth - reference.price.line, 1e-9)
    hold = np.ceil(reference.price.hold_buckets * np.clip(room, 0.0, 1.0))
    due = below & (run >= hold)
    due[: width - 1] = False
    first = due & (np.cumsum(due) - np.maximum.accumulate(np.where(below, 0, np.cumsum(due))) == 1)
    return np.flatnonzero(first)


def _moving(values: F64, width: int) -> F64:
    """(n,) sum of the newest `width` values, of fewer at the start."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    result: F64 = total[1:] - total[np.maximum(np.arange(len(values)) + 1 - width, 0)]
    return result


def instant_baseline(plan: Plan, rewards: F64, per_bucket: int) -> Baseline:
    """A baseline of rewards without delay, `per_bucket` in each bucket."""
    rows = rewards.reshape(-1, per_bucket)
    moments = np.stack([np.full(len(rows), float(per_bucket)), rows.sum(1), (rows**2).sum(1)], axis=1)
    schema = REWARD.fit(no_decisions(), plan)
    delay = np.zeros((len(rows), 2, len(schema["delay_edges_ms"])))
    delay[:, :, 0] = moments[:, :2]
    series = {"decisions": moments[:, :1], "moments": moments[:, :, None], "delay": delay,
              "sketch": np.zeros((len(rows), 1, 1))}  # fmt: skip
    return Baseline(schema, series, [i * plan.bucket_ms for i in range(len(rows))], plan.bucket_ms)
