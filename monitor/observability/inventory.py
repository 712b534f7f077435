"""What the running daemon holds, counted every few seconds by the thread that owns it."""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alerts.closed_loop import Loop
from alerts.life import AlertState
from alerts.outbox_table import counts
from monitor.daemon import Daemon, Judging
from monitor.durations import rfc3339
from monitor.judging.watched import Watched
from monitor.sharding.shard import Shard
from monitor.sharding.tally import Tally

FiringAlert = tuple[str, str, str, str]  # deployment, policy, stage, rule


@dataclass(frozen=True, slots=True)
class Inventory:
    """lag: partition -> records not yet read. pending: deployment -> decisions that wait for rewards.

    labels_dropped: what -> rows whose name did not fit its table and counts as `(other)`. outbox: (receiver, ending
    or `pending`) -> entries. watermark_ms, newest_ms: None before all partitions were heard from.
    """

    partitions: tuple[str, ...]
    lag: Mapping[str, int]
    watermark_ms: int | None
    newest_ms: int | None
    bucket_ms: Mapping[str, int]
    pending: Mapping[str, int]
    orphans: int
    approved: int
    names_dropped: int
    labels_dropped: Mapping[str, int]
    dead_letters_dropped: int
    outbox: Mapping[tuple[str, str], int]
    firing: frozenset[FiringAlert]
    loops: Sequence[Mapping[str, Any]] = ()
    muted: Mapping[str, int] = field(default_factory=dict)
    probes: int = 0
    probe_ms: int = 0


def take_inventory(daemon: Daemon) -> Inventory:
    """Only lengths and counters are read, but for the outbox, which is asked for two small sums."""
    pipeline = daemon.pipeline
    watched = [w for w in pipeline.core.watched.values() if isinstance(w, Watched)]
    lag = getattr(daemon.source, "lag", dict)
    return Inventory(
        partitions=tuple(daemon.source.partitions()),
        lag=dict(lag()),
        watermark_ms=pipeline.watermark.now_ms,
        newest_ms=pipeline.watermark.newest_ms,
        bucket_ms={w.config.name: w.config.bucket_ms for w in watched},
        pending={w.config.name: len(w.joining.table) for w in watched},
        orphans=len(pipeline.core.orphans),
        approved=pipeline.counts.approved,
        names_dropped=pipeline.counts.names_dropped,
        labels_dropped=labels_dropped(pipeline),
        dead_letters_dropped=int(getattr(daemon.dead_letters, "lost", 0)),
        outbox=_outbox(daemon),
        firing=frozenset(alert for w in watched for alert in _firing(w)) | _vigil(daemon),
        loops=[_loop(w, loop) for w in watched for loop in w.loops.open.values()],
        muted={w.config.name: len(w.judge.muted) for w in watched},
        probes=pipeline.counts.probes,
        probe_ms=pipeline.counts.probe_ms,
    )


def shard_inventory(shard: Shard) -> Inventory:
    """The same of a shard, over its lanes: the lane that is least far holds the judge's time back."""
    pipelines = [lane.pipeline for lane in shard.own()]
    lag = getattr(shard.source, "lag", dict)
    dropped = [labels_dropped(pipeline) for pipeline in pipelines]
    marks = [p.watermark.now_ms for p in pipelines]
    newest = [ms for p in pipelines if (ms := p.watermark.newest_ms) is not None]
    tallies = [w for p in pipelines for w in p.core.watched.values() if isinstance(w, Tally)]
    pending = Counter[str]()
    for tally in tallies:
        pending[tally.config.name] += len(tally.joining.table)
    return Inventory(
        partitions=tuple(shard.source.partitions()),
        lag=dict(lag()),
        watermark_ms=min((ms for ms in marks if ms is not None), default=None),
        newest_ms=max(newest, default=None),
        bucket_ms={tally.config.name: tally.config.bucket_ms for tally in tallies},
        pending=dict(pending),
        orphans=sum(len(p.core.orphans) for p in pipelines),
        approved=sum(p.counts.approved for p in pipelines),
        names_dropped=sum(p.counts.names_dropped for p in pipelines),
        labels_dropped={what: sum(one[what] for one in dropped) for what in (dropped[0] if dropped else {})},
        dead_letters_dropped=int(getattr(shard.dead_letters, "lost", 0)),
        outbox={},
        firing=frozenset(),
    )


def labels_dropped(pipeline: Judging) -> dict[str, int]:
    """What -> rows whose name did not fit its table."""
    words, watched = pipeline.vocabulary, pipeline.core.watched.values()
    return {
        "policies": words.policies.dropped,
        "stages": words.stages.dropped,
        "metrics": words.metrics.dropped,
        "actions": sum(labels.dropped for labels in words.actions.values()),
        "keys": sum(w.crowded_out for w in watched if isinstance(w, Watched)),
        "segments": sum(
            labels.dropped for table in (words.segments, words.segment_values) for labels in table.values()
        ),
    }


def _firing(watched: Watched) -> list[FiringAlert]:
    name, judge = watched.config.name, watched.judge
    alerts = [
        (name, policy, stage, rule)
        for (rule, policy, stage), alert in judge.alerts.items()
        if alert.state is AlertState.FIRING
    ]
    alerts += [(name, "", "", rule) for rule in watched.blindness.alerts if _fires(watched, rule)]
    return alerts + [
        (name, policy, stage, "constraint")
        for (policy, stage), incidents in judge.incidents.items()
        if incidents.open
    ]


def _vigil(daemon: Daemon) -> frozenset[FiringAlert]:
    alerts = daemon.vigil.alerts if daemon.vigil is not None else {}
    return frozenset((deployment, "", "", rule) for deployment, rule in alerts)


def _loop(watched: Watched, loop: Loop) -> Mapping[str, Any]:
    return {
        "deployment": watched.config.name, "policy": loop.policy, "stage": loop.stage, "rule": loop.rule,
        "kind": loop.kind, "to_policy": loop.to_policy, "since": rfc3339(loop.fired_ms), "missed": loop.missed,
    }  # fmt: skip


def _fires(watched: Watched, rule: str) -> bool:
    return watched.blindness.alerts[rule].state is AlertState.FIRING


def _outbox(daemon: Daemon) -> dict[tuple[str, str], int]:
    conn = sqlite3.connect(daemon.checkpoint.path, isolation_level=None, timeout=1.0)
    try:
        return counts(conn)
    except sqlite3.OperationalError:  # busy or gone: the next look tells
        return {}
    finally:
        conn.close()
