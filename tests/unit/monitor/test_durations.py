"""Durations, rates and instants as people write them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.durations import duration_ms, human_duration, rate_per_day, rfc3339


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("500ms", 500),
        ("1s", 1_000),
        ("10s", 10_000),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("30d", 2_592_000_000),
        ("1w", 604_800_000),
        ("1.5h", 5_400_000),
        (" 10 s ", 10_000),
    ],
)
def test_a_duration_reads_as_it_is_written(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "10", "s", "10 secs", "-1s", "1h30m", "10M", "1e3s", "inf s", "nan"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write 500ms, 10s, 5m, 2h or 30d"):
        duration_ms(text)


@pytest.mark.parametrize("text", ["0s", "0ms", "0.1ms"])
def test_a_duration_is_longer_than_zero(text: str) -> None:
    with pytest.raises(ValueError, match="longer than zero"):
        duration_ms(text)


@pytest.mark.parametrize(
    ("text", "per_day"),
    [
        ("1 per 30d", 1 / 30),
        ("2 per 1h", 48.0),
        ("1 per d", 1.0),
        ("0.5 per 1w", 0.5 / 7),
        ("1 per day", None),
    ],
)
def test_a_rate_is_events_per_day(text: str, per_day: float | None) -> None:
    if per_day is None:
        with pytest.raises(ValueError, match="not a duration"):
            rate_per_day(text)
    else:
        assert rate_per_day(text) == pytest.approx(per_day)


@pytest.mark.parametrize(
    "text", ["", "1", "1/30d", "one per 30d", "1 per", "-1 per 1d", "0 per 1d", "1 per 0d"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        rate_per_day(text)


@pytest.mark.parametrize(
    ("ms", "text"), [(600_000, "10m"), (90_000, "90s"), (604_800_000, "1w"), (1_500, "1500ms"), (0, "0ms")]
)
def test_a_duration_is_told_in_its_largest_whole_unit(ms: int, text: str) -> None:
    assert human_duration(ms) == text


@given(st.integers(1, 10**12))
def test_what_is_told_reads_back_as_the_same(ms: int) -> None:
    assert duration_ms(human_duration(ms)) == ms


@given(st.integers(0, 4 * 10**12))
def test_an_instant_is_written_to_the_millisecond(ms: int) -> None:
    written = datetime.fromisoformat(rfc3339(ms))
    assert written.tzinfo == UTC
    assert written - datetime.fromtimestamp(0, UTC) == (
        datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
        - datetime.fromtimestamp(0, UTC)
    )
