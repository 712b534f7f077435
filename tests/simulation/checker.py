"""What must hold of every run, whatever went wrong in it, beside the run in which nothing did."""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from msgspec.structs import replace

from alerts.signal import parse
from monitor.persistence.checkpoint import FILE_NAME
from tests.simulation.digest import differences
from tests.simulation.history import History
from tests.simulation.logs import Logs
from tests.simulation.process import BY_WALL_CLOCK
from tests.simulation.receivers import Site

LOST_WITH_REASON = {"expired", "superseded"}


def faults(run: History, undisturbed: History) -> list[str]:
    """Every promise that the run broke, in words; none when it kept all."""
    found = [*run.said.faults, *_counted(run, undisturbed), *_signals(run, undisturbed)]
    for at, site in enumerate(run.sites):
        found += _received(run, site, f"webhook-{at + 1}")
    return found + list(_state(run, undisturbed))


def miscounted(run: History, logs: Logs) -> list[str]:
    """What the log itself says of the run beside which the others stand: each decision is counted once or set aside."""
    aside = {(partition, offset) for _, partition, offset in run.said.rejected}
    kept = Counter(
        json.loads(record.value)["decision_id"]
        for partition, records in logs.items()
        if partition.topic == "decisions"
        for record in records
        if (f"{partition.topic}/{partition.partition}", record.offset) not in aside
    )
    counted = sum(decisions for decisions, _ in run.said.sealed.values())
    twice = [name for name, times in kept.items() if times > 1]
    found = [f"decisions {twice} were counted more than once"] if twice else []
    return found + ([f"{counted} decisions counted of {len(kept)}"] if counted != len(kept) else [])


def _counted(run: History, undisturbed: History) -> Iterator[str]:
    """Every decision in its bucket, once; every measurement and every rejected record the same."""
    expected = undisturbed.said.sealed
    for key in sorted({*expected, *run.said.sealed}):
        if run.said.sealed.get(key) != expected.get(key):
            found, wanted = (sealed.get(key, (None, ()))[0] for sealed in (run.said.sealed, expected))
            yield f"bucket {key}: {found} decisions, {wanted} expected, or other measurements"
    for one in sorted(run.said.rejected ^ undisturbed.said.rejected):
        yield f"rejected in one run only: {one}"


def _signals(run: History, undisturbed: History) -> Iterator[str]:
    """The same signals, to the byte."""
    expected = undisturbed.said.signals
    committed = _committed(run)
    for name in sorted((committed - {*expected}) | ({*expected} - committed - _withheld(run))):
        yield f"signal {name} in one run only"
    for name, wire in run.said.signals.items():
        if expected.get(name, wire) != wire:
            yield f"signal {name} says something else"


def _state(run: History, undisturbed: History) -> Iterator[str]:
    yield from list(differences(run.state_at_the_end, undisturbed.state_at_the_end, "state"))[:5]


def _received(run: History, site: Site, receiver: str) -> Iterator[str]:
    """Each signal at least once, in order; acted on once where it asks for that; each try with the same bytes."""
    came = {heard.id: heard for heard in reversed(site.heard)}  # for the first time
    first = list(dict.fromkeys(heard.id for heard in site.heard))
    for name in first:
        if parse(came[name].body).safety and came[name].verdict != "applied":
            yield f"{receiver}: safety signal {name} was refused: {came[name].verdict}"
    endings = _endings(run, receiver)
    for name in endings:
        if name not in first and endings.get(name) not in LOST_WITH_REASON:
            yield f"{receiver}: signal {name} never arrived; it ended as {endings.get(name)}"
    for name in first:
        if name not in endings:
            yield f"{receiver}: {name} arrived, and was never committed"
    acted = Counter(heard.id for heard in site.heard if heard.verdict == "applied")
    for name, times in acted.items():
        if times > 1:
            yield f"{receiver}: signal {name} took effect {times} times"
    yield from _bytes(run, site, receiver)
    yield from _order(run, site, receiver, first)


def _bytes(run: History, site: Site, receiver: str) -> Iterator[str]:
    """An id is the same bytes each time, but where the closed loop or the audit log says that it was sent anew:

    with a later life, and nothing else.
    """
    last: dict[str, bytes] = {}
    for heard in site.heard:
        before = last.setdefault(heard.id, heard.body)
        if heard.body == before:
            continue
        old, new = parse(before), parse(heard.body)
        fresh = replace(old, generation=new.generation, expires_at_ms=new.expires_at_ms, reason=new.reason)
        later = new.generation >= old.generation and (new.expires_at_ms or 0) > (old.expires_at_ms or 0)
        allowed = heard.id in run.said.renewed or heard.id in _withheld(run)
        if not (fresh == new and later and new.reason.startswith(old.reason) and allowed):
            yield f"{receiver}: signal {heard.id} was sent again with other bytes"
        last[heard.id] = heard.body


def _order(run: History, site: Site, receiver: str, first: list[str]) -> Iterator[str]:
    """First arrivals of a deployment come in the order of the outbox; only a safety signal may pass a failed page."""
    places = _places(run, receiver)
    signals = {heard.id: parse(heard.body) for heard in site.heard}
    for deployment in {heard.deployment for heard in site.heard}:
        mine = [name for name in first if name in places and signals[name].deployment == deployment]
        for at, name in enumerate(mine):
            passed = [other for other in mine[at + 1 :] if places[other] < places[name]]
            if passed and not signals[name].safety:
                yield f"{receiver}: {name} arrived before {passed}"


def _committed(run: History) -> set[str]:
    """What stands in the outbox; a death right after the commit leaves no other trace of it.

    But for what only a wall clock notices, such as that nothing came while the broker was away.
    """
    with closing(sqlite3.connect(run.state / FILE_NAME)) as conn:
        rows = conn.execute("SELECT DISTINCT signal_id, alert_key FROM outbox").fetchall()
    return {name for name, alert in rows if not BY_WALL_CLOCK & set(alert.split("/"))}


def _withheld(run: History) -> set[str]:
    """Signals of the log that the desk did not send, and wrote down why: what they say was long over."""
    with closing(sqlite3.connect(run.state / FILE_NAME)) as conn:
        told = " ".join(str(row) for row in conn.execute("SELECT * FROM audit"))
    return set(re.findall(r"sig_[0-9a-f]+", told))


def _endings(run: History, receiver: str) -> dict[str, str]:
    return dict(_rows(run, "SELECT signal_id, ending FROM outbox WHERE receiver = ?", receiver))


def _places(run: History, receiver: str) -> dict[str, int]:
    return dict(_rows(run, "SELECT signal_id, seq FROM outbox WHERE receiver = ?", receiver))


def _rows(run: History, query: str, receiver: str) -> list[tuple[str, Any]]:
    with closing(sqlite3.connect(run.state / FILE_NAME)) as conn:
        return conn.execute(query, (receiver,)).fetchall()
