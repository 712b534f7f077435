"""A desk, signals for it, and what leaves it, for the tests of the desk and its nouns."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace as changed

from alerts.desk import Desk
from alerts.desk_terms import Command, Moment, Reply, Terms
from alerts.signal import Signal
from tests.unit.alerts.build import NOW_MS, signal

MINUTE, HOUR = 60_000, 3_600_000
TERMS = {"home-ranker": Terms(frozenset({"reward", "constraint"}), 10 * MINUTE, "drop", 5_000)}
FIRED, RESOLVED = ("reward", "fallback", "firing"), ("reward", "fallback", "resolved")
CRITIC = ("critic", "page", "firing")


def at(
    minutes: float = 0.0,
    *,
    catching_up: bool = False,
    fires: Callable[[Signal], bool] = lambda signal: True,
    set_ms: int = 0,
) -> Moment:
    now_ms = NOW_MS + int(minutes * MINUTE)
    return Moment(now_ms + set_ms, now_ms, catching_up, fires, set_ms)


def page(**changes: Any) -> Signal:
    made = {"id": "sig_page", "kind": "page", "rule": "critic", "subject": "full", "to_policy": None}
    return changed(signal(), **(made | changes))


def fallback(**changes: Any) -> Signal:
    return changed(signal(subject="full"), **changes)


def ended(of: Signal) -> Signal:
    return changed(of, state="resolved", id=of.id + "_end", reason="Clear.")


def out(desk: Desk) -> list[tuple[str, str, str]]:
    """What leaves, by rule, kind and state; and it is gone then."""
    signals = desk.leaving().signals
    desk.left()
    return [(s.rule, s.kind, s.state) for s in signals]


def noted(desk: Desk) -> list[tuple[str, str]]:
    return [(record.what, record.who) for record in desk.tray.records]


def silence(desk: Desk, minutes: int = 60, moment: Moment | None = None, **matchers: str) -> Reply:
    command = Command("silence", "ann", "deploying", "", matchers, minutes * MINUTE)
    return desk.obey(command, moment or at())
