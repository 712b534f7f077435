"""Said after a state file had to be set aside: what of it goes on, and what nobody can know any more."""

from alerts.holds import LAST_TICK, HoldOrder, hold_signal
from alerts.signal import parse
from monitor.checkpoint import Damage
from monitor.daemon import Daemon

RULE = "state.damaged"


def say_damaged(daemon: Daemon, damage: Damage) -> None:
    """One page per deployment, and every safety signal that fires once more under its id: its row may be lost."""
    core, now_ms = daemon.pipeline.core, daemon.clock.now_ms()
    daemon.again += [signal for signal in map(parse, daemon.desk.opened.open.values()) if signal.safety]
    daemon.unsent += [
        hold_signal(
            watched.config.name,
            daemon.pipeline.limits.lateness_ms,
            HoldOrder(
                RULE,
                "firing",
                f"{watched.config.name}: {told(damage)}.",
                damage.at_ms,
                now_ms,
                LAST_TICK,
                kind="page",
                clock_ms=core.edge_ms or 0,
            ),
            watched.config.dry_run,
        )
        for watched in core.watched.values()
    ]


def told(damage: Damage) -> str:
    """What happened, in a sentence or two."""
    rows = ", ".join(f"{n:,} of {table}" for table, n in damage.rows.items() if n)
    begin = (
        f"generation {damage.generation} of it goes on and the log is read again from there"
        if damage.generation
        else "no state in it was sound, so the log is read from where the config says; what was pending is lost"
    )
    return (
        f"the state file was damaged ({damage.why}) and set aside as {damage.moved_to}; {begin}. "
        f"Rows that could be read: {rows or 'none'}. Others are lost: signals that had not arrived and records of the "
        f"audit log may be among them"
    )
