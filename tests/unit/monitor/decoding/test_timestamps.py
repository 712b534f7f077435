"""Event time from the three forms of the wire."""

import pytest

from monitor.decoding.timestamps import BAD, to_ms


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (0, 0),
        (1_767_225_600_000, 1_767_225_600_000),
        (1767225600.0, 1_767_225_600_000),
        (1575158463.979, 1_575_158_463_979),
        (1.0005, 1_000),
        (1.0006, 1_001),
        ("1970-01-01T00:00:00Z", 0),
        ("2021-02-04T16:31:29.2460000Z", 1_612_456_289_246),
        ("2021-02-04T18:31:29.246+02:00", 1_612_456_289_246),
        ("2021-02-04t16:31:29.2465z", 1_612_456_289_247),
        ("2199-12-31T23:59:59.999Z", 7_258_118_399_999),
        (7_258_118_400_000, BAD),
        (-1, BAD),
        (2**70, BAD),
        (-0.6, BAD),
        (1.7e308, BAD),
        ("2021-02-04", BAD),
        ("2021-02-04T16:31:29", BAD),
        ("9999-12-31T23:59:59-23:59", BAD),
        ("", BAD),
    ],
)
def test_a_time_reads_the_same_alone_and_among_others(time: float | str, expected: int) -> None:
    assert to_ms([time]).tolist() == [expected]
    assert to_ms([time, 5, 5.0, "1970-01-01T00:00:05Z"]).tolist() == [expected, 5, 5_000, 5_000]


def test_an_integer_is_milliseconds_and_a_point_makes_it_seconds() -> None:
    assert to_ms([1_000, 1_000]).tolist() == [1_000, 1_000]
    assert to_ms([1_000.0, 1_000.0]).tolist() == [1_000_000, 1_000_000]


def test_no_times_are_no_milliseconds() -> None:
    assert to_ms([]).tolist() == []
