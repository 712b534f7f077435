"""The pipeline's memory as named parts, and back: what a checkpoint holds and a restart or reload goes on from."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from alerts.closed_loop import Loop
from alerts.desk_terms import Silence, Waiting
from alerts.incidents import Incident, Incidents
from alerts.life import Alert, AlertState
from alerts.rules import Kind
from detectors.candidates.episodes import EpisodeLife
from detectors.candidates.life import Life
from detectors.candidates.sums import CandidateSums
from detectors.ope import Estimate, Outcome
from detectors.ope.bandit.estimator import Statistic
from detectors.ope.calibration import Calibration
from detectors.ope.evidence import Evidence
from detectors.ope.sequential.horizon import StepWeights
from detectors.ope.sequential.observe import TrajectoryEvidence
from detectors.ope.spread import Spread
from detectors.ope.totals import Totals
from detectors.ope.weights import Weights
from detectors.registry import REGISTRY
from monitor.batch import DecisionBatch, MetricBatch, RewardBatch
from monitor.core import SetAside, Tick
from monitor.decoding.reasons import Reason
from monitor.episodes.book import EndedEpisodes, Targets
from monitor.evaluation.candidates import Trial
from monitor.event_time import HeldEvent, PartitionClock
from monitor.frames import take
from monitor.joining import Arrived, Joining, Piles, Unrewarded
from monitor.joins.candidates import Matured
from monitor.joins.shadows import Pairs, Statements
from monitor.judging.watched import Watched
from monitor.persistence.codec import Codec
from monitor.pipeline import Pipeline
from monitor.sharding.tally import Tally
from monitor.vocabulary import OTHER, STAGES, Labels, Vocabulary

FORMAT = 2
READ = (1, FORMAT)  # 1: decisions without segments


def _with_segments(columns: dict[str, Any]) -> dict[str, Any]:
    """Rows of format 1 lie in no segment."""
    return {"segments": np.zeros(len(columns["key"]), np.uint64), **columns}


CODEC = Codec(
    [Alert, Arrived, Calibration, CandidateSums, DecisionBatch, EndedEpisodes, EpisodeLife, Estimate, Evidence,
     HeldEvent, Incident, Incidents, Labels, Life, Loop, Matured, MetricBatch, Outcome, Pairs, Piles, RewardBatch,
     Silence, Spread, Statements, Statistic, StepWeights, Targets, Tick, Totals, TrajectoryEvidence, Trial, Unrewarded,
     Vocabulary, Waiting, Weights, *(spec.statistic for spec in REGISTRY)],
    {"Arrived": _with_segments, "Targets": _with_segments},
)  # fmt: skip


class StateError(Exception):
    """A state of another format; not retriable."""


def snapshot(pipeline: Pipeline) -> dict[str, bytes]:
    """Everything that the future depends on, as parts: one for the shell, one per deployment."""
    core = pipeline.core
    shell = {
        "format": FORMAT,
        "vocabulary": pipeline.vocabulary,
        "positions": pipeline.positions,
        "clocks": {name: (clock.now_ms, clock.held) for name, clock in pipeline.clocks.items()},
        "expected": sorted(pipeline.watermark.clocks),
        "low_ms": pipeline.watermark.low_ms,
        "idle": sorted(pipeline.watermark.idle),
        "edge_ms": core.edge_ms,
        "ticks": core.ticks,
        "orphans": core.orphans.arrays(),
        "set_aside": [(aside.reason, aside.positions) for aside in core.set_aside],
    }
    parts = {"shell": CODEC.encode(shell)}
    for watched in core.watched.values():
        if isinstance(watched, Watched):
            parts[f"deployment/{watched.config.name}"] = CODEC.encode(_deployment(watched))
        elif isinstance(watched, Tally):
            parts[f"deployment/{watched.config.name}"] = CODEC.encode(_counting(watched))
    return parts


def restore(pipeline: Pipeline, parts: Mapping[str, bytes]) -> list[str]:
    """Go on from a snapshot; returns the deployments that must start anew, because what they count has changed."""
    shell = CODEC.decode(parts["shell"])
    if shell["format"] not in READ:
        raise StateError(f"state of format {shell['format']}, this version reads {READ[0]} to {FORMAT}")
    _restore_shell(pipeline, shell)
    anew = []
    for watched in pipeline.core.watched.values():
        data = parts.get(f"deployment/{watched.config.name}")
        if not isinstance(watched, Watched | Tally) or data is None:
            continue
        state = CODEC.decode(data)
        if state["grid"] == _grid(watched):
            _restore_joining(watched.joining, state)
            if isinstance(watched, Watched):
                _restore_deployment(watched, state)
        else:
            anew.append(watched.config.name)
    return anew


def _restore_shell(pipeline: Pipeline, shell: dict[str, Any]) -> None:
    core = pipeline.core
    here = _adopt_vocabulary(pipeline.vocabulary, shell["vocabulary"])
    pipeline.positions.update(shell["positions"])
    for name, (now_ms, held) in shell["clocks"].items():
        pipeline.clocks[name] = PartitionClock(pipeline.limits, now_ms, held)
    # Also one that was not heard yet; those that are not expected are somebody else's by now.
    for name in shell.get("expected", shell["clocks"]):
        pipeline.watermark.expect(name, pipeline.clock_of(name))
    pipeline.watermark.low_ms = shell["low_ms"]
    pipeline.watermark.idle.update(shell["idle"])
    core.edge_ms = shell["edge_ms"]
    core.ticks.update({start: _moved(tick, here) for start, tick in shell["ticks"].items()})
    core.set_aside = [SetAside(Reason(reason), positions) for reason, positions in shell["set_aside"]]
    core.orphans.restore(shell["orphans"])


def _adopt_vocabulary(mine: Vocabulary, saved: Vocabulary) -> dict[int, int]:
    """Saved codes win: they stand in the saved state; labels that only the new baseline knows come after.

    Deployments alone keep the order of the config; returns where each saved one stands now.
    """
    mine.policies, mine.metrics, mine.segments = saved.policies, saved.metrics, saved.segments
    mine.stages = _in_keys(saved.stages)
    mine.partitions = saved.partitions
    here = {
        code: mine.deployments.codes[name]
        for name, code in saved.deployments.codes.items()
        if name in mine.deployments.codes
    }
    for then, now in here.items():
        if then in saved.actions:
            mine.actions[now] = _extended(saved.actions[then], mine.actions.get(now))
        if then in saved.segment_values:
            mine.segment_values[now] = _extended(saved.segment_values[then], mine.segment_values.get(now))
        for fixed, was in ((mine.state_width, saved.state_width), (mine.action_width, saved.action_width)):
            if then in was:
                fixed.setdefault(now, was[then])
    for key, labels in saved.names.items():
        what, _, then_text = key.partition("/")
        if not then_text or int(then_text) in here:
            name = f"{what}/{here[int(then_text)]}" if then_text else what
            mine.names[name] = _extended(labels, mine.names.get(name))
    return here


def _in_keys(saved: Labels) -> Labels:
    """Stages of a version that told one more apart than a key can hold: its last one stands for all others."""
    names = saved.names[:STAGES]
    if len(saved.names) >= STAGES:
        names[-1] = OTHER
    return Labels(STAGES - 1, names, {name: code for code, name in enumerate(names)}, saved.dropped)


def _extended(saved: Labels, mine: Labels | None) -> Labels:
    saved.extend(mine.names if mine is not None else ())
    return saved


def _moved(tick: Tick, here: Mapping[int, int]) -> Tick:
    """A tick whose deployments stand where the config has them now; those that are gone leave it."""
    decisions = {here[code]: parts for code, parts in tick.decisions.items() if code in here}
    metrics = [
        replace(known, deployment=np.array([here[code] for code in known.deployment.tolist()], np.int32))
        for batch in tick.metrics
        if len(known := take(batch, np.isin(batch.deployment, list(here))))
    ]
    return Tick(decisions, tick.rewards, metrics)


def counted_as(watched: Watched | Tally) -> str:
    """Hash of what a deployment's counts mean: those of daemons that differ in it cannot be added up."""
    versions = [[spec.name, spec.version] for spec in REGISTRY]
    said = repr([_grid(watched), watched.config.metrics, versions]).encode()
    return hashlib.blake2b(said, digest_size=8).hexdigest()


