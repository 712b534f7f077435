"""The pipeline's memory as named parts, and back: what a checkpoint holds and a restart or reload goes on from."""

from collections.abc import Mapping
from typing import Any

from alerts.incidents import Incident, Incidents
from alerts.life import Alert, AlertState
from alerts.rules import Kind
from detectors.registry import REGISTRY
from monitor.batch import DecisionBatch, MetricBatch, RewardBatch
from monitor.codec import Codec
from monitor.core import Tick
from monitor.episodes import EndedEpisodes, Targets
from monitor.event_time import HeldEvent, PartitionClock
from monitor.joining import Arrived, Piles, Unrewarded
from monitor.pipeline import Pipeline
from monitor.vocabulary import Labels, Vocabulary
from monitor.watched import Watched

FORMAT = 1

CODEC = Codec(
    [Alert, Arrived, DecisionBatch, EndedEpisodes, HeldEvent, Incident, Incidents, Labels, MetricBatch, Piles,
     RewardBatch, Targets, Tick, Unrewarded, Vocabulary, *(spec.statistic for spec in REGISTRY)]
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
    }
    parts = {"shell": CODEC.encode(shell)}
    for watched in core.watched.values():
        if isinstance(watched, Watched):
            parts[f"deployment/{watched.config.name}"] = CODEC.encode(_deployment(watched))
    return parts


def restore(pipeline: Pipeline, parts: Mapping[str, bytes]) -> list[str]:
    """Go on from a snapshot; returns the deployments that must start anew, because what they count has changed."""
    shell = CODEC.decode(parts["shell"])
    if shell["format"] != FORMAT:
        raise StateError(f"state of format {shell['format']}, this version reads {FORMAT}")
    _restore_shell(pipeline, shell)
    anew = []
    for watched in pipeline.core.watched.values():
        data = parts.get(f"deployment/{watched.config.name}")
        if not isinstance(watched, Watched) or data is None:
            continue
        state = CODEC.decode(data)
        if state["grid"] == _grid(watched):
            _restore_deployment(watched, state)
        else:
            anew.append(watched.config.name)
    return anew


def _restore_shell(pipeline: Pipeline, shell: dict[str, Any]) -> None:
    core = pipeline.core
    _adopt_vocabulary(pipeline.vocabulary, shell["vocabulary"])
    pipeline.positions.update(shell["positions"])
    for name, (now_ms, held) in shell["clocks"].items():
        pipeline.clocks[name] = PartitionClock(pipeline.limits, now_ms, held)
        if name in shell.get("expected", shell["clocks"]):  # others went to another member of the group
            pipeline.watermark.clocks[name] = now_ms
    pipeline.watermark.low_ms = shell["low_ms"]
    pipeline.watermark.idle.update(shell["idle"])
    core.edge_ms = shell["edge_ms"]
    core.ticks.update(shell["ticks"])
    core.orphans.restore(shell["orphans"])


def _adopt_vocabulary(mine: Vocabulary, saved: Vocabulary) -> None:
    """Saved codes win: they stand in the saved state; labels that only the new baseline knows come after."""
    mine.policies, mine.stages, mine.metrics, mine.segments = (
        saved.policies,
        saved.stages,
        saved.metrics,
        saved.segments,
    )
    mine.partitions = saved.partitions
    for name, code in saved.deployments.codes.items():
        if code in saved.actions and name in mine.deployments.codes:
            here = mine.deployments.codes[name]
            fresh = mine.actions.get(here, Labels(mine.action_limit)).names
            mine.actions[here] = saved.actions[code]
            mine.actions[here].extend(fresh)
        if code in saved.state_width and name in mine.deployments.codes:
            mine.state_width.setdefault(mine.deployments.codes[name], saved.state_width[code])


def _grid(watched: Watched) -> list[Any]:
    """What a deployment's counts mean: with any of this changed they cannot be added to."""
    c = watched.config
    names = [sorted(c.costs), list(c.components)]
    return [c.bucket_ms, c.reward_horizon_ms, c.combine, c.returns, c.n_step, c.gamma, *names, c.missing_reward,
            watched.judge.mandate.baseline or ""]  # fmt: skip


def _deployment(watched: Watched) -> dict[str, Any]:
    joining, windows, judge = watched.joining, watched.windows, watched.judge
    return {
        "grid": _grid(watched),
        "table": joining.table.arrays(),
        "book": joining.book.state() if joining.book is not None else None,
        "piles": joining.piles,
        "buckets": windows.buckets,
        "last_seen": windows.last_seen_ms,
        "alerts": judge.alerts,
        "told": judge.told,
        "streaks": judge.streaks,
        "incidents": judge.incidents,
        "slow_changes": watched.slow_changes.state(),
        "sealed": watched.sealed_buckets,
    }


def _restore_deployment(watched: Watched, state: dict[str, Any]) -> None:
    joining, windows, judge = watched.joining, watched.windows, watched.judge
    joining.table.restore(state["table"])
    if joining.book is not None:
        joining.book.restore(state["book"])
    joining.piles = state["piles"]
    known = {spec.name for spec in windows.specs}
    windows.buckets = {
        key: {name: mine.get(name, {}) for name in sorted(known)} for key, mine in state["buckets"].items()
    }
    windows.last_seen_ms = state["last_seen"]
    judge.alerts = {name: _alert(alert) for name, alert in state["alerts"].items()}
    judge.told = {name: Kind(kind) for name, kind in state["told"].items()}
    judge.streaks = state["streaks"]
    judge.incidents = state["incidents"]
    watched.slow_changes.restore(state["slow_changes"])
    watched.sealed_buckets = state["sealed"]


def _alert(saved: Alert) -> Alert:
    return Alert(AlertState(saved.state), saved.since_ms, saved.fired_ms, saved.clear_seals)
