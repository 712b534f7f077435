"""Decisions as a bucketed stream: what the tests of state and action detectors feed and look at."""

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import lfilter

from detectors.arrays import F64
from detectors.measurement import Measurement, Verdict
from detectors.protocol import Baseline, Plan, Spec, Window
from detectors.rows import BucketRows, Decisions, no_episodes, no_outcomes, no_returns
from detectors.statistic import Statistic, stack

BUCKET_MS = 10_000
PER_BUCKET = 10
PLAN = Plan(bucket_ms=BUCKET_MS, window_buckets=60, horizon_ms=0, false_per_day=1 / 150)


def decisions(n: int, ts_ms: Any = None, **columns: Any) -> Decisions:
    """n decisions, ten per bucket of 10 s unless timed; whatever is not given is missing."""
    missing = np.full(n, np.nan)
    table = Decisions(
        ts_ms=np.arange(n) * BUCKET_MS // PER_BUCKET if ts_ms is None else ts_ms,
        action=np.full(n, -1, np.int32), action_vector=np.empty((n, 0)), propensity=missing, entropy=missing,
        value=missing, confidence=missing, latency_ms=missing, state=np.empty((n, 0)), unit=np.zeros(n, np.uint64),
        violation=np.zeros(n, np.uint8),
    )  # fmt: skip
    return replace(table, **columns)


def states(rows: F64) -> Decisions:
    """One decision per row of (n, d)."""
    return decisions(len(rows), state=rows)


def actions(codes: Any, **columns: Any) -> Decisions:
    """One decision per action code."""
    return decisions(len(codes), action=np.asarray(codes, np.int32), **columns)


def rows_of(table: Decisions) -> BucketRows:
    """A bucket of decisions and nothing else."""
    return BucketRows(table, no_outcomes(), no_returns(), no_episodes())


def part(table: Decisions, index: Any) -> Decisions:
    """Some rows of a table."""
    columns: dict[str, Any] = {f.name: getattr(table, f.name) for f in fields(table)}
    picked: dict[str, Any] = {name: c if isinstance(c, dict) else c[index] for name, c in columns.items()}
    return Decisions(**picked)


def bucketed(spec: Spec, schema: Any, table: Decisions, plan: Plan) -> list[tuple[int, Statistic]]:
    """(start, statistic) of every bucket that holds decisions."""
    detector = spec.build(Baseline(schema, {}, (), plan.bucket_ms), plan)
    starts, first = np.unique(table.ts_ms // plan.bucket_ms * plan.bucket_ms, return_index=True)
    ends = [*first[1:], len(table)]
    return [
        (int(start), detector.observe(rows_of(part(table, slice(a, b)))))
        for start, a, b in zip(starts, first, ends, strict=True)
    ]


def baseline_of(spec: Spec, table: Decisions, plan: Plan = PLAN, labels: Sequence[str] = ()) -> Baseline:
    """The baseline that accepted decisions make."""
    schema = spec.fit(table, plan)
    buckets = bucketed(spec, schema, table, plan)
    return Baseline(schema, stack([s for _, s in buckets]), [t for t, _ in buckets], plan.bucket_ms, labels)


def looks(
    spec: Spec,
    baseline: Baseline,
    table: Decisions,
    plan: Plan = PLAN,
    labels: Sequence[str] = (),
    every: int = 1,
) -> Iterator[tuple[int, tuple[Measurement, ...]]]:
    """(now_ms, measurements) at every `every`-th sealed bucket."""
    yield from looked_at(spec, baseline, bucketed(spec, baseline.schema, table, plan), plan, labels, every)


def looked_at(
    spec: Spec,
    baseline: Baseline,
    buckets: Sequence[tuple[int, Statistic]],
    plan: Plan = PLAN,
    labels: Sequence[str] = (),
    every: int = 1,
) -> Iterator[tuple[int, tuple[Measurement, ...]]]:
    """The same from buckets that are counted already."""
    detector = spec.build(baseline, plan)
    for i in range(0, len(buckets), every):
        now = buckets[i][0] + plan.bucket_ms
        inside = [
            (t, s)
            for t, s in buckets[max(0, i + 1 - plan.window_buckets) : i + 1]
            if t >= now - plan.window_buckets * plan.bucket_ms
        ]
        parts = [s for _, s in inside]
        window = Window(spec.statistic.merged(parts), parts, [t for t, _ in inside], now, labels)
        yield now, detector.measure(window)


def last_look(
    spec: Spec, baseline: Baseline, table: Decisions, plan: Plan = PLAN, labels: Sequence[str] = ()
) -> dict[str, Measurement]:
    """The measurements of the newest window by statistic, those without a subject only."""
    *_, (_, found) = looks(spec, baseline, table, plan, labels)
    return {m.statistic: m for m in found if not m.subject}


def breaches(
    spec: Spec, baseline: Baseline, table: Decisions, plan: Plan = PLAN, every: int = 1
) -> list[tuple[int, Measurement]]:
    """(now_ms, measurement) of every breach."""
    found = looks(spec, baseline, table, plan, every=every)
    return [(now, m) for now, each in found for m in each if m.verdict is Verdict.BREACH]


def autoregressive(generator: np.random.Generator, n: int, d: int, rho: float) -> F64:
    """(n, d) stationary AR(1) columns of variance 1."""
    noise = generator.standard_normal((n + 300, d)) * np.sqrt(1 - rho**2)
    result: F64 = lfilter([1.0], [1.0, -rho], noise, axis=0)[300:]
    return result


@cache
def logged(path: Path) -> Decisions:
    """The decisions of a real log (gzip JSON lines)."""
    with gzip.open(path, "rt") as lines:
        events = [event for event in map(json.loads, lines) if event["type"] == "decision"]
    odds = [np.array(event.get("action_probs", [np.nan])) for event in events]
    return decisions(
        len(events),
        ts_ms=np.array([round(event["ts"] * 1000) for event in events]),
        action=np.array([event["action"] for event in events], np.int32),
        propensity=np.array([event.get("propensity", np.nan) for event in events]),
        entropy=np.array([-(p * np.log(p)).sum() for p in odds]),
        state=np.array([event["state"] for event in events], np.float64),
    )
