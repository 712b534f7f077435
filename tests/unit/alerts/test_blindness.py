"""What a log shows of blindness: when the rollout is held, how that ends, and what is no blindness."""

from dataclasses import replace
from math import nan

import pytest

from alerts.blindness import BlindLimits, Blindness, Traffic
from alerts.signal import Signal
from detectors.measurement import Measurement, Verdict

MINUTE = 60_000
LIMITS = BlindLimits("home", MINUTE, 10 * MINUTE, 5_000, 30 * MINUTE, True, 0, rewarded_share=0.5)


def late(verdict: Verdict, share: float = 0.3) -> Measurement:
    return Measurement(
        "reward", "arrived_share", "", share, 100, verdict, 0.5, reason="rewards are late, not lower"
    )


def minutes(
    of: Blindness, start: int, n: int, decisions: int, rewarded: int, *found: Measurement
) -> list[tuple[int, Signal]]:
    """The signals of n seals, each with the minute of its seal."""
    measured = {("v1", "full"): list(found)}
    return [
        (minute, signal)
        for minute in range(start, start + n)
        for signal in of.at_seal(minute * MINUTE, Traffic(decisions, rewarded), measured, 0)
    ]


def said(found: list[tuple[int, Signal]]) -> list[tuple[int, str, str]]:
    return [(minute, signal.rule, signal.state) for minute, signal in found]


def test_rewards_that_stop_hold_the_rollout_and_their_return_ends_it() -> None:
    blind = Blindness(LIMITS)
    assert minutes(blind, 1, 60, 10, 5) == []
    found = minutes(blind, 61, 40, 10, 0)
    assert said(found) == [(91, "blind.no_rewards", "firing")]
    signal = found[0][1]
    assert (signal.kind, signal.policy, signal.deployment, signal.dry_run) == ("hold", "", "home", False)
    assert "30 min" in signal.reason
    assert "about 155 rewards were due" in signal.reason
    ended = minutes(blind, 101, 20, 10, 5)
    assert said(ended) == [(111, "blind.no_rewards", "resolved")]
    assert ended[0][1].alert_key == signal.alert_key
    assert ended[0][1].id != signal.id


def test_rewards_that_have_not_come_yet_in_a_slow_stream_are_no_blindness() -> None:
    blind = Blindness(replace(LIMITS, rewarded_share=0.01))
    assert minutes(blind, 1, 190, 10, 0) == []
    assert said(minutes(blind, 191, 20, 10, 0)) == [(200, "blind.no_rewards", "firing")]


def test_a_stream_that_never_had_rewards_is_not_blind_without_them() -> None:
    assert minutes(Blindness(replace(LIMITS, rewarded_share=0.0)), 1, 2_000, 10, 0) == []


def test_our_own_share_counts_when_enough_was_seen() -> None:
    """The baseline has no reward; the first thousand decisions had some."""
    blind = Blindness(replace(LIMITS, rewarded_share=0.0))
    minutes(blind, 1, 110, 10, 5)
    assert said(minutes(blind, 111, 40, 10, 0)) == [(141, "blind.no_rewards", "firing")]


def test_without_decisions_no_reward_is_missing() -> None:
    blind = Blindness(LIMITS)
    minutes(blind, 1, 60, 10, 5)
    assert minutes(blind, 61, 500, 0, 0) == []


def test_a_join_rate_that_stays_down_for_half_a_window_holds() -> None:
    blind = Blindness(LIMITS)
    assert minutes(blind, 1, 5, 10, 2, late(Verdict.BREACH)) == []
    assert minutes(blind, 6, 1, 10, 5, late(Verdict.OK, 1.0)) == []
    found = minutes(blind, 7, 10, 10, 2, late(Verdict.BREACH))
    assert said(found) == [(12, "blind.join_rate", "firing")]
    assert "down to 30%" in found[0][1].reason
    assert minutes(blind, 17, 30, 10, 5, late(Verdict.UNKNOWN, nan)) == []  # unknown clears nothing
    assert said(minutes(blind, 47, 11, 10, 5, late(Verdict.OK, 1.0))) == [(57, "blind.join_rate", "resolved")]


def test_a_baseline_too_old_holds() -> None:
    blind = Blindness(replace(LIMITS, baseline_ms=0, baseline_age_ms=100 * MINUTE))
    found = minutes(blind, 1, 150, 10, 5)
    assert said(found) == [(101, "blind.baseline_stale", "firing")]
    assert "ended 1.683 h ago" in found[0][1].reason


@pytest.mark.parametrize("at", [5, 40, 85, 95, 108])
def test_a_restart_changes_nothing(at: int) -> None:
    def run(restart_at: int) -> list[tuple[int, Signal]]:
        blind, found = Blindness(LIMITS), []
        for minute in range(1, 130):
            if minute == restart_at:
                after = Blindness(LIMITS)
                after.restore(blind.state())
                blind = after
            rewarded = 0 if 61 <= minute <= 100 else 5
            found += minutes(blind, minute, 1, 10, rewarded)
        return found

    assert run(at) == run(-1)
    assert len(run(-1)) == 2


def test_switched_off_says_nothing() -> None:
    blind = Blindness(replace(LIMITS, no_rewards_ms=0, join_rate=False, baseline_age_ms=0, baseline_ms=0))
    minutes(blind, 1, 60, 10, 5)
    assert minutes(blind, 61, 500, 10, 0, late(Verdict.BREACH)) == []
