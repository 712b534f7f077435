"""The desk: what goes out, what it keeps, what it answers; all of it is accounted for, bounded and saved."""

from typing import Any

import pytest
from msgspec.structs import replace as changed

from alerts.desk import Desk
from alerts.desk_terms import Command
from alerts.signal import Evidence, rfc3339
from alerts.silences import MAX_SILENCES
from alerts.tray import MAX_KEPT, Leaving
from monitor.persistence.state import CODEC
from tests.unit.alerts.build import NOW_MS
from tests.unit.alerts.desks import CRITIC, HOUR, MINUTE, TERMS, at, ended, fallback, out, page, silence

OLD = {"time_ms": NOW_MS - 3 * HOUR, "expires_at_ms": NOW_MS - 2 * HOUR}


def test_without_anything_special_a_signal_goes_out_as_it_is() -> None:
    desk = Desk()
    desk.take([fallback(), page(), ended(page())], at())
    assert desk.leaving() == Leaving([fallback(), page(), ended(page())], [], [], [])


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
    assert tuple(desk.state()) == (*names, "shown", "newest", "doubted")
    desk.restore(saved)
    assert desk.state() == saved | {"shown": {}, "newest": {}, "doubted": {}}
    desk.restore({"made": 8, "shown": {"alert": "sig"}})
    assert desk.state() == saved | {"made": 8, "shown": {"alert": "sig"}, "newest": {}, "doubted": {}}


def test_what_fires_is_what_was_told_and_is_so_still() -> None:
    """For receivers that forget: not what is silenced or waits for somebody, nor what nobody can say is so."""
    desk = Desk(TERMS)
    silence(desk, rule="critic")
    plain, quiet, asked = fallback(id="sig_mmd", rule="states"), page(), fallback(id="sig_waits")
    desk.take([plain, quiet, asked], at())
    assert [s.rule for s in desk.firing(at())] == ["states", "approval"]
    assert [s.rule for s in desk.firing(at(61))] == ["states", "approval"]
    gone = at(61, fires=lambda signal: False)
    assert [s.rule for s in desk.firing(gone)] == ["approval"]  # a policy that is gone; what waits asks still
    desk.overdue(plain.id, "webhook-1", 61_000, at(1))
    assert [s.rule for s in desk.firing(at(62, fires=lambda signal: False))] == [
        "approval",
        "delivery.overdue",
    ]
    desk.ended(plain.id, "webhook-1", "exhausted", at(2))
    desk.take([ended(plain)], at(3))
    assert [s.rule for s in desk.firing(at(4))] == ["approval", "delivery.overdue", "delivery.expired"]
    over = at(65, fires=lambda signal: False)
    assert [s.rule for s in desk.firing(over)] == ["approval"]  # a page without an end lasts an hour
