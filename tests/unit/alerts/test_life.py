"""The life of one alert, in series notation: one word per sealed bucket of 10 s."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.life import Alert, AlertState, Change, Sight, step
from alerts.rules import RuleSettings
from detectors.measurement import Verdict
from tests.unit.alerts.series import BUCKET_MS, START_MS, expanded, lived, measured, transitions

SIGHTS = st.sampled_from(list(Sight))


@pytest.mark.parametrize(
    ("series", "lives"),
    [
        ("ok*4", "-*4"),
        ("ok*2 breach ok", "-*2 firing*2"),
        ("ok breach*2 ok*5", "- firing*5 resolved -"),
        ("breach ok*4 breach ok*4", "firing*4 resolved firing*4 resolved"),
        ("breach ok*3 breach ok*4", "firing*8 resolved"),
        ("breach near*9 ok*4", "firing*13 resolved"),
        ("near*3 breach", "-*3 firing"),
        ("unknown*3", "-*3"),
        ("error*3", "-*3"),
    ],
)
def test_a_breach_that_is_paid_at_once_fires_and_resolves_after_staying_clear(
    series: str, lives: str
) -> None:
    assert lived(series) == " ".join(expanded(lives))


@pytest.mark.parametrize(
    ("series", "lives"),
    [
        ("ok*3 breach*4 ok*9", "-*3 pending*3 firing*4 resolved -*5"),
        ("breach*3 ok breach*4", "pending*3 - pending*3 firing"),
        ("breach*3 near breach*4", "pending*3 - pending*3 firing"),
        ("breach*2 unknown*5 breach*2", "pending*8 firing"),
        ("breach*2 error*5 breach*2", "pending*8 firing"),
        ("breach*3 ok*9", "pending*3 -*9"),
    ],
)
def test_a_hold_of_three_buckets_makes_a_breach_last_three_buckets(series: str, lives: str) -> None:
    assert lived(series, hold=3) == " ".join(expanded(lives))


def test_a_hold_of_the_config_counts_like_one_of_the_budget() -> None:
    held = RuleSettings(hold_ms=3 * BUCKET_MS)
    assert (
        lived("breach*5", settings=held)
        == lived("breach*5", hold=3)
        == "pending pending pending firing firing"
    )


def test_a_hold_of_the_config_wins_over_that_of_the_budget() -> None:
    assert lived("breach*2", hold=50, settings=RuleSettings(hold_ms=BUCKET_MS)) == "pending firing"


def test_a_hold_is_rounded_up_to_whole_buckets() -> None:
    assert lived("breach*3", settings=RuleSettings(hold_ms=BUCKET_MS + 1)) == "pending pending firing"


@pytest.mark.parametrize("blind", ["unknown", "error"])
def test_what_is_not_known_never_clears_and_never_counts_as_clear(blind: str) -> None:
    assert lived(f"breach {blind}*20") == " ".join(["firing"] * 21)
    # three clear buckets are needed after the first: the blind ones in between are not among them
    assert lived(f"breach ok*2 {blind}*20 ok*2") == " ".join(expanded("firing*24 resolved"))
    assert lived(f"breach {blind} ok*4") == " ".join(expanded("firing*5 resolved"))


def test_time_in_which_nothing_was_sealed_does_not_count_as_clear() -> None:
    alert, _ = step(Alert(), Sight.PAID, START_MS, 3)
    alert, _ = step(alert, Sight.CLEAR, START_MS + BUCKET_MS, 3)
    alert, change = step(alert, Sight.CLEAR, START_MS + 86_400_000, 3)  # a night without traffic
    assert (alert.state, change) == (AlertState.FIRING, None)


@pytest.mark.parametrize("seed", range(5))
def test_a_metric_that_sits_on_the_line_for_a_day_makes_at_most_two_transitions(seed: int) -> None:
    severities = np.random.default_rng(seed).normal(1.0, 0.1, 8_640)
    noisy = [measured(Verdict.BREACH if s > 1 else Verdict.OK, float(s)) for s in severities]
    lives = list(transitions(noisy, RuleSettings(), keep_seals=120))
    assert _changes(lives) <= 2
    assert "firing" in lives  # the line was crossed all day: it is told


@pytest.mark.parametrize("seed", range(5))
def test_without_hysteresis_the_same_day_would_be_a_storm(seed: int) -> None:
    """The test above can fail: the raw verdicts change thousands of times."""
    over = np.random.default_rng(seed).normal(1.0, 0.1, 8_640) > 1
    assert np.count_nonzero(over[1:] != over[:-1]) > 3_000


def test_an_incident_keeps_the_time_at_which_it_fired_as_its_name() -> None:
    alert, _ = step(Alert(), Sight.PAID, START_MS, 0)
    alert, change = step(alert, Sight.CLEAR, START_MS + BUCKET_MS, 0)
    assert change is Change.RESOLVED
    assert alert.fired_ms == START_MS
    alert, change = step(alert, Sight.PAID, START_MS + 5 * BUCKET_MS, 0)
    assert change is Change.FIRED
    assert alert.fired_ms == START_MS + 5 * BUCKET_MS


@given(st.lists(SIGHTS, max_size=60), st.integers(0, 5))
def test_fired_and_resolved_take_turns_and_each_has_its_cause(sights: list[Sight], keep: int) -> None:
    alert, told = Alert(), []
    for i, sight in enumerate(sights):
        before = alert
        alert, change = step(alert, sight, START_MS + i * BUCKET_MS, keep)
        if change is Change.FIRED:
            assert sight is Sight.PAID
        if change is Change.RESOLVED:
            assert sight is Sight.CLEAR
        if sight is Sight.UNKNOWN:
            assert (alert, change) == (before, None)
        told += [change] if change else []
    assert all(change is (Change.RESOLVED if i % 2 else Change.FIRED) for i, change in enumerate(told))


@given(st.lists(SIGHTS, max_size=60))
def test_what_is_not_known_can_be_left_out_of_a_life(sights: list[Sight]) -> None:
    known = [sight for sight in sights if sight is not Sight.UNKNOWN]
    assert _told(sights) == _told(known)


def _told(sights: list[Sight]) -> list[Change]:
    alert, told = Alert(), []
    for i, sight in enumerate(sights):
        alert, change = step(alert, sight, START_MS + i * BUCKET_MS, 3)
        told += [change] if change else []
    return told


def _changes(lives: list[str]) -> int:
    return sum((a == "firing") != (b == "firing") for a, b in zip(["-", *lives], lives, strict=False))
