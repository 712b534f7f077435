"""Which part of a declared season a baseline has seen."""

import pytest

from monitor.judging.coverage import coverage

HOUR, DAY = 3_600_000, 86_400_000
AUGUST = 1_659_312_000_000


def hours(days: float) -> list[int]:
    return list(range(AUGUST, AUGUST + int(days * DAY), HOUR))


def test_without_a_season_everything_is_seen() -> None:
    assert coverage("none", hours(1)).sees(0, DAY)


@pytest.mark.parametrize(("after_days", "seen"), [(-30.0, True), (-1.0, True), (3.0, False), (100.0, False)])
def test_the_time_of_the_year_ends_where_the_baseline_ends(after_days: float, seen: bool) -> None:
    """Not at the end of the fortnight for which effects are learnt: the year goes on in it."""
    end_ms = AUGUST + int((84 + after_days) * DAY)
    assert coverage("year", hours(84)).sees(end_ms - 7 * DAY, end_ms) is seen


def test_the_same_time_of_the_next_year_is_seen() -> None:
    found = coverage("year", hours(84))
    assert found.sees(AUGUST + 375 * DAY, AUGUST + 382 * DAY)
    assert not found.sees(AUGUST + 355 * DAY, AUGUST + 362 * DAY)


def test_a_window_that_ends_in_an_unseen_hour_is_not_seen() -> None:
    starts = [t for t in hours(14) if (t // HOUR) % 24 != 4]
    found = coverage("hour-of-day", starts)
    half_past = AUGUST + 14 * DAY + 3 * HOUR + HOUR // 2
    assert found.sees(half_past - HOUR, half_past)
    assert not found.sees(half_past, half_past + HOUR)
    assert 4 not in found.covered
