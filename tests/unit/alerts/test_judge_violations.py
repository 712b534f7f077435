"""Forbidden actions: told at once, once per incident whatever the polls, and ended by quiet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.rules import RuleSettings
from alerts.signal import Signal
from detectors.measurement import Verdict
from tests.unit.alerts.judging import (
    BUCKET_MS,
    CANARY,
    FULL,
    LATENESS_MS,
    QUIET_MS,
    T0,
    ids,
    judge,
    sealed,
    violation,
)

TIMES = st.lists(st.integers(0, 4 * QUIET_MS), min_size=1, max_size=12)


def told_in_polls(times: list[int], cuts: set[int]) -> list[Signal]:
    """Violations in order of time, cut into polls after the given rows; then quiet."""
    by, told, poll = judge(), [], []
    for i, at_ms in enumerate(sorted(times)):
        poll.append(violation(at_ms))
        if i in cuts:
            told += by.at_violations(poll)
            poll = []
    told += by.at_violations(poll)
    return told + by.at_seal(T0 + 10 * QUIET_MS, {})


def test_a_forbidden_action_asks_for_the_fallback_at_once() -> None:
    (signal,) = judge().at_violations([violation(123)])
    assert (signal.kind, signal.state, signal.rule, signal.to_policy) == (
        "fallback", "firing", "constraint", "rules-v3"
    )  # fmt: skip
    assert signal.time_ms == T0 + 123
    assert signal.evidence.culprits == ("7",)
    assert "executed action 7, which was masked, without approval" in signal.reason
    assert signal.evidence.window_start_ms == T0


@pytest.mark.parametrize(
    ("stage", "kind"),
    [("full", "fallback"), ("canary", "rollback"), ("shadow", "hold"), ("fallback", "page")],
)
def test_what_a_forbidden_action_asks_for_follows_the_stage(stage: str, kind: str) -> None:
    (signal,) = judge().at_violations([violation(0, ("v9", stage))])
    assert signal.kind == kind


def test_more_of_the_same_incident_says_nothing() -> None:
    by = judge()
    assert len(by.at_violations([violation(0), violation(1), violation(2_000)])) == 1
    assert by.at_violations([violation(3_000)]) == []


def test_quiet_ends_the_incident_and_says_the_same_kind() -> None:
    by = judge()
    (fired,) = by.at_violations([violation(0), violation(5_000)])
    assert by.at_seal(T0 + QUIET_MS, {}) == []
    (ended,) = by.at_seal(T0 + QUIET_MS + BUCKET_MS, {})
    assert (ended.kind, ended.state, ended.alert_key) == (fired.kind, "resolved", fired.alert_key)
    assert ended.id != fired.id
    assert ended.generation > fired.generation
    assert "after 2 in this incident" in ended.reason
    assert by.at_seal(T0 + QUIET_MS + 2 * BUCKET_MS, {}) == []


def test_the_same_action_after_quiet_is_told_again_with_another_id() -> None:
    by = judge()
    first = by.at_violations([violation(0)])
    by.at_seal(T0 + QUIET_MS + BUCKET_MS, {})
    second = by.at_violations([violation(QUIET_MS + 2 * BUCKET_MS)])
    assert len({*ids(first), *ids(second)}) == 2


def test_an_incident_that_another_has_followed_ends_without_a_word() -> None:
    """They share an alert: the end of the first must not close it while the second burns."""
    by = judge()
    first, second = by.at_violations([violation(1), violation(QUIET_MS + 2)])
    assert first.alert_key == second.alert_key
    assert by.at_seal(T0 + QUIET_MS + BUCKET_MS, {}) == []
    (end,) = by.at_seal(T0 + 2 * QUIET_MS + BUCKET_MS, {})
    assert end.state == "resolved"
    assert by.incidents == {}


def test_an_incident_ends_aloud_where_the_next_lies_behind_its_seal_and_was_only_read_ahead() -> None:
    by = judge()
    by.at_violations([violation(0), violation(QUIET_MS)])
    assert [s.state for s in by.at_seal(T0 + QUIET_MS, {})] == ["resolved"]


def test_each_policy_and_stage_has_its_own_incident() -> None:
    told = judge().at_violations([violation(0, FULL), violation(0, CANARY), violation(1, FULL)])
    assert [signal.policy for signal in told] == ["v2", "v3"]
    assert len(set(ids(told))) == 2


def test_violations_of_one_moment_have_generations_of_their_own() -> None:
    told = judge().at_violations([violation(0, FULL), violation(0, CANARY)])
    assert len({signal.generation for signal in told}) == 2


def test_the_generation_follows_the_clock_of_the_partition_not_a_late_event() -> None:
    by = judge()
    fired = sealed(by, 0, full=Verdict.BREACH)[0]  # tells the world at T0 + lateness
    (late,) = by.at_violations([violation(-1_000, clock_ms=LATENESS_MS)])
    assert late.generation > fired.generation


@given(TIMES, st.sets(st.integers(0, 12)))
def test_polls_do_not_change_what_is_told(times: list[int], cuts: set[int]) -> None:
    assert told_in_polls(times, cuts) == told_in_polls(times, set())


@given(TIMES)
def test_whatever_fired_is_resolved_once_it_is_quiet(times: list[int]) -> None:
    told = told_in_polls(times, set())
    fired = [s for s in told if s.state == "firing"]
    ended = [s for s in told if s.state == "resolved"]
    assert len(fired) == len(ended) >= 1
    assert len(set(ids(told))) == len(told)


@given(st.permutations([0, 1_000, 3_000, 4_000, 9_000]))
def test_any_order_of_one_burst_gives_the_same_ids(order: list[int]) -> None:
    by, straight = judge(), judge()
    shuffled = [s for at_ms in order for s in by.at_violations([violation(at_ms)])]
    in_order = straight.at_violations([violation(at_ms) for at_ms in sorted(order)])
    end_ms = T0 + 3 * QUIET_MS
    assert ids(shuffled + by.at_seal(end_ms, {})) == ids(in_order + straight.at_seal(end_ms, {}))


def test_a_dry_run_tells_without_asking() -> None:
    (signal,) = judge(settings={"constraint": RuleSettings(dry_run=True)}).at_violations([violation(0)])
    assert (signal.dry_run, signal.safety) == (True, False)


def test_a_constraint_rule_that_is_off_says_nothing() -> None:
    assert judge(settings={"constraint": RuleSettings(enabled=False)}).at_violations([violation(0)]) == []


def test_an_incident_of_a_policy_that_is_watched_no_longer_ends_when_it_has_been_quiet() -> None:
    """Ended sooner, its next violation would be told under the same id, which receivers drop."""
    by = judge()
    (fired,) = by.at_violations([violation(0)])
    assert by.leave(FULL, T0 + 1, 0, " It is gone.") == []
    assert by.at_violations([violation(2)]) == []
    (ended,) = by.at_seal(T0 + 10 * QUIET_MS, {})
    assert (ended.state, ended.alert_key) == ("resolved", fired.alert_key)
    assert by.incidents == {}
