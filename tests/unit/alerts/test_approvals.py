"""A person must agree: who is asked, what waits, what a deadline does."""

from dataclasses import replace

import pytest

from alerts.desk import Desk
from alerts.desk_terms import Command, Terms
from alerts.signal import Evidence
from tests.unit.alerts.desks import FIRED, HOUR, TERMS, at, ended, fallback, noted, out, page


def test_a_fallback_that_needs_approval_waits_and_a_person_is_paged_at_once() -> None:
    desk = Desk(TERMS)
    desk.take([fallback()], at())
    (asked,) = desk.leaving().signals
    assert (asked.rule, asked.kind, asked.policy) == ("approval", "page", "v42")
    assert f"approve (or reject) {fallback().id}" in asked.reason
    desk.left()
    assert desk.obey(Command("approve", "ann", target=fallback().id), at(3)).status == 200
    assert noted(desk) == [("approved", "ann")]
    signals = desk.leaving().signals
    (sent,) = [s for s in signals if s.rule == "reward"]
    assert (sent.id, sent.safety) == (fallback().id, True)
    assert sent.expires_at_ms == at(3).now_ms + HOUR
    assert sent.generation > fallback().generation
    assert [(s.rule, s.state) for s in signals if s is not sent] == [("approval", "resolved")]
    assert desk.obey(Command("approve", "bob", target=fallback().id), at(4)).status == 404


def test_what_is_rejected_is_never_sent_nor_its_end_nor_pages_about_it() -> None:
    desk = Desk(TERMS)
    desk.take([fallback()], at())
    desk.obey(Command("reject", "ann", "known", fallback().id), at(1))
    out(desk)
    desk.take_again([fallback()], at())
    desk.take([page(id="loop", rule="closed_loop")], at(5))
    desk.take([ended(fallback())], at(6))
    desk.tick(at(600))
    assert out(desk) == []
    assert desk.tray.again == []


@pytest.mark.parametrize(
    ("unanswered", "goes_out"),
    [
        ("drop", [("approval", "page", "resolved"), ("approval.unanswered", "page", "firing")]),
        ("send", [("approval", "page", "resolved"), FIRED]),
    ],
)
def test_nobody_answers_in_time(unanswered: str, goes_out: list[tuple[str, str, str]]) -> None:
    desk = Desk({"home-ranker": replace(TERMS["home-ranker"], unanswered=unanswered)})
    desk.take([fallback()], at())
    out(desk)
    desk.tick(at(9.99))
    assert out(desk) == []
    desk.tick(at(10))
    assert sorted(out(desk)) == sorted(goes_out)


def test_a_condition_that_is_over_need_not_be_approved_any_more() -> None:
    desk = Desk(TERMS)
    desk.take([fallback()], at())
    out(desk)
    desk.take([ended(fallback())], at(2))
    assert out(desk) == [("approval", "page", "resolved")]
    assert desk.approvals.waiting == {}


def test_two_rules_of_one_policy_share_the_page_that_asks_until_both_are_answered() -> None:
    desk = Desk({"home-ranker": Terms(frozenset({"reward", "state"}))})
    desk.take([fallback(), fallback(id="other", rule="state")], at())
    out(desk)
    desk.obey(Command("approve", "ann", target=fallback().id), at(1))
    assert out(desk) == [FIRED]
    desk.obey(Command("reject", "ann", target="other"), at(2))
    assert out(desk) == [("approval", "page", "resolved")]


@pytest.mark.parametrize("kind", ["fallback", "rollback"])
def test_a_forbidden_action_never_waits(kind: str) -> None:
    hard = fallback(rule="constraint", kind=kind, evidence=Evidence(statistic="violations.executed"))
    desk = Desk(TERMS)
    desk.take([hard], at())
    assert desk.leaving().signals == [hard]
    desk.left()
    desk.take([fallback(rule="constraint")], at())  # a cost budget does
    assert out(desk) == [("approval", "page", "firing")]
