"""Helpers of the detector tests: bucket rows out of columns, windows and baselines out of buckets."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.signal import lfilter

from detectors.arrays import F64, I32, I64, U64
from detectors.measurement import Measurement
from detectors.protocol import Baseline, Detector, Plan, Spec, Window
from detectors.rows import (
    BucketRows,
    Decisions,
    Episodes,
    Metrics,
    Outcomes,
    Returns,
    no_decisions,
    no_episodes,
    no_outcomes,
    no_returns,
)
from detectors.statistic import Statistic, stack

BUCKET_MS = 10_000
PLAN = Plan(bucket_ms=BUCKET_MS, window_buckets=20, horizon_ms=60_000, false_per_day=1.0, min_samples=30)


def rows(
    decisions: Decisions | None = None,
    outcomes: Outcomes | None = None,
    returns: Returns | None = None,
    episodes: Episodes | None = None,
    metrics: dict[str, F64] | None = None,
) -> BucketRows:
    return BucketRows(
        no_decisions() if decisions is None else decisions,
        no_outcomes() if outcomes is None else outcomes,
        no_returns() if returns is None else returns,
        no_episodes() if episodes is None else episodes,
        Metrics(metrics or {}),
    )


def decisions(
    n: int,
    costs: dict[str, F64] | None = None,
    latency_ms: F64 | None = None,
    action: Sequence[int] | I64 | None = None,
    violation: Sequence[int] | None = None,
    value: F64 | None = None,
) -> Decisions:
    missing = np.full(n, np.nan)
    return Decisions(
        ts_ms=np.arange(n), action=np.array(action if action is not None else [0] * n, np.int32),
        action_vector=np.empty((n, 0)), propensity=missing, entropy=missing,
        value=missing if value is None else value, confidence=missing,
        latency_ms=missing if latency_ms is None else latency_ms, state=np.empty((n, 0)), unit=np.zeros(n, np.uint64),
        violation=np.array(violation if violation is not None else [0] * n, np.uint8), costs=costs or {},
    )  # fmt: skip


def returns(
    value: F64,
    target: F64,
    before: F64 | None = None,
    action: Sequence[int] | I64 | I32 | None = None,
    segments: U64 | None = None,
) -> Returns:
    n = len(value)
    return Returns(
        value, np.full(n, np.nan) if before is None else before, target,
        np.array(action if action is not None else [0] * n, np.int32), np.zeros(n, np.uint64),
        np.zeros(n, np.uint64) if segments is None else segments,
    )  # fmt: skip


def outcomes(
    reward: F64,
    truth: F64,
    reward_before: F64 | None = None,
    truth_before: F64 | None = None,
    costs: dict[str, tuple[F64, F64]] | None = None,
) -> Outcomes:
    n = len(reward)
    missing = np.full(n, np.nan)
    return Outcomes(
        np.zeros(n, np.int64), missing if reward_before is None else reward_before, reward,
        missing if truth_before is None else truth_before, truth, np.zeros(n, np.int32), np.zeros(n, np.uint64),
        costs=costs or {},
    )  # fmt: skip


def window_of(buckets: Sequence[Statistic], labels: Sequence[str] = ()) -> Window:
    starts = [BUCKET_MS * i for i in range(len(buckets))]
    return Window(type(buckets[0]).merged(buckets), buckets, starts, BUCKET_MS * len(buckets), labels)


def baseline_of(
    spec: Spec, buckets: Sequence[BucketRows], plan: Plan = PLAN, sample: Decisions | None = None
) -> Baseline:
    schema = spec.fit(no_decisions() if sample is None else sample, plan)
    empty = Baseline(schema, {}, (), plan.bucket_ms)
    counting = spec.build(empty, plan)
    series = stack([counting.observe(bucket) for bucket in buckets])
    return replace(empty, series=series, starts_ms=[plan.bucket_ms * i for i in range(len(buckets))])


def looks(
    detector: Detector, buckets: Sequence[BucketRows], width: int = 20
) -> list[tuple[Measurement, ...]]:
    """The measurements of every full sliding window."""
    seen = [detector.observe(bucket) for bucket in buckets]
    return [detector.measure(window_of(seen[i - width : i])) for i in range(width, len(seen) + 1)]


def by_name(measurements: Sequence[Measurement]) -> dict[str, Measurement]:
    return {f"{m.statistic} {m.subject}".strip(): m for m in measurements}


def ar1(rng: np.random.Generator, n: int, rho: float) -> F64:
    """(n,) standard normal values with this lag-1 autocorrelation."""
    noise = rng.standard_normal(n) * np.sqrt(1 - rho**2)
    noise[0] /= np.sqrt(1 - rho**2)
    return np.asarray(lfilter([1.0], [1.0, -rho], noise))
