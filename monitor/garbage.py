"""When Python looks for reference cycles: not while a poll is taken in, but between two turns of the daemon's loop.

A poll makes many containers, and none of them is in a cycle.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

CONTAINERS = (
    100_000  # more lists and dicts than one poll of decisions holds; cycles wait until so many have gathered
)
EVERY_S = 10.0
SHARE = 100  # looking takes at most one part in so many of the time


def collect_rarely() -> None:
    """Raise the collector's first threshold, for the whole process: called by the command line, before a command."""
    _, middle, oldest = gc.get_threshold()
    gc.set_threshold(CONTAINERS, middle, oldest)


@dataclass(slots=True)
class Sweeper:
    """Frees the cycles that other libraries leave, before they are as many as the collector waits for.

    kafka-python (3.0.12) leaves one with each poll that times out: its exception holds the frames it went through, and
    those the records of the poll, 1.5 MB a minute at 1,000 events/s.
    """

    now_s: Callable[[], float] = monotonic
    due_s: float = 0.0

    def begin(self) -> None:
        """What is there now stays (modules, the restored state) and is not looked through again: 1 ms, not 70."""
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self.due_s = self.now_s() + EVERY_S

    def turn(self) -> None:
        """Between two turns of the loop, when nothing of a poll is alive: look, if it is time."""
        began_s = self.now_s()
        if began_s < self.due_s:
            return
        gc.collect()
        ended_s = self.now_s()
        self.due_s = ended_s + max(EVERY_S, SHARE * (ended_s - began_s))
