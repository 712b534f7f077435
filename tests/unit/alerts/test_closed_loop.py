"""Is the fallback really served? Told by decisions, in event time."""

from collections.abc import Mapping

import pytest
from msgspec.structs import replace as changed

from alerts.closed_loop import ESCALATES_AT, ClosedLoops, LoopNews, Served, alert_name
from alerts.signal import Evidence, Signal
from tests.unit.alerts.build import NOW_MS, signal

S = 1_000
BUCKET = 10 * S
OLD, NEW, BACKUP = ("v42", "full"), ("rules-v3", "full"), ("v42-safe", "fallback")


def fired(**changes: object) -> Signal:
    return changed(signal(subject="full"), **changes)


def loops(**how: object) -> ClosedLoops:
    return ClosedLoops("home-ranker", 60 * S, 5 * S, **how)  # type: ignore[arg-type]


def seal(of: ClosedLoops, at_s: int, **served_s: tuple[float, float]) -> LoopNews:
    """Served: name -> first and last second of its decisions in the bucket that ends at `at_s`."""
    names = {"old": OLD, "new": NEW, "backup": BACKUP, "other": ("v41", "full"), "canary": ("v43", "canary")}
    served: Mapping[tuple[str, str], Served] = {
        names[name]: Served(50, NOW_MS + int(first * S), NOW_MS + int(last * S))
        for name, (first, last) in served_s.items()
    }
    return of.at_seal(NOW_MS + at_s * S, served, 0)


@pytest.mark.parametrize("name", ["new", "backup"])
def test_a_fallback_that_is_served_is_safe_after_the_last_old_decision(name: str) -> None:
    of = loops()
    of.follow([fired()])
    assert seal(of, 10, old=(0, 7.5), **{name: (3, 9.9)}) == LoopNews()
    news = seal(of, 20, **{name: (10, 19)})
    assert [(one.policy, one.rule, one.kind, one.took_ms) for one in news.safe] == [
        ("v42", "reward", "fallback", 7_500)
    ]
    assert of.open == {}
    end = of.told(fired(state="resolved", reason="Clear."))
    assert end.reason == "Clear. Serving was safe 7.5 s after the signal."


def test_an_old_policy_that_goes_on_is_paged_and_the_signal_sent_again_under_its_id() -> None:
    of = loops()
    of.follow([fired()])
    told = {at: seal(of, at, old=(at - 10, at - 1), new=(at - 9, at - 5)) for at in range(10, 300, 10)}
    assert [at for at, news in told.items() if news.again] == [70, 140, 210, 280]
    assert {again.id for news in told.values() for again in news.again} == {fired().id}
    again = told[140].again[0]
    assert again.generation > fired().generation
    assert again.expires_at_ms == NOW_MS + 140 * S + 3_600_000
    pages = [(at, page) for at, news in told.items() for page in news.signals]
    assert [(at, page.kind, page.state, page.rule) for at, page in pages] == [
        (70, "page", "firing", "closed_loop"),
        (70 * ESCALATES_AT, "page", "firing", "closed_loop"),
    ]
    assert "70 s" not in pages[0][1].reason
    assert (
        "1.167 min after the fallback to rules-v3 v42 (full) still made 50 of the last 100"
        in pages[0][1].reason
    )
    assert "escalated" in pages[1][1].reason
    assert len({page.id for _, page in pages}) == 2
    news = seal(of, 300, new=(290, 299))
    assert [(page.state, page.alert_key) for page in news.signals] == [("resolved", pages[0][1].alert_key)]
    assert "safe 4.817 min after the fallback" in news.signals[0].reason
    assert news.safe[0].took_ms == 289_000


def test_nothing_served_at_all_by_the_new_policy_is_paged_too() -> None:
    of = loops()
    of.follow([fired()])
    news = [seal(of, at, other=(at - 9, at - 1)) for at in range(10, 80, 10)]
    assert "no decision of rules-v3 has been seen" in news[5].signals[0].reason


