"""When an entry is tried, in what order, and what follows."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.outbox import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    RECEIVER_PAUSE_MS,
    Again,
    Delivered,
    Disabled,
    Ended,
    OutboxEntry,
    Refused,
    Retry,
    next_attempt_ms,
    overdue,
    plan,
    settle,
    surplus,
)
from tests.unit.alerts.build import NOW_MS, entry, signal

FAILED = Retry(None, "no answer in time")
PAGE = entry(signal(id="page", kind="page", rule="actions", expires_at_ms=None))
SAFETY = entry(signal(expires_at_ms=None))


def ages_tried(start: OutboxEntry, until_ms: int, took_ms: int = 0) -> list[int]:
    """The ages in seconds at which an entry is tried when every attempt fails after `took_ms`."""
    ages, now_ms, current = [], start.created_ms, start
    while now_ms - start.created_ms <= until_ms:
        ages.append((now_ms - start.created_ms) // 1000)
        result = settle(current, FAILED, now_ms + took_ms)
        if isinstance(result, Ended):
            break
        current, now_ms = result.entry, result.entry.next_attempt_ms
    return ages


def close(measured: list[int], planned: list[int]) -> bool:
    """Within the jitter: each gap is at most a tenth longer than planned."""
    return len(measured) == len(planned) and all(
        plan_s <= age_s <= plan_s * 1.11 + 1 for age_s, plan_s in zip(measured, planned, strict=True)
    )


def test_safety_signal_is_tried_at_0_1_2_5_10_30_60_s() -> None:
    assert close(ages_tried(SAFETY, 65_000), [0, 1, 2, 5, 10, 30, 60])


def test_safety_signal_is_tried_every_minute_of_the_first_hour_then_by_the_standard() -> None:
    ages = ages_tried(SAFETY, 4 * DAY_MS)
    minutes = [later - earlier for earlier, later in pairwise(ages) if 60 <= earlier < 3540]
    assert len(minutes) > 50
    assert all(60 <= gap <= 67 for gap in minutes)
    late = [age for age in ages if age > 3700]
    assert close(late[:4], [3600 + s for s in (300, 2100, 9300, 27300)])


def test_safety_signal_is_never_given_up_without_an_expiry() -> None:
    old = replace(SAFETY, attempt=500)
    assert next_attempt_ms(old, NOW_MS + 30 * DAY_MS) == pytest.approx(NOW_MS + 31 * DAY_MS, abs=0.1 * DAY_MS)


def test_slow_failures_do_not_push_the_safety_schedule_back() -> None:
    """Each attempt takes 4 s to fail: planned ages that have passed meanwhile are skipped, not queued."""
    assert close(ages_tried(SAFETY, 65_000, took_ms=4_000), [0, 5, 10, 30, 60])


def test_page_follows_the_standard_webhooks_schedule_and_is_then_exhausted() -> None:
    planned = [0, 5, 305, 2105, 9305, 27305, 63305, 113705, 185705, 272105]
    assert close(ages_tried(PAGE, 30 * DAY_MS), planned)
    assert settle(replace(PAGE, attempt=9), FAILED, NOW_MS) == Ended("exhausted")


def test_jitter_is_the_same_on_every_run_and_differs_between_receivers() -> None:
    waits = {
        receiver: next_attempt_ms(replace(PAGE, receiver=receiver, attempt=3), NOW_MS)
        for receiver in "abcdef"
    }
    assert waits == {r: next_attempt_ms(replace(PAGE, receiver=r, attempt=3), NOW_MS) for r in "abcdef"}
    assert len(set(waits.values())) == 6


def test_clock_behind_the_creation_does_not_make_a_hot_loop() -> None:
    assert next_attempt_ms(SAFETY, NOW_MS - HOUR_MS) == pytest.approx(NOW_MS - HOUR_MS + 1_050, abs=50)


def test_retry_after_is_honoured() -> None:
    result = settle(PAGE, Retry(120_000, "HTTP 429"), NOW_MS)
    assert isinstance(result, Again)
    assert result.entry.next_attempt_ms == NOW_MS + 120_000
    assert result.paused_until_ms == NOW_MS + 120_000


def test_retry_after_shorter_than_the_schedule_does_not_hurry_it() -> None:
    result = settle(replace(PAGE, attempt=2), Retry(1_000, "HTTP 503"), NOW_MS)
    assert isinstance(result, Again)
    assert result.entry.next_attempt_ms >= NOW_MS + 30 * MINUTE_MS


@pytest.mark.parametrize("asked_ms", [10 * DAY_MS, 2**62])
def test_senseless_retry_after_cannot_silence_a_safety_signal(asked_ms: int) -> None:
    result = settle(SAFETY, Retry(asked_ms, "HTTP 503"), NOW_MS)
    assert isinstance(result, Again)
    assert result.entry.next_attempt_ms == result.paused_until_ms == NOW_MS + RECEIVER_PAUSE_MS


def test_pause_holds_back_every_entry_of_the_receiver() -> None:
    other = replace(SAFETY, seq=2, deployment="other")
    decided = plan([SAFETY, other], NOW_MS, paused_until_ms=NOW_MS + 5_000)
    assert decided.attempts == ()
    assert decided.next_ms == NOW_MS + 5_000


@pytest.mark.parametrize(
    ("outcome", "ending"), [(Delivered(), "delivered"), (Refused("HTTP 400", permanent=True), "refused")]
)
def test_what_ends_an_entry(outcome: Delivered | Refused, ending: str) -> None:
    assert settle(PAGE, outcome, NOW_MS) == Ended(ending)  # type: ignore[arg-type]


@pytest.mark.parametrize("outcome", [Disabled("HTTP 410"), Refused("HTTP 403", permanent=False), FAILED])
def test_what_leaves_an_entry_in_the_outbox(outcome: Disabled | Refused | Retry) -> None:
    result = settle(PAGE, outcome, NOW_MS)
    assert isinstance(result, Again)
    assert result.entry.attempt == 1


def lane(*entries: OutboxEntry) -> list[OutboxEntry]:
    return [replace(each, seq=seq, alert_key=f"alert {seq}") for seq, each in enumerate(entries, 1)]


def test_deployment_is_served_in_order_one_at_a_time() -> None:
    first, second = lane(PAGE, PAGE)
    assert plan([second, first], NOW_MS).attempts == (first,)
    assert plan([second], NOW_MS).attempts == (second,)


def test_entry_waits_behind_the_failing_one_before_it() -> None:
    first, second = lane(replace(PAGE, attempt=1, next_attempt_ms=NOW_MS + 5_000), PAGE)
    decided = plan([first, second], NOW_MS)
    assert decided.attempts == ()
    assert decided.next_ms == NOW_MS + 5_000


def test_deployments_do_not_wait_for_each_other() -> None:
    failing = replace(PAGE, attempt=1, next_attempt_ms=NOW_MS + 5_000)
    other = replace(PAGE, seq=2, deployment="other")
    assert plan([failing, other], NOW_MS).attempts == (other,)


def test_safety_signal_passes_a_page_that_keeps_failing() -> None:
    page, safety = lane(replace(PAGE, attempt=1, next_attempt_ms=NOW_MS + HOUR_MS), SAFETY)
    assert plan([page, safety], NOW_MS).attempts == (safety,)


def test_what_a_passing_safety_signal_leaves_behind_of_its_own_alert_is_superseded() -> None:
    """The end of the alert's last life, sent after the fallback of the next, would close what burns at a pager."""
    failed = replace(PAGE, attempt=2, next_attempt_ms=NOW_MS + HOUR_MS)
    old_end = entry(signal(id="end", state="resolved"), seq=2)
    fired = entry(signal(id="anew"), seq=3)
    planned = plan([failed, old_end, fired], NOW_MS)
    assert planned.attempts == (fired,)
    assert planned.endings == ((old_end, "superseded"),)


