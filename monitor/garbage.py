"""When memory that is free is looked for: not while a poll is taken in, but between two turns of the daemon's loop.

A poll makes many containers, and none of them is in a reference cycle. What a save lets go of, several times the state,
lies between what stays, and the C library keeps such pages: 70 MB of heap for 48 in use, after ten minutes at 1,000
events/s.
"""

import ctypes
import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

CONTAINERS = (
    100_000  # more lists and dicts than one poll of decisions holds; cycles wait until so many have gathered
)
EVERY_S = 10.0
SHARE = 100  # looking takes at most one part in so many of the time
TRIM_SHARE = 500  # trimming, too: what a backlog, which saves all the time, pays for it is four times that
M_ARENA_MAX = -8  # malloc.h


def collect_rarely() -> None:
    """Raise the collector's first threshold, for the whole process: called by the command line, before a command."""
    _, middle, oldest = gc.get_threshold()
    gc.set_threshold(CONTAINERS, middle, oldest)


def one_heap() -> None:
    """Let glibc's threads share one heap: each would keep its own holes, and two seldom allocate at once under the GIL.

    For the whole process, called by the command line before there are threads; elsewhere nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


def heap_trimmer() -> Callable[[], object]:
    """What gives the free pages of the C library's heap back to the system: glibc's `malloc_trim`, 1 ms for 20 MB.

    Elsewhere (musl, macOS) nothing: their heaps have no such call.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return (lambda: None) if trim is None else lambda: trim(0)


@dataclass(slots=True)
class Sweeper:
    """Frees the cycles that other libraries leave, before they are as many as the collector waits for, and the heap.

    kafka-python (3.0.12) leaves one with each poll that times out: its exception holds the frames it went through, and
    those the records of the poll, 1.5 MB a minute at 1,000 events/s.
    """

    now_s: Callable[[], float] = monotonic
    trim: Callable[[], object] = field(default_factory=heap_trimmer)
    due_s: float = 0.0
    saved_at_ms: float = 0.0
    trim_due_s: float = 0.0

    def begin(self) -> None:
        """What is there now stays (modules, the restored state) and is not looked through again: 1 ms, not 70."""
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._give_back()
        self.due_s = self.now_s() + EVERY_S

    def turn(self, saved_at_ms: float) -> None:
        """Between two turns, when nothing of a poll is alive: give back after a save, look for cycles if it is time."""
        began_s = self.now_s()
        if saved_at_ms != self.saved_at_ms and began_s >= self.trim_due_s:
            self.saved_at_ms = saved_at_ms
            self._give_back()
        if began_s < self.due_s:
            return
        gc.collect()
        ended_s = self.now_s()
        self.due_s = ended_s + max(EVERY_S, SHARE * (ended_s - began_s))

    def _give_back(self) -> None:
        began_s = self.now_s()
        self.trim()
        ended_s = self.now_s()
        self.trim_due_s = ended_s + TRIM_SHARE * (ended_s - began_s)
