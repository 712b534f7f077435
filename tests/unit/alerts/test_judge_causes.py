"""Latch, the limit of actions, and causes that mute their effects but never a fallback."""

import pytest

from alerts.judge import Judge
from alerts.rules import Kind, RuleSettings
from alerts.signal import Signal
from detectors.measurement import Measurement, Verdict
from tests.unit.alerts.judging import BUCKET_MS, FULL, T0, WINDOW_MS, judge, sealed, violation

OK, BREACH = Verdict.OK, Verdict.BREACH
KEEP_SEALS = 2 * WINDOW_MS // BUCKET_MS
NAMES = {
    "reward": ("reward", "mean"),
    "state": ("state_mmd", "mmd2"),
    "critic": ("critic", "bias"),
    "actions": ("action_mix", "kl"),
    "latency": ("latency", "slow_share"),
}


def seal(of: Judge, at: int, **verdicts: Verdict) -> list[Signal]:
    found = [
        Measurement(*NAMES[rule], "", 1.0, 100, verdict, 0.5, severity=1.5 if verdict is BREACH else 0.1)
        for rule, verdict in verdicts.items()
    ]
    return of.at_seal(T0 + at * BUCKET_MS, {FULL: found})


def told(signals: list[Signal]) -> list[tuple[str, str, str]]:
    return [(signal.rule, signal.kind, signal.state) for signal in signals]


def until_resolved(of: Judge, start: int, **verdicts: Verdict) -> list[Signal]:
    return [s for at in range(start, start + KEEP_SEALS + 2) for s in seal(of, at, **verdicts)]


# latch


@pytest.mark.parametrize(
    ("latch", "to_policy", "says"),
    [
        (True, "rules-v3", "puts nothing back: rules-v3 serves until a person"),
        (False, "v2", "v2 may serve again"),
    ],
)
def test_the_end_of_a_fallback_names_what_is_to_be_served(latch: bool, to_policy: str, says: str) -> None:
    of = judge(latch=latch)
    (fired,) = seal(of, 0, reward=BREACH)
    (ended,) = until_resolved(of, 1, reward=OK)
    assert (fired.to_policy, ended.to_policy) == ("rules-v3", to_policy)
    assert (ended.kind, ended.state) == ("fallback", "resolved")
    assert says in ended.reason


@pytest.mark.parametrize(("latch", "to_policy"), [(True, "rules-v3"), (False, "v2")])
def test_the_end_of_a_violation_does_too(latch: bool, to_policy: str) -> None:
    of = judge(latch=latch)
    of.at_violations([violation(0)])
    (ended,) = of.at_seal(T0 + 100 * BUCKET_MS, {})
    assert (ended.state, ended.to_policy) == ("resolved", to_policy)


def test_the_end_of_a_page_and_of_a_dry_run_says_nothing_of_serving() -> None:
    of = judge(settings={"reward": RuleSettings(dry_run=True)}, latch=False)
    seal(of, 0, reward=BREACH, latency=BREACH)
    for ended in until_resolved(of, 1, reward=OK, latency=OK):
        assert "serve" not in ended.reason
        assert ended.rule == "reward" or ended.to_policy is None


# the limit


def episodes(of: Judge, n: int, gap: int) -> list[tuple[int, str]]:
    """A breach every `gap` seals, resolved between; the kinds of what fired."""
    found: list[tuple[int, str]] = []
    for i in range(n):
        found += [(i, s.kind) for s in seal(of, i * gap, reward=BREACH)]
        for at in range(1, gap):
            seal(of, i * gap + at, reward=OK)
    return found


def test_after_the_limit_of_an_hour_a_fallback_is_only_a_page() -> None:
    of = judge(max_actions=2)
    gap = 40  # 400 s: nine in an hour
    assert [kind for _, kind in episodes(of, 12, gap)] == [
        "fallback", "fallback", *["page"] * 7, "fallback", "fallback", "page",
    ]  # fmt: skip


