"""Pages that nobody wants now, and what is told when that is over."""

from alerts.desk import Desk
from alerts.desk_terms import Command
from tests.unit.alerts.build import NOW_MS
from tests.unit.alerts.desks import CRITIC, FIRED, MINUTE, RESOLVED, at, ended, fallback, out, page, silence


def test_a_silence_stops_pages_and_never_a_safety_signal() -> None:
    desk = Desk()
    assert silence(desk, deployment="home-ranker").status == 200
    desk.take([page(), fallback(), fallback(id="r", kind="rollback", rule="canary")], at(1))
    assert out(desk) == [FIRED, ("canary", "rollback", "firing")]
    desk.take([ended(page()), ended(fallback())], at(2))
    assert out(desk) == [RESOLVED]


def test_what_a_silence_does_not_match_is_told() -> None:
    desk = Desk()
    silence(desk, deployment="home-ranker", rule="latency")
    desk.take([page()], at(1))
    assert out(desk) == [CRITIC]


def test_a_page_that_still_fires_when_its_silence_ends_is_told_then() -> None:
    desk = Desk()
    silence(desk, minutes=30, rule="critic")
    silence(desk, minutes=60, policy="v42")
    desk.take([page(), page(id="over", rule="actions")], at(1))
    desk.take([ended(page(id="over", rule="actions"))], at(2))
    desk.tick(at(31))
    assert out(desk) == []
    desk.tick(at(61))
    assert out(desk) == [CRITIC]


def test_the_end_of_what_was_shown_goes_out_though_its_escalation_was_silenced() -> None:
    """Or a pager would show for ever what is over."""
    desk = Desk()
    desk.take([page()], at())
    silence(desk, rule="critic")
    desk.take([page(id="escalated")], at(1))
    desk.take([ended(page(time_ms=NOW_MS + MINUTE))], at(2))
    assert out(desk) == [CRITIC, ("critic", "page", "resolved")]
    assert (desk.silencing.quieted, desk.silencing.shown) == ({}, {})


def test_a_silence_ended_by_hand_ends_at_once() -> None:
    desk = Desk()
    made = silence(desk, rule="critic")
    desk.take([page()], at(1))
    assert desk.obey(Command("unsilence", "ann", target=made.id), at(2)).status == 200
    assert out(desk) == [CRITIC]
    assert desk.obey(Command("unsilence", "ann", target=made.id), at(2)).status == 404
