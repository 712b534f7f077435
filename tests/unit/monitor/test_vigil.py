"""What the wall clock says of our sight: when it holds, when it is silent, and what a restart keeps."""

from collections.abc import Callable, Iterable

from alerts.signal import Signal
from monitor.vigil import Glimpse, Vigil, vigil_for
from tests.unit.monitor.configs import config, faults

START_MS = 1_767_225_600_000
SHORT = {"no_events": "1m", "lag": "2m", "watermark": "1m"}


def vigil(**blind: object) -> Vigil:
    return vigil_for(config(deployments__home__blind=SHORT | blind))


def glimpse(
    heard: bool = True, events: int = 10, watermark_s: int | None = 0, lag: int | None = 0
) -> Glimpse:
    watermark_ms = None if watermark_s is None else START_MS + watermark_s * 1_000
    return Glimpse(frozenset({"home"} if heard else ()), events, watermark_ms, lag, watermark_ms)


def watch(
    of: Vigil, seconds: Iterable[int], seen: Callable[[int], Glimpse]
) -> list[tuple[int, str, str, Signal]]:
    return [
        (s, signal.rule, signal.state, signal)
        for s in seconds
        for signal in of.look(s * 1_000.0, START_MS + s * 1_000, seen(s))
    ]


def said(found: list[tuple[int, str, str, Signal]]) -> list[tuple[int, str, str]]:
    return [one[:3] for one in found]


def test_silence_holds_and_the_next_decision_ends_it() -> None:
    of = vigil()
    assert watch(of, range(30), lambda s: glimpse(watermark_s=s)) == []
    found = watch(of, range(30, 120), lambda s: glimpse(heard=False, events=0, watermark_s=29))
    assert said(found) == [(89, "blind.no_events", "firing")]
    signal = found[0][3]
    assert (signal.kind, signal.time_ms, signal.policy) == ("hold", START_MS + 89_000, "")
    assert said(watch(of, [120], lambda s: glimpse(watermark_s=s))) == [(120, "blind.no_events", "resolved")]


def test_a_hold_never_overtakes_the_next_bucket_nor_a_violation_of_its_moment() -> None:
    (found,) = watch(vigil(), range(90), lambda s: glimpse(heard=False, events=0, watermark_s=20))
    edge = (START_MS + 20_000 + 10_000) * 1_000  # the edge and the lateness
    assert edge + 500 < found[3].generation < edge + 600


def test_a_deployment_that_never_spoke_is_said_after_the_same_time() -> None:
    found = watch(vigil(), range(90), lambda s: glimpse(heard=False, events=0, watermark_s=None))
    assert said(found) == [(60, "blind.no_events", "firing")]


def test_events_without_time_are_a_stuck_watermark() -> None:
    of = vigil()
    found = watch(of, range(100), lambda s: glimpse(watermark_s=min(s, 10)))
    assert said(found) == [(70, "blind.watermark", "firing")]
    assert said(watch(of, range(100, 103), lambda s: glimpse(watermark_s=s))) == [
        (100, "blind.watermark", "resolved")
    ]


def test_time_that_stands_without_events_is_silence_not_a_stuck_watermark() -> None:
    found = watch(vigil(no_events="off"), range(500), lambda s: glimpse(heard=False, events=0))
    assert found == []


def test_a_lag_that_grows_all_the_time_holds_and_one_that_shrinks_does_not() -> None:
    of = vigil()
    found = watch(of, range(300), lambda s: glimpse(watermark_s=s, lag=100 * s))
    assert [one[1:3] for one in found] == [("blind.lag", "firing")]
    assert 110 <= found[0][0] <= 130
    assert "records in 2 min" in found[0][3].reason
    ended = watch(of, range(300, 400), lambda s: glimpse(watermark_s=s, lag=60_000 - 150 * s))
    assert [one[1:3] for one in ended] == [("blind.lag", "resolved")]
    assert watch(vigil(), range(600), lambda s: glimpse(watermark_s=s, lag=60_000 - 100 * s)) == []


def test_a_lag_that_goes_up_and_down_or_is_small_is_none() -> None:
    assert watch(vigil(), range(600), lambda s: glimpse(watermark_s=s, lag=5_000 + 3_000 * (s % 50))) == []
    assert watch(vigil(), range(600), lambda s: glimpse(watermark_s=s, events=1_000, lag=10 * s)) == []


def test_a_restart_goes_on_with_open_holds_and_waits_for_evidence() -> None:
    """Having just begun is no evidence that decisions come again."""
    of = vigil()
    watch(of, range(90), lambda s: glimpse(heard=False, events=0, watermark_s=20))
    after = vigil()
    after.restore(of.state())
    assert watch(after, range(200), lambda s: glimpse(heard=False, events=0, watermark_s=20)) == []
    found = watch(after, [200], lambda s: glimpse(watermark_s=200))
    assert said(found) == [(200, "blind.no_events", "resolved")]


def test_switched_off_says_nothing() -> None:
    of = vigil(no_events="off", lag="off", watermark="off")
    assert watch(of, range(900), lambda s: glimpse(heard=False, lag=100 * s)) == []


def test_the_section_is_checked() -> None:
    assert faults(deployments__home__blind={"no_events": 3, "lags": "1m"}) == [
        "deployments.home.blind.no_events: expected a string, found int",
        "deployments.home.blind.lags: unknown key (did you mean lag?)",
    ]