def test_a_limited_fallback_says_so_and_ends_as_a_page() -> None:
    of = judge(max_actions=1)
    seal(of, 0, reward=BREACH)
    until_resolved(of, 1, reward=OK)
    (page,) = seal(of, 50, reward=BREACH)
    assert (page.kind, page.to_policy) == ("page", None)
    assert "No fallback was asked for: 1 of this policy in an hour are the limit" in page.reason
    assert told(until_resolved(of, 51, reward=OK)) == [("reward", "page", "resolved")]


def test_a_policy_that_left_and_came_back_within_the_hour_is_limited_as_before() -> None:
    of = judge(max_actions=1)
    seal(of, 0, reward=BREACH)
    of.leave(FULL, T0 + BUCKET_MS, 0, "")
    assert [s.kind for s in seal(of, 2, reward=BREACH)] == ["page"]
    of.leave(FULL, T0 + 3 * BUCKET_MS, 0, "")
    seal(of, 361)
    assert of.actions == {}


def test_a_violation_is_neither_counted_nor_held_back_by_the_limit() -> None:
    of = judge(max_actions=1)
    seal(of, 0, reward=BREACH)
    assert [s.kind for s in of.at_violations([violation(1_000)])] == ["fallback"]
    other = judge(max_actions=1)
    other.at_violations([violation(-1_000)])
    assert told(seal(other, 0, reward=BREACH)) == [("reward", "fallback", "firing")]


# causes

PAGES = {"reward": RuleSettings(kind=Kind.PAGE)}


def test_a_state_shift_mutes_the_pages_that_come_with_it_and_lists_them() -> None:
    of = judge(settings=PAGES)
    signals = seal(of, 0, state=BREACH, critic=BREACH, actions=BREACH, reward=BREACH, latency=BREACH)
    assert told(signals) == [("state", "fallback", "firing"), ("latency", "page", "firing")]
    assert signals[0].reason.endswith("With it: reward, actions, critic.")
    ended = until_resolved(of, 1, state=OK, critic=OK, actions=OK, reward=OK)
    assert told(ended) == [("state", "fallback", "resolved")]
    assert "stood for reward, actions, critic too" in ended[0].reason
    assert (of.muted, of.listed) == ({}, {})


def test_a_fallback_is_never_muted() -> None:
    assert told(seal(judge(), 0, state=BREACH, reward=BREACH)) == [
        ("reward", "fallback", "firing"), ("state", "fallback", "firing")
    ]  # fmt: skip


def test_what_follows_within_a_window_is_muted_and_what_follows_later_is_not() -> None:
    of = judge()
    seal(of, 0, state=BREACH)
    assert told(seal(of, 6, state=BREACH, critic=BREACH)) == []
    assert told(seal(of, 7, state=BREACH, critic=BREACH, actions=BREACH)) == [("actions", "page", "firing")]


def test_an_alert_that_outlives_its_cause_is_paged_then() -> None:
    of = judge()
    seal(of, 0, state=BREACH, critic=BREACH)
    found = until_resolved(of, 1, state=OK, critic=BREACH)
    assert told(found) == [("state", "fallback", "resolved"), ("critic", "page", "firing")]
    assert "It began with state, which is over" in found[1].reason
    assert told(until_resolved(of, 31, state=OK, critic=OK)) == [("critic", "page", "resolved")]


def test_an_effect_of_another_policy_or_of_a_cause_in_dry_run_is_not_muted() -> None:
    of = judge(settings={"state": RuleSettings(dry_run=True)})
    assert ("critic", "page", "firing") in told(seal(of, 0, state=BREACH, critic=BREACH))
    off = judge(inhibit=False)
    assert ("critic", "page", "firing") in told(seal(off, 0, state=BREACH, critic=BREACH))
    two = judge()
    seal(two, 0, state=BREACH)
    assert [s.policy for s in sealed(two, 1, canary=BREACH)] == ["v3"]
