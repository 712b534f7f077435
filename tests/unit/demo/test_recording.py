"""What a recording concludes: recovered or not, how much came back, and what kept the loop from closing."""

from pathlib import Path

import pytest

from monitor.demo.recording import MARKS, Recording, load_recording, save_recording
from monitor.demo.tally import Second, Tally
from monitor.demo.timeline import timeline


def test_share_of_the_lost_reward_by_hand() -> None:
    recording = _recording(before=0.8, fallen=0.3, fallback=0.6)
    assert recording.mean_before() == pytest.approx(0.8)
    assert recording.mean_fallen() == pytest.approx(0.3)
    assert recording.regained() == pytest.approx(0.6)
    assert recording.has_recovered()


def test_reward_that_stays_low_has_not_recovered() -> None:
    assert not _recording(before=0.8, fallen=0.3, fallback=0.45).has_recovered()


def test_seconds_whose_rewards_are_still_out_do_not_count_as_recovery() -> None:
    recording = _recording(before=0.8, fallen=0.3, fallback=0.7)
    for second in recording.seconds.values():
        if second.fallback:
            second.joined -= 1
    assert not recording.has_recovered()


def test_what_is_missing_is_the_first_step_that_was_not_reached() -> None:
    recording = _recording(before=0.8, fallen=0.3, fallback=0.7)
    assert recording.missing() == []
    del recording.marks["recovered"], recording.marks["delivered"]
    assert recording.missing() == ["no genuine signal reached the serving layer"]
    recording.faults.append("a false alarm before the change")
    assert recording.missing()[0] == "a false alarm before the change"


def test_timeline_counts_from_the_change_and_from_the_step_before() -> None:
    recording = Recording(1, "in-memory", marks={"serving": 1_000, "change": 9_000, "detected": 13_000,
                                                 "delivered": 13_040})  # fmt: skip
    steps = [(step.name, step.after_ms, step.since_ms) for step in timeline(recording)]
    assert steps == [("serving", None, None), ("change", None, None), ("detected", 4_000, 4_000),
                     ("delivered", 4_040, 40)]  # fmt: skip


def test_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    recording = _recording(before=0.8, fallen=0.3, fallback=0.6)
    save_recording(recording, tmp_path / "r.json")
    assert load_recording(tmp_path / "r.json") == recording


def test_tally_counts_a_reward_in_the_second_of_its_decision_and_tells_each_change_once() -> None:
    tally = Tally()
    tally.decided({"ts": 10_400, "action": 2}, fallback=False)
    tally.rewarded(10_400, 1.0)
    (second,) = tally.take_changed()
    assert (second.at_s, second.decisions, second.joined, second.reward) == (10, 1, 1, 1.0)
    assert second.shelves[2] == 1
    assert tally.take_changed() == []


def _recording(before: float, fallen: float, fallback: float) -> Recording:
    """100 decisions a second; change at 10 s, fallback at 20 s, and a part of a second at both ends."""
    recording = Recording(
        1, "in-memory", marks=dict(zip(MARKS, (0, 10_000, 19_500, 19_600, 20_000, 26_000), strict=True))
    )
    for at_s in range(-1, 31):
        mean = before if at_s < 10 else fallen if at_s < 20 else fallback
        safe = 100 if at_s >= 20 else 0
        recording.seconds[at_s] = Second(at_s, 100, safe, 100, 100 * mean)
    return recording
