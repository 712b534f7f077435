"""Cycles that other libraries leave, and free pages of the heap, are given back by the daemon's loop, in their time."""

import gc
import os
import platform
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monitor import garbage
from monitor.cli import main
from monitor.commands import run
from monitor.garbage import EVERY_S, SHARE, TRIM_SHARE, Sweeper
from tests.unit.monitor.own_process import alone

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's heap can be asked")


class Knot:
    """Refers to itself, as the exception of a poll that timed out does."""

    def __init__(self) -> None:
        self.me = self


@dataclass
class Clock:
    """What it shows, and how long each look takes."""

    s: float = 0.0
    look_s: float = 0.0

    def __call__(self) -> float:
        self.s += self.look_s
        return self.s


@pytest.fixture(autouse=True)
def seldom() -> Iterator[None]:
    """As in the daemon: the collector does not come by itself."""
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


def left_behind() -> "weakref.ref[Knot]":
    return weakref.ref(Knot())


def test_a_cycle_is_freed_when_it_is_time_and_not_before() -> None:
    clock = Clock()
    sweeper = Sweeper(clock)
    sweeper.begin()
    knot = left_behind()
    clock.s = EVERY_S - 0.1
    sweeper.turn(0.0)
    assert knot() is not None
    clock.s = EVERY_S
    sweeper.turn(0.0)
    assert knot() is None


def test_looking_takes_at_most_its_share_of_the_time() -> None:
    clock = Clock()
    sweeper = Sweeper(clock)
    sweeper.begin()
    clock.s, clock.look_s = EVERY_S, 1.0
    sweeper.turn(0.0)
    assert sweeper.due_s - clock.s == SHARE
    knot = left_behind()
    clock.s += SHARE / 2
    sweeper.turn(0.0)
    assert knot() is not None


def test_what_was_there_at_the_beginning_is_looked_through_again_after_a_reload() -> None:
    clock = Clock()
    sweeper = Sweeper(clock)
    old = Knot()
    gone = weakref.ref(old)
    sweeper.begin()
    del old
    clock.s = EVERY_S
    sweeper.turn(0.0)
    assert gone() is not None
    sweeper.begin()
    assert gone() is None


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def with_holes() -> list[float]:
    """Resident MB in a new process: before, with 40 MB of free memory between blocks that stay, and after a save."""
    clock = Clock()
    sweeper = Sweeper(clock)
    sweeper.begin()
    seen = [resident_mb()]
    blocks = [bytes(4_000) for _ in range(10_000)]
    stays = blocks[::50]
    del blocks
    sweeper.turn(0.0)
    seen.append(resident_mb())
    sweeper.turn(1.0)
    assert len(stays) == 200
    return [*seen, resident_mb()]


def test_the_heap_is_trimmed_after_a_save_but_for_a_small_share_of_the_time() -> None:
    clock, trims, took_s = Clock(), list[float](), 0.01

    def trim() -> None:
        trims.append(clock.s)
        clock.s += took_s

    sweeper = Sweeper(clock, trim)
    sweeper.begin()
    due_s = took_s + TRIM_SHARE * took_s
    for at_s, saved_at_ms in (
        (0.1, 0.0),
        (9.9, 0.0),
        (10.0, 1.0),
        (11.0, 1.0),
        (11.0, 2.0),
        (10.0 + due_s, 2.0),
    ):
        clock.s = at_s
        sweeper.turn(saved_at_ms)
    assert trims == [0.0, 10.0, 10.0 + due_s]


def threads_heaps() -> int:
    """How many heaps of 64 MB glibc has laid out for six threads that hold memory at one moment."""
    held, leave = list[bytes](), threading.Event()
    filled = threading.Barrier(7)

    def hold() -> None:
        held.extend(bytes(3_000) for _ in range(100))
        filled.wait()
        leave.wait()

    threads = [threading.Thread(target=hold) for _ in range(6)]
    for thread in threads:
        thread.start()
    filled.wait()
    starts = [
        line.split("-")[0] for line in Path("/proc/self/maps").read_text().splitlines() if " rw-p " in line
    ]
    leave.set()
    for thread in threads:
        thread.join()
    return sum(int(start, 16) % (64 << 20) == 0 for start in starts)


def threads_heaps_by_command_line() -> int:
    with suppress(SystemExit):
        main(["check", "--config", "there is none"])
    return threads_heaps()


@glibc
def test_threads_share_one_heap_in_a_command() -> None:
    assert alone(threads_heaps) > 0
    assert alone(threads_heaps_by_command_line) == 0


@glibc
def test_free_memory_between_blocks_that_stay_goes_back_to_the_system() -> None:
    before, holed, after = alone(with_holes)
    assert holed - before > 35
    assert after - before < 5


def test_the_loop_of_the_daemon_frees_what_a_turn_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "EVERY_S", 0.0)
    stopping, knots, alive = run.Stopping(), list["weakref.ref[Knot]"](), list[bool]()

    def step() -> None:
        alive.extend(knot() is not None for knot in knots)
        knots.append(left_behind())
        if len(knots) == 2:
            stopping.leave.set()

    watch: Any = SimpleNamespace(connected=lambda _: None, inspect=lambda _: None)
    service: Any = SimpleNamespace(
        daemon=SimpleNamespace(step=step, saved_at_ms=0.0), watch=watch, stop=lambda: None
    )
    config: Any = None
    log: Any = SimpleNamespace(info=lambda _: None)
    telemetry: Any = None
    run._serve(config, tmp_path, log, telemetry, watch, stopping, lambda *_: service)
    assert alive == [False]
