"""Safety signals that have not arrived: one page, which ends with the last of them."""

import pytest

from alerts.desk import Desk
from monitor.persistence.state import CODEC
from tests.unit.alerts.desks import HOUR, at, ended, fallback, noted, out, page, silence


def test_a_safety_signal_that_does_not_arrive_pages_once_and_its_arrival_ends_it() -> None:
    desk = Desk()
    desk.take([fallback()], at())
    out(desk)
    desk.overdue(fallback().id, "webhook-1", 61_000, at(1))
    desk.overdue(fallback().id, "webhook-1", 120_000, at(2))
    (told,) = desk.leaving().signals
    assert (told.rule, told.kind, told.subject) == ("delivery.overdue", "page", "webhook-1")
    assert "has not arrived at webhook-1 for 1.017 min" in told.reason
    desk.left()
    desk.ended(fallback().id, "webhook-1", "delivered", at(3))
    assert out(desk) == [("delivery.overdue", "page", "resolved")]
    desk.ended(fallback().id, "webhook-1", "delivered", at(3))
    assert out(desk) == []


@pytest.mark.parametrize(("fires", "again"), [(True, 1), (False, 0)])
def test_a_safety_signal_that_expired_on_its_way_is_recorded_paged_and_sent_anew_if_it_still_holds(
    fires: bool, again: int
) -> None:
    desk = Desk()
    desk.take([fallback()], at())
    out(desk)
    desk.ended(fallback().id, "webhook-1", "expired", at(60, fires=lambda signal: fires))
    assert noted(desk) == [("safety_signal_ended", "policywatch")]
    assert [(s.id, receiver) for s, receiver in desk.tray.again] == [(fallback().id, "webhook-1")] * again
    assert out(desk) == [("delivery.expired", "page", "firing")]


def test_late_signals_about_one_policy_are_one_page_that_ends_with_the_last_of_them() -> None:
    desk = Desk()
    fired = [fallback(), fallback(id="sig_state", rule="state"), fallback(id="sig_other", policy="v9")]
    desk.take(fired, at())
    out(desk)
    for each in fired:
        desk.overdue(each.id, "webhook-1", 61_000, at(1))
    assert [signal.policy for signal in desk.leaving().signals] == [fallback().policy, "v9"]
    desk.left()
    desk.ended(fired[0].id, "webhook-1", "delivered", at(2))
    assert out(desk) == []
    desk.ended("sig_state", "webhook-1", "delivered", at(2))
    assert out(desk) == [("delivery.overdue", "page", "resolved")]
    desk.ended("sig_other", "webhook-1", "dropped", at(2))
    assert desk.deliveries.late == {}


def test_a_signal_whose_alert_has_fired_once_more_is_paged_as_late_all_the_same() -> None:
    desk = Desk()
    first, second = fallback(), fallback(id="sig_again", generation=9)
    desk.take([first, second], at())
    out(desk)
    desk.overdue(first.id, "webhook-1", 61_000, at(1), first.alert_key)
    assert out(desk) == [("delivery.overdue", "page", "firing")]
    desk.ended(first.id, "webhook-1", "delivered", at(2))
    assert out(desk) == [("delivery.overdue", "page", "resolved")]
    desk.overdue("sig_unknown", "webhook-1", 61_000, at(1), "another/alert//")
    assert out(desk) == []


@pytest.mark.parametrize(("fires", "again"), [(True, 1), (False, 0)])
def test_what_expired_in_an_outage_is_looked_at_again_when_the_backlog_is_read(
    fires: bool, again: int
) -> None:
    """Before that nobody can say whether it holds still: it was given up, though its alert went on firing."""
    desk = Desk()
    desk.take([fallback()], at())
    out(desk)
    desk.ended(fallback().id, "webhook-1", "expired", at(180, catching_up=True))
    desk.tick(at(181, catching_up=True))
    assert (out(desk), desk.tray.again) == ([], [])
    after = Desk()
    after.restore(CODEC.decode(CODEC.encode(desk.state())))  # it may die meanwhile
    after.tick(at(182, fires=lambda signal: fires))
    assert [(s.id, receiver) for s, receiver in after.tray.again] == [(fallback().id, "webhook-1")] * again
    assert all(s.expires_at_ms == at(182).now_ms + HOUR for s, _ in after.tray.again)
    (told,) = after.leaving().signals
    assert told.rule == "delivery.expired"
    assert ("sent anew" in told.reason) == fires
    after.left()
    after.tick(at(183))
    assert out(after) == []


def test_what_expired_in_an_outage_and_has_ended_in_the_backlog_is_not_sent_though_its_alert_fires_anew() -> (
    None
):
    desk = Desk()
    desk.take([fallback()], at())
    desk.ended(fallback().id, "webhook-1", "expired", at(180, catching_up=True))
    desk.take([ended(fallback()), fallback(id="sig_next")], at(181, catching_up=True))
    desk.tick(at(182))
    assert desk.tray.again == []


@pytest.mark.parametrize(
    ("fires", "silenced", "again"), [(True, False, 1), (False, False, 0), (True, True, 0)]
)
def test_a_page_that_expired_on_its_way_is_sent_anew_to_who_missed_it_while_it_fires(
    fires: bool, silenced: bool, again: int
) -> None:
    """A pager that was down for an hour would never have heard of it."""
    desk = Desk()
    desk.take([page()], at())
    out(desk)
    if silenced:
        silence(desk, rule="critic", minutes=120)
        desk.left()
    desk.page_expired(page().id, "pagerduty-1", at(60, fires=lambda signal: fires))
    assert [(s.id, receiver) for s, receiver in desk.tray.again] == [(page().id, "pagerduty-1")] * again
    assert [s.expires_at_ms for s, _ in desk.tray.again] == [at(60).now_ms + HOUR] * again
    assert [what for what, _ in noted(desk)] == ["sent_anew"] * again
    assert out(desk) == []


def test_a_page_that_expired_in_an_outage_is_looked_at_when_the_backlog_is_read_and_one_that_is_over_never() -> (
    None
):
    desk = Desk()
    desk.take([page()], at())
    out(desk)
    desk.page_expired(page().id, "pagerduty-1", at(180, catching_up=True))
    desk.page_expired("sig_unknown", "pagerduty-1", at(180, catching_up=True))
    desk.tick(at(182))
    assert [(s.id, receiver) for s, receiver in desk.tray.again] == [(page().id, "pagerduty-1")]
    desk.left()
    desk.take([ended(page())], at(183))
    desk.page_expired(page().id, "pagerduty-1", at(250))
    assert desk.tray.again == []