def test_a_rollback_is_served_when_another_policy_decides() -> None:
    of = loops()
    of.follow([fired(kind="rollback", policy="v43", subject="canary", to_policy="v42")])
    assert seal(of, 10, canary=(0, 4), old=(0, 9)).safe == ()
    assert [one.took_ms for one in seal(of, 20, old=(10, 19)).safe] == [4_000]


def test_decisions_before_the_signal_and_in_buckets_before_it_say_nothing() -> None:
    """A violation fires in the midst of a bucket, maybe before an older bucket is sealed."""
    of = loops()
    of.follow([fired(time_ms=NOW_MS + 15 * S)])
    assert seal(of, 10, new=(1, 9)) == LoopNews()
    assert seal(of, 20, old=(10, 14), new=(11, 13)).safe == ()
    assert [one.took_ms for one in seal(of, 30, new=(21, 29)).safe] == [0]


def test_a_bucket_longer_than_the_deadline_is_no_false_page() -> None:
    of = loops()
    of.follow([fired()])
    news = seal(of, 3_600, old=(0, 12), new=(5, 3_599))
    assert news.signals == ()
    assert [one.took_ms for one in news.safe] == [12_000]


def test_several_rules_of_one_policy_page_once_and_are_measured_each() -> None:
    of = loops()
    of.follow([fired(), fired(id="sig_2", rule="state", time_ms=NOW_MS + 5 * S)])
    told = [seal(of, at, old=(at - 10, at - 1)) for at in range(10, 100, 10)]
    assert sum(len(news.signals) for news in told) == 1
    assert {again.id for news in told for again in news.again} == {fired().id}
    safe = seal(of, 100, new=(90, 99)).safe
    assert [(one.rule, one.took_ms) for one in safe] == [("reward", 89_000), ("state", 84_000)]


def test_an_action_whose_condition_is_over_is_asked_for_no_more() -> None:
    """To send it again would raise at every pager what has resolved there."""
    of = loops()
    of.follow([fired(), fired(id="next", time_ms=NOW_MS + 80 * S)])
    assert len(seal(of, 70, old=(60, 69)).signals) == 1
    over = {("reward", *OLD)}
    news = of.at_seal(NOW_MS + 80 * S, {OLD: Served(50, NOW_MS + 70 * S, NOW_MS + 79 * S)}, 0, over)
    assert [(page.rule, page.state) for page in news.signals] == [("closed_loop", "resolved")]
    assert "the condition of the fallback of v42 is over" in news.signals[0].reason
    assert (news.again, news.safe) == ((), ())
    assert list(of.open) == ["next"]


@pytest.mark.parametrize(
    "changes", [{"dry_run": True}, {"kind": "page"}, {"state": "resolved"}, {"kind": "hold"}]
)
def test_only_what_asks_serving_to_act_is_watched(changes: dict[str, object]) -> None:
    of = loops()
    of.follow([fired(**changes)])
    assert of.open == {}


def test_switched_off_watches_nothing_and_an_approval_is_waited_for() -> None:
    off = ClosedLoops("home-ranker", 0, 5 * S)
    off.follow([fired()])
    assert off.open == {}
    patient = loops(waits_ms={"reward": 600 * S})
    patient.follow([fired()])
    told = {at: seal(patient, at, old=(at - 10, at - 1)) for at in range(10, 700, 10)}
    assert [at for at, news in told.items() if news.signals] == [660]


def test_the_end_of_forbidden_actions_leaves_a_budget_that_is_exceeded_still_asked_for() -> None:
    """Both are `constraint`: with one name for the two nobody asked any more whether the fallback was served."""
    of = loops()
    violation = Evidence(statistic="violations.executed", n=1)
    hard, budget = fired(rule="constraint", evidence=violation), fired(id="sig_cost", rule="constraint")
    of.follow([hard, budget])
    assert hard.alert_key != budget.alert_key
    of.at_seal(NOW_MS + 10 * S, {}, 0, {alert_name(changed(hard, state="resolved"))})
    assert list(of.open) == ["sig_cost"]
    assert {again.id for again in seal(of, 70, old=(60, 69)).again} == {"sig_cost"}
