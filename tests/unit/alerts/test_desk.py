"""The desk: approval, silence and catching up; what goes out, what does not, and that all of it is accounted for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as changed

from alerts.desk import Desk
from alerts.desk_terms import Command, Moment, Reply, Terms
from alerts.signal import Evidence, Signal, rfc3339
from alerts.silences import MAX_SILENCES
from alerts.tray import MAX_KEPT, Leaving
from monitor.persistence.state import CODEC
from tests.unit.alerts.build import NOW_MS, signal

MINUTE, HOUR = 60_000, 3_600_000
TERMS = {"home-ranker": Terms(frozenset({"reward", "constraint"}), 10 * MINUTE, "drop", 5_000)}


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


FIRED, RESOLVED = ("reward", "fallback", "firing"), ("reward", "fallback", "resolved")
CRITIC = ("critic", "page", "firing")


def test_without_anything_special_a_signal_goes_out_as_it_is() -> None:
    desk = Desk()
    desk.take([fallback(), page(), ended(page())], at())
    assert desk.leaving() == Leaving([fallback(), page(), ended(page())], [], [], [])


# a wall clock that is set


@pytest.mark.parametrize("set_ms", [-HOUR, HOUR])
def test_wall_clock_that_is_set_ends_no_silence_and_answers_for_nobody(set_ms: int) -> None:
    desk = Desk(TERMS)
    silence(desk, minutes=30, rule="critic")
    desk.take([fallback(), page()], at())
    assert out(desk) == [("approval", "page", "firing")]
    desk.tick(at(9, set_ms=set_ms))
    assert desk.tray.idle
    (waits,), (quiet,) = desk.view()["waiting"], desk.view()["silences"]
    assert waits["until"] == rfc3339(NOW_MS + 10 * MINUTE + set_ms)  # shown as the wall has it now
    assert quiet["until"] == rfc3339(NOW_MS + 30 * MINUTE + set_ms)
    desk.tick(at(10, set_ms=set_ms))
    assert ("approval.unanswered", "page", "firing") in out(desk)
    desk.tick(at(30, set_ms=set_ms))
    assert CRITIC in out(desk)


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


# approval


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
    desk.take_again([fallback()])
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


# silences


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


def test_the_end_of_an_earlier_forbidden_action_does_not_close_the_one_that_came_since() -> None:
    """It is told when its bucket is sealed, the next violation as soon as it is read."""
    hard = {"rule": "constraint", "evidence": Evidence(statistic="violations.executed")}
    desk = Desk()
    first, second = fallback(**hard), fallback(id="second", **hard, time_ms=NOW_MS + 2 * MINUTE)
    desk.take([first, second, changed(ended(first), time_ms=NOW_MS + MINUTE)], at(2))
    assert [s.id for s in desk.leaving().signals] == [first.id, "second"]
    assert [record.what for record in desk.tray.records] == ["end_dropped"]
    desk.left()
    desk.take([changed(ended(second), time_ms=NOW_MS + 3 * MINUTE)], at(4))
    assert out(desk) == [("constraint", "fallback", "resolved")]


def test_a_silence_ended_by_hand_ends_at_once() -> None:
    desk = Desk()
    made = silence(desk, rule="critic")
    desk.take([page()], at(1))
    assert desk.obey(Command("unsilence", "ann", target=made.id), at(2)).status == 200
    assert out(desk) == [CRITIC]
    assert desk.obey(Command("unsilence", "ann", target=made.id), at(2)).status == 404


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (Command("silence", "ann", "why", "", {"team": "a"}, MINUTE), "not team"),
        (Command("silence", "ann", "why", "", {}, MINUTE), "at least one"),
        (Command("silence", "ann", "", "", {"rule": "critic"}, MINUTE), "say why"),
        (Command("silence", "ann", "why", "", {"rule": "critic"}, 0), "at most 90 d"),
        (Command("silence", "ann", "why", "", {"rule": "critic"}, 91 * 24 * HOUR), "at most 90 d"),
        (Command("ack", " ", "", "x"), "who you are"),
        (Command("delete", "ann"), "not one of"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_in_words(command: Command, says: str) -> None:
    desk = Desk()
    reply = desk.obey(command, at())
    assert reply.status == 400
    assert says in reply.text
    assert desk.idle


def test_everything_is_bounded() -> None:
    desk = Desk()
    for i in range(MAX_SILENCES + 5):
        reply = silence(desk, policy=f"p{i}")
    assert reply.status == 409
    desk.take([page(id=f"s{i}", policy=f"p{i}") for i in range(MAX_KEPT + 50)], at())
    assert len(desk.opened.open) == MAX_KEPT
    assert len(desk.silencing.quieted) <= MAX_KEPT


# acknowledging


def test_an_acknowledgement_lasts_until_the_alert_ends() -> None:
    desk = Desk()
    desk.take([page()], at())
    assert desk.obey(Command("ack", "ann", "on it", page().id), at(1)).status == 200
    assert desk.view()["acknowledged"][0]["by"] == "ann"
    assert desk.leaving().seen == [page()]  # for the pagers that know acknowledgements
    desk.left()
    assert desk.leaving().seen == []
    desk.take([ended(page())], at(2))
    assert desk.view()["acknowledged"] == []
    assert desk.obey(Command("ack", "ann", "", page().id), at(3)).status == 404


# catching up

OLD = {"time_ms": NOW_MS - 3 * HOUR, "expires_at_ms": NOW_MS - 2 * HOUR}


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


# delivery


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


# a restart


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


def test_no_two_signals_that_the_desk_sends_at_one_moment_share_a_generation() -> None:
    """A receiver refuses the second of them as old: a fallback that is sent anew, behind the page that says so."""
    desk = Desk(TERMS)
    fired = [fallback(id=f"sig_{n}", policy=f"v{n}") for n in range(3)]
    desk.take(fired, at())
    for each in fired:
        desk.approvals.decide(Command("approve", "ann", "", each.id), at())
    desk.ended("sig_0", "webhook-1", "expired", at())
    leaving = desk.leaving()
    given = [each.generation for each in (*leaving.signals, *(each.signal for each in leaving.again))]
    assert len(given) == len({*given}) == 11
    restarted = Desk(TERMS)
    restarted.restore(CODEC.decode(CODEC.encode(desk.state())))
    restarted.deliveries.missed("sig_1", fired[1], "webhook-1", 60_000, at())
    assert restarted.leaving().signals[0].generation > max(given)


def test_a_restart_keeps_everything() -> None:
    desk = Desk(TERMS)
    silence(desk, rule="critic")
    desk.take([page(), fallback(), page(id="old", rule="actions", **OLD)], at(catching_up=True))
    desk.obey(Command("ack", "ann", "", page().id), at(1))
    desk.overdue(fallback().id, "webhook-1", 61_000, at(1))
    after = Desk(TERMS)
    after.restore(CODEC.decode(CODEC.encode(desk.state())))
    assert after.state() == desk.state()
    assert after.view() == desk.view()
    for one in (desk, after):
        one.left()
        one.tick(at(20))
        one.tick(at(120))
    assert after.leaving() == desk.leaving()
    assert len(after.leaving().signals) == 4


def test_what_leaves_stays_until_it_is_saved() -> None:
    """A full disk: the next save must have it all."""
    desk = Desk()
    desk.take([fallback()], at())
    first = desk.leaving()
    assert desk.leaving() == first
    assert not desk.idle
    desk.left()
    assert desk.idle


def test_the_checkpoint_keeps_the_names_that_older_versions_wrote() -> None:
    names = ("silences", "quieted", "waiting", "refused", "held", "open", "acked", "late", "stale", "made")
    saved: dict[str, Any] = {name: {name: b""} for name in names[:-1]} | {"made": 7}
    desk = Desk()
    assert tuple(desk.state()) == (*names, "shown", "newest")
    desk.restore(saved)
    assert desk.state() == saved | {"shown": {}, "newest": {}}
    desk.restore({"made": 8, "shown": {"alert": "sig"}})
    assert desk.state() == saved | {"made": 8, "shown": {"alert": "sig"}, "newest": {}}