def test_safety_signal_does_not_pass_a_page_that_was_not_tried_yet() -> None:
    page, safety = lane(PAGE, SAFETY)
    assert plan([page, safety], NOW_MS).attempts == (page,)


def test_safety_signals_keep_their_order_among_themselves() -> None:
    first, second = lane(replace(SAFETY, attempt=3, next_attempt_ms=NOW_MS + 10_000), SAFETY)
    assert plan([first, second], NOW_MS).attempts == ()


def test_safety_signals_go_before_pages_of_other_deployments() -> None:
    page, safety = lane(PAGE, replace(SAFETY, deployment="other"))
    assert plan([page, safety], NOW_MS).attempts == (safety, page)


def test_expired_entry_is_not_sent_and_does_not_hold_up_the_next() -> None:
    first, second = lane(replace(SAFETY, expires_ms=NOW_MS), SAFETY)
    decided = plan([first, second], NOW_MS)
    assert decided.endings == ((first, "expired"),)
    assert decided.attempts == (second,)


def test_outbox_looks_again_when_a_waiting_entry_expires() -> None:
    waiting = replace(PAGE, attempt=4, next_attempt_ms=NOW_MS + DAY_MS, expires_ms=NOW_MS + HOUR_MS)
    assert plan([waiting], NOW_MS).next_ms == NOW_MS + HOUR_MS


def test_failed_page_is_superseded_when_its_alert_has_changed_since() -> None:
    failed, resolved = replace(PAGE, attempt=1), replace(PAGE, seq=2, signal_id="resolved")
    decided = plan([failed, resolved], NOW_MS)
    assert decided.endings == ((failed, "superseded"),)
    assert decided.attempts == (resolved,)


def test_page_that_has_not_failed_is_sent_even_when_its_alert_has_changed() -> None:
    resolved = replace(PAGE, seq=2, signal_id="resolved")
    assert plan([PAGE, resolved], NOW_MS).endings == ()


def test_safety_signal_is_never_superseded() -> None:
    failed, later = replace(SAFETY, attempt=5), replace(SAFETY, seq=2, signal_id="later", safety=False)
    assert plan([failed, later], NOW_MS).endings == ()


def test_expired_news_supersedes_nothing() -> None:
    failed, later = replace(PAGE, attempt=1), replace(PAGE, seq=2, expires_ms=NOW_MS - 1)
    assert plan([failed, later], NOW_MS).endings == ((later, "expired"),)


def test_safety_signal_is_overdue_after_60_s_and_a_page_never() -> None:
    assert not overdue(SAFETY, NOW_MS + 59_999)
    assert overdue(SAFETY, NOW_MS + 60_000)
    assert not overdue(PAGE, NOW_MS + DAY_MS)


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 30))
def test_full_outbox_drops_no_safety_signal_while_there_is_anything_else(
    kinds: list[bool], limit: int
) -> None:
    entries = [replace(PAGE, seq=seq, safety=safety) for seq, safety in enumerate(kinds)]
    gone = surplus(entries, limit)
    assert len(gone) == max(0, len(entries) - limit)
    if any(each.safety for each in gone):
        assert all(each.safety for each in entries if each not in gone)
