"""A receiver that is down for ten minutes, in twenty simulated ones with a bad spell before, in and after them."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from alerts.signal import Signal, parse
from monitor.persistence.checkpoint import FILE_NAME
from tests.integration.traffic import START_MS
from tests.simulation import checker
from tests.simulation.faults import Fault
from tests.simulation.history import History, Run
from tests.simulation.logs import LONG
from tests.simulation.receivers import Heard
from tests.simulation.seeds import undisturbed

MINUTE_MS = 60_000
DOWN_MS, UP_MS = 5 * MINUTE_MS, 15 * MINUTE_MS
DOWN, WELL = 0, 1  # sites


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    outage = Fault("refused", DOWN_MS, UP_MS - DOWN_MS, DOWN)
    played = Run(tmp_path_factory.mktemp("down") / "run", LONG.name, 0, 7, [outage])
    yield played.play()
    played.disk.forget()


def first(run: History, site: int) -> dict[str, Heard]:
    """Each signal as it came for the first time."""
    found: dict[str, Heard] = {}
    for heard in run.sites[site].heard:
        found.setdefault(heard.id, heard)
    return found


def since_start(heard: Heard) -> float:
    return heard.ms - START_MS


def told(heard: Heard) -> Signal:
    return parse(heard.body)


def while_down(run: History) -> dict[str, Heard]:
    """What the other receiver got in those ten minutes."""
    return {name: one for name, one in first(run, WELL).items() if DOWN_MS <= since_start(one) < UP_MS}


def test_everything_arrives_in_order_under_its_own_id_with_one_effect(run: History) -> None:
    assert checker.faults(run, undisturbed(LONG.name, 0)) == []
    safety = [one for one in first(run, WELL).values() if told(one).safety]
    spells = Counter((since_start(one) >= DOWN_MS) + (since_start(one) >= UP_MS) for one in safety)
    assert min(spells[spell] for spell in range(3)) >= 1  # raised before, while it is down, and after
    down, well = (
        Counter(heard.id for heard in run.sites[site].heard if heard.verdict == "applied")
        for site in (DOWN, WELL)
    )
    assert down == well == Counter(one.id for one in safety)


def test_what_waited_comes_within_the_minute_after(run: History) -> None:
    down = first(run, DOWN)
    assert not [one for one in down.values() if DOWN_MS <= since_start(one) < UP_MS]
    waited = [since_start(down[name]) for name, one in while_down(run).items() if told(one).safety]
    assert waited
    assert min(waited) >= UP_MS
    assert max(waited) <= UP_MS + 1.1 * MINUTE_MS + 1_000


def test_person_is_told_once_after_a_minute_and_once_that_it_arrived(run: History) -> None:
    late = [one for one in while_down(run).values() if told(one).safety]
    assert len(late) > len({told(one).policy for one in late}) == 1  # two about one policy
    said = [one for one in run.sites[WELL].heard if told(one).rule == "delivery.overdue"]
    assert [told(one).state for one in said] == ["firing", "resolved"]
    assert since_start(said[0]) - since_start(late[0]) == pytest.approx(MINUTE_MS, abs=2_000)
    assert "has not arrived at webhook-1 for 1.0" in told(said[0]).reason
    assert since_start(said[1]) >= max(since_start(first(run, DOWN)[one.id]) for one in late)


def test_other_receiver_and_stream_are_not_slowed(run: History) -> None:
    assert max(run.said.lag_ms) <= max(undisturbed(LONG.name, 0).said.lag_ms) + 1_000
    usual = {one.id: one.ms for one in undisturbed(LONG.name, 0).sites[WELL].heard}
    late_ms = [one.ms - usual[name] for name, one in first(run, WELL).items() if name in usual]
    assert len(late_ms) >= 10
    assert max(late_ms) <= 1_000


def test_queue_and_tries_are_bounded(run: History) -> None:
    """One row a signal and receiver; one signal at a time is tried, fast at first, then by the minute."""
    with closing(sqlite3.connect(run.state / FILE_NAME)) as conn:
        rows = conn.execute(
            "SELECT receiver, ending, safety, count(*) FROM outbox GROUP BY 1, 2, 3"
        ).fetchall()
    sizes = Counter[str]()
    for receiver, ending, safety, count in rows:
        sizes[receiver] += count
        assert ending == "delivered" or (
            ending == "superseded" and not safety
        )  # a page that has become stale
    assert set(sizes.values()) == {len(first(run, WELL))}
    failed = run.sites[DOWN].attempts - len(run.sites[DOWN].heard)
    assert 10 <= failed <= 20
