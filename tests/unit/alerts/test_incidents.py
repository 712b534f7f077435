"""Hard violations as incidents: one event opens one, quiet closes it, and the polls do not matter."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from alerts.incidents import Incident, Incidents, settle, witness

QUIET = 100


def witnessed(*times: int) -> tuple[Incidents, list[Incident]]:
    incidents, opened = Incidents(), []
    for ts in times:
        incidents, new = witness(incidents, ts, QUIET)
        opened += [new] if new else []
    return incidents, opened


def test_violations_close_together_are_one_incident() -> None:
    incidents, opened = witnessed(1_000, 1_050, 1_149)
    assert len(opened) == 1
    (incident,) = incidents.open
    assert (incident.first_ms, incident.last_ms, incident.events) == (1_000, 1_149, 3)


def test_a_violation_after_the_quiet_time_is_an_incident_of_its_own() -> None:
    for later in (1_100, 1_101):
        _, opened = witnessed(1_000, later)
        assert len({incident.opened_ms for incident in opened}) == 2


def test_the_seal_that_ends_an_incident_may_come_before_or_after_the_next_violation_is_read() -> None:
    """A poll that reads ahead must not make one incident of two."""
    (read_first, _), (sealed_first, _) = witnessed(1_000, 1_100), witnessed(1_000)
    read_first, ended = settle(read_first, 1_100, QUIET)
    sealed_first, ended_before = settle(sealed_first, 1_100, QUIET)
    sealed_first, _ = witness(sealed_first, 1_100, QUIET)
    assert (read_first, ended) == (sealed_first, ended_before)


def test_an_incident_ends_when_it_has_been_quiet_long_enough() -> None:
    incidents, _ = witnessed(1_000, 1_050)
    still, ended = settle(incidents, 1_149, QUIET)
    assert (still, ended) == (incidents, [])
    still, ended = settle(incidents, 1_150, QUIET)
    assert still == Incidents()
    assert [incident.events for incident in ended] == [2]


def test_only_the_quiet_ones_of_several_incidents_end() -> None:
    incidents, _ = witnessed(1_000, 1_500)
    still, ended = settle(incidents, 1_200, QUIET)
    assert [incident.last_ms for incident in still.open] == [1_500]
    assert [incident.last_ms for incident in ended] == [1_000]


def test_two_partitions_read_in_another_order_name_an_incident_alike() -> None:
    (_, forwards), (_, backwards) = witnessed(1_010, 1_050), witnessed(1_050, 1_010)
    assert [i.opened_ms for i in forwards] == [i.opened_ms for i in backwards]


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=40))
def test_incidents_in_order_of_time_are_as_many_as_there_are_gaps(times: list[int]) -> None:
    ordered = sorted(times)
    _, opened = witnessed(*ordered)
    gaps = sum(b - a >= QUIET for a, b in pairwise(ordered))
    assert len(opened) == len({incident.opened_ms for incident in opened}) == 1 + gaps


@given(st.lists(st.integers(0, 5_000), max_size=40))
def test_no_violation_is_lost_whatever_the_order(times: list[int]) -> None:
    incidents, _ = witnessed(*times)
    assert sum(incident.events for incident in incidents.open) == len(times)
    _, ended = settle(incidents, 10_000, QUIET)
    assert len(ended) == len(incidents.open)