def _grid(watched: Watched | Tally) -> list[Any]:
    """What a deployment's counts mean: with any of this changed they cannot be added to."""
    c = watched.config
    names = [sorted(c.costs), list(c.components)]
    return [c.bucket_ms, c.reward_horizon_ms, c.combine, c.returns, c.n_step, c.gamma, *names, c.missing_reward,
            watched.baseline]  # fmt: skip


def _counting(watched: Watched | Tally) -> dict[str, Any]:
    joining = watched.joining
    return {
        "grid": _grid(watched),
        "table": joining.table.arrays(),
        "book": joining.book.state() if joining.book is not None else None,
        "piles": joining.piles,
    }


def _deployment(watched: Watched) -> dict[str, Any]:
    windows, judge = watched.windows, watched.judge
    return {
        **_counting(watched),
        "buckets": windows.buckets,
        "last_seen": windows.last_seen_ms,
        "alerts": judge.alerts,
        "told": judge.told,
        "streaks": judge.streaks,
        "incidents": judge.incidents,
        "muted": judge.muted,
        "listed": judge.listed,
        "actions": judge.actions,
        "slow_changes": watched.slow_changes.state(),
        "sequential": watched.sequential.states,
        "blindness": watched.blindness.state(),
        "loops": watched.loops.open,
        "safe": watched.loops.safe_ms,
        "candidates": watched.candidates.state(),
        "crowded_out": watched.crowded_out,
        "sealed": watched.sealed_buckets,
    }


def _restore_joining(joining: Joining, state: dict[str, Any]) -> None:
    joining.table.restore(state["table"])
    if joining.book is not None:
        joining.book.restore(state["book"])
    joining.piles = state["piles"]


def _restore_deployment(watched: Watched, state: dict[str, Any]) -> None:
    windows, judge = watched.windows, watched.judge
    known = {spec.name for spec in windows.specs}
    windows.buckets = {
        key: {name: mine.get(name, {}) for name in sorted(known)} for key, mine in state["buckets"].items()
    }
    windows.last_seen_ms = state["last_seen"]
    judge.alerts = {name: _alert(alert) for name, alert in state["alerts"].items()}
    judge.told = {name: Kind(kind) for name, kind in state["told"].items()}
    judge.streaks = state["streaks"]
    judge.incidents = state["incidents"]
    judge.muted = {name: Kind(kind) for name, kind in state.get("muted", {}).items()}
    judge.listed = state.get("listed", {})
    judge.actions = state.get("actions", {})
    watched.slow_changes.restore(state["slow_changes"])
    watched.sequential.restore(state.get("sequential", {}))
    watched.loops.open = state.get("loops", {})
    watched.loops.safe_ms = state.get("safe", {})
    watched.blindness.restore(state.get("blindness", {}))
    if "candidates" in state:
        watched.candidates.restore(state["candidates"])
    watched.crowded_out = state.get("crowded_out", 0)
    watched.sealed_buckets = state["sealed"]


def _alert(saved: Alert) -> Alert:
    return Alert(AlertState(saved.state), saved.since_ms, saved.fired_ms, saved.clear_seals)
