"""Whether the alert behind a signal fires now, as the state in hand has it."""

from alerts.life import AlertState
from alerts.signal import Signal
from monitor.judging.watched import Watched
from monitor.pipeline import Pipeline
from monitor.sharding.merger import Merger
from monitor.vigil import Vigil


def fires(pipeline: Pipeline | Merger, vigil: Vigil | None, signal: Signal) -> bool:
    """True while what the signal says still holds."""
    if vigil is not None and (signal.deployment, signal.rule) in vigil.alerts:
        return True
    return any(
        _in(watched, signal)
        for watched in pipeline.core.watched.values()
        if isinstance(watched, Watched) and watched.config.name == signal.deployment
    )


def _in(watched: Watched, signal: Signal) -> bool:
    judge, key = watched.judge, (signal.policy, signal.subject)
    if signal.hard:
        return key in judge.incidents and bool(judge.incidents[key].open)
    alert = judge.alerts.get((signal.rule, *key)) or watched.blindness.alerts.get(signal.rule)
    if alert is not None and alert.state is AlertState.FIRING:
        return True
    return signal.rule == "closed_loop" and any(
        (loop.policy, loop.stage) == key and loop.missed for loop in watched.loops.open.values()
    )
