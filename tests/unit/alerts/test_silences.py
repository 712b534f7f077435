"""Pages that nobody wants now, and what is told when that is over."""

import pytest

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


@pytest.mark.parametrize("by_hand", [True, False])
def test_what_is_told_after_its_silence_is_refused_by_no_receiver_as_old_or_expired(by_hand: bool) -> None:
    """A hold that a serving layer must know of: a fallback has gone out since, and its hour was over in silence."""
    desk = Desk()
    made = silence(desk, minutes=120, rule="critic")
    hold = page(kind="hold")
    desk.take([hold], at(1))
    desk.take([fallback(generation=at(60).edge_ms * 1_000)], at(60))
    (fired,) = desk.leaving().signals
    desk.left()
    if by_hand:
        desk.obey(Command("unsilence", "ann", target=made.id), at(119))
    desk.tick(at(121))
    (said,) = desk.leaving().signals
    assert said.id == hold.id
    assert said.generation > fired.generation
    assert said.expires_at_ms is not None
    assert said.expires_at_ms > at(121).now_ms
