"""Steady time over jumps of the wall clock, restarts and starts of the machine."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from alerts.tray import Leaving
from monitor.clocks import Clocks, Landmark, RealClock
from monitor.persistence.checkpoint import Checkpoint
from monitor.service import landmark

HOUR_MS = 3_600_000
T0 = 1_700_000_000_000


@dataclass
class Machine:
    """true_ms: what the test knows. set_ms: how far the wall clock is set."""

    true_ms: int = T0
    set_ms: int = 0
    booted_ms: int = T0 - 50_000
    boot: str = "first"

    def now_ms(self) -> int:
        return self.true_ms + self.set_ms

    def elapsed_ms(self) -> float:
        return float(self.true_ms - self.booted_ms)

    def start_again(self) -> None:
        self.booted_ms, self.boot = self.true_ms, self.boot + " again"


@pytest.mark.parametrize("set_ms", [-HOUR_MS, HOUR_MS])
def test_wall_clock_that_is_set_while_we_live_changes_only_wall_time(set_ms: int) -> None:
    machine = Machine()
    clocks = Clocks(machine)
    machine.true_ms, machine.set_ms = T0 + 10_000, set_ms
    assert clocks.steady_ms() == T0 + 10_000
    assert clocks.now_ms() == T0 + 10_000 + set_ms
    assert clocks.landmark() == Landmark(T0 + 10_000, T0 + 10_000 + set_ms, 60_000, "first")


@pytest.mark.parametrize("set_ms", [-HOUR_MS, HOUR_MS])
def test_wall_clock_that_is_set_while_we_are_away_changes_nothing_where_the_machine_ran_on(
    set_ms: int,
) -> None:
    machine = Machine()
    kept = Clocks(machine).landmark()
    machine.true_ms, machine.set_ms = T0 + 10_000, set_ms
    assert Clocks(machine, kept).steady_ms() == T0 + 10_000


def test_jump_before_the_save_is_no_time_away_after_a_start_of_the_machine() -> None:
    machine = Machine(set_ms=HOUR_MS)
    kept = Landmark(T0, machine.now_ms(), 50_000, "first")  # the state began before the clock was set
    machine.true_ms += 5_000
    machine.start_again()
    again = Clocks(machine, kept)
    assert (again.steady_ms(), again.away_ms) == (T0 + 5_000, 5_000)


def test_only_the_wall_clock_can_tell_how_long_a_machine_was_off() -> None:
    machine = Machine()
    kept = Clocks(machine).landmark()
    machine.true_ms += 7 * HOUR_MS
    machine.start_again()
    again = Clocks(machine, kept)
    assert (again.steady_ms(), again.away_ms) == (T0 + 7 * HOUR_MS, 7 * HOUR_MS)


def test_steady_time_never_goes_back() -> None:
    """The machine was off, and its clock is an hour slow: what waits is no younger for that."""
    machine = Machine()
    kept = Clocks(machine).landmark()
    machine.set_ms = -HOUR_MS
    machine.start_again()
    assert Clocks(machine, kept).steady_ms() == T0


def test_machine_that_names_no_start_goes_by_its_wall_clock() -> None:
    machine = Machine(boot="")
    kept = Clocks(machine).landmark()
    machine.true_ms, machine.set_ms = T0 + 10_000, HOUR_MS
    assert Clocks(machine, kept).steady_ms() == T0 + 10_000 + HOUR_MS


def test_outage_is_believed_when_either_clock_says_so() -> None:
    """A machine that its host has stopped has not counted on: the backlog is looked at again all the same."""
    machine = Machine()
    kept = Clocks(machine).landmark()
    machine.set_ms = 2 * HOUR_MS
    assert Clocks(machine, kept).away_ms == 2 * HOUR_MS
    machine.set_ms, machine.true_ms = -2 * HOUR_MS, T0 + HOUR_MS
    assert Clocks(machine, kept).away_ms == HOUR_MS


def test_landmark_survives_as_plain_values() -> None:
    landmark = Landmark(1, 2, 3, "first")
    assert Landmark.of(landmark.state()) == landmark


def test_real_clocks_go_on() -> None:
    clocks = Clocks(RealClock())
    first, wall_ms = clocks.steady_ms(), clocks.now_ms()
    assert abs(first - wall_ms) < 1_000
    assert first <= clocks.steady_ms() < first + 60_000


def test_state_of_the_version_before_goes_on_by_the_wall_clock(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"shell": b""}, Leaving(), [], T0)
    kept = landmark(checkpoint, checkpoint.load())
    again = Clocks(Machine(true_ms=T0 + HOUR_MS), kept)
    assert (again.steady_ms(), again.away_ms) == (T0 + HOUR_MS, HOUR_MS)
    checkpoint.close()


def test_state_that_was_never_saved_begins_with_the_wall_clock(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    assert landmark(checkpoint, checkpoint.load()) is None
    checkpoint.close()
