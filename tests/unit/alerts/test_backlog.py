"""Catching up: what is too old is looked at again before anything of it is sent."""

from msgspec.structs import replace as changed

from alerts.desk import Desk
from tests.unit.alerts.build import NOW_MS
from tests.unit.alerts.desks import CRITIC, FIRED, HOUR, TERMS, at, ended, fallback, noted, out, page

OLD = {"time_ms": NOW_MS - 3 * HOUR, "expires_at_ms": NOW_MS - 2 * HOUR}


def test_backlog_is_old_and_what_is_sent_anew_is_young_by_whichever_clock_is_later() -> None:
    """An hour slow, the wall's own would send what has expired, and give it a life that is over."""
    desk = Desk()
    desk.take(
        [fallback(time_ms=NOW_MS - 2 * HOUR, expires_at_ms=NOW_MS - HOUR)],
        at(catching_up=True, set_ms=-2 * HOUR),
    )
    assert out(desk) == []
    desk.tick(at(set_ms=-2 * HOUR))
    (sent,) = desk.leaving().signals
    assert sent.expires_at_ms == NOW_MS + HOUR


def test_yesterdays_fallback_that_is_over_is_not_sent_but_recorded_and_paged() -> None:
    desk = Desk()
    fired = fallback(**OLD)
    desk.take([fired], at(catching_up=True))
    desk.take([ended(fired)], at(catching_up=True))
    desk.tick(at(1, catching_up=True))
    assert out(desk) == []
    desk.tick(at(2))
    assert ("stale_dropped", "policywatch") in noted(desk)
    (told,) = desk.leaving().signals
    assert (told.rule, told.kind) == ("catch_up", "page")
    assert "1 of them safety signals" in told.reason


def test_what_holds_still_at_the_head_is_sent_anew_under_its_id() -> None:
    desk = Desk()
    desk.take([fallback(**OLD)], at(catching_up=True))
    desk.tick(at(5))
    (sent,) = desk.leaving().signals
    assert (sent.id, sent.kind) == (fallback().id, "fallback")
    assert sent.expires_at_ms == at(5).now_ms + HOUR
    assert "still so after catching up" in sent.reason


def test_an_alert_that_fired_twice_in_the_backlog_is_sent_once() -> None:
    desk = Desk()
    first, second = fallback(**OLD), fallback(id="sig_second", **OLD)
    desk.take([first, ended(first), second], at(catching_up=True))
    desk.tick(at(5))
    assert [s.id for s in desk.leaving().signals if s.kind == "fallback"] == ["sig_second"]


def test_a_condition_that_no_longer_fires_at_the_head_is_dropped_though_nobody_said_its_end() -> None:
    desk = Desk()
    desk.take([fallback(**OLD)], at(catching_up=True))
    desk.tick(at(5, fires=lambda signal: False))
    assert out(desk) == [("catch_up", "page", "firing")]


def test_a_fresh_signal_passes_while_catching_up_and_an_old_one_passes_otherwise() -> None:
    """A log of last year is read like today's: only a backlog of an outage is doubted."""
    desk = Desk()
    desk.take([fallback()], at(catching_up=True))
    desk.take([page(**OLD)], at())
    assert out(desk) == [FIRED, CRITIC]


def test_while_catching_up_nothing_old_is_sent_again_by_the_closed_loop() -> None:
    desk = Desk()
    desk.take_again([fallback(**OLD), fallback(id="sig_new")], at(catching_up=True))
    desk.take_again([fallback(id="sig_late", **OLD)], at())
    assert [again.signal.id for again in desk.tray.again] == ["sig_new", "sig_late"]


def test_the_end_of_an_alert_from_before_the_outage_goes_out() -> None:
    desk = Desk()
    desk.take([page()], at(-200))
    out(desk)
    desk.take([changed(ended(page()), **OLD)], at(catching_up=True))
    assert out(desk) == [("critic", "page", "resolved")]


def test_a_stale_fallback_that_needs_approval_is_asked_for_after_catching_up() -> None:
    desk = Desk(TERMS)
    desk.take([fallback(**OLD)], at(catching_up=True))
    desk.tick(at(5))
    assert out(desk) == [("approval", "page", "firing")]
