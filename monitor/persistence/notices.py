"""What the daemon says of its own state to every deployment: its file was damaged, or the broker has lost its place."""

from alerts.holds import LAST_TICK, HoldOrder, hold_signal
from alerts.signal import Kind, Signal, parse
from monitor.daemon import Daemon
from monitor.persistence.checkpoint import Damage


def say_damaged(daemon: Daemon, damage: Damage) -> None:
    """One page per deployment, and every safety signal that fires once more under its id: its row may be lost.

    With a fresh life: a receiver that missed it may have newer ones, and would refuse it as old.
    """
    moment, desk = daemon.moment(), daemon.desk
    for signal in map(parse, desk.opened.open.values()):
        if not signal.safety or desk.withholds(signal):
            continue
        daemon.again.append(desk.own.fresh(signal, moment))
        desk.tray.note(moment, "sent_anew", {"signal": signal.id, "why": "the state file was damaged"})
    daemon.unsent += _to_all(daemon, "state.damaged", told(damage), damage.at_ms, "page")


def say_lost(daemon: Daemon, reason: str) -> list[Signal]:
    """One hold per deployment, saved and on its way; its id is the same at every restart, so it is said once."""
    said = f"{reason}. Nothing is judged any more and the rollout is held, until a person accepts the gap"
    signals = _to_all(daemon, "blind.offsets_gone", said, daemon.pipeline.core.edge_ms or 0, "hold")
    daemon.unsent += signals
    daemon.save()
    return signals


def told(damage: Damage) -> str:
    """What happened to the state file, in a sentence or two."""
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


def _to_all(daemon: Daemon, rule: str, said: str, opened_ms: int, kind: Kind) -> list[Signal]:
    """The same words to every deployment; opened_ms names the incident."""
    clock_ms, now_ms = daemon.pipeline.core.edge_ms or 0, daemon.clock.now_ms()
    return [
        hold_signal(
            watched.config.name,
            daemon.pipeline.limits.lateness_ms,
            HoldOrder(
                rule, "firing", f"{watched.config.name}: {said}.", opened_ms, now_ms, LAST_TICK, kind=kind,
                clock_ms=clock_ms,
            ),
            watched.config.dry_run,
        )
        for watched in daemon.pipeline.core.watched.values()
    ]  # fmt: skip
