"""Said before the daemon leaves because the broker has deleted what its state goes on from."""

from alerts.holds import LAST_TICK, HoldOrder, hold_signal
from alerts.signal import Signal
from monitor.daemon import Daemon

RULE = "blind.offsets_gone"


def say_lost(daemon: Daemon, reason: str) -> list[Signal]:
    """One hold per deployment, saved and on its way; its id is the same at every restart, so it is said once."""
    core, now_ms = daemon.pipeline.core, daemon.clock.now_ms()
    opened_ms = core.edge_ms or 0
    said = f"{reason}. Nothing is judged any more and the rollout is held, until a person accepts the gap"
    signals = [
        hold_signal(
            watched.config.name,
            daemon.pipeline.limits.lateness_ms,
            HoldOrder(
                RULE,
                "firing",
                f"{watched.config.name}: {said}.",
                opened_ms,
                now_ms,
                LAST_TICK,
                clock_ms=opened_ms,
            ),
            watched.config.dry_run,
        )
        for watched in core.watched.values()
    ]
    daemon.unsent += signals
    daemon.save()
    return signals
