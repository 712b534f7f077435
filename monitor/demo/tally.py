"""What the serving layer knows of its own traffic: decisions and rewards by second of the decision."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.demo.world import SHELVES

_KEPT = 120  # seconds; a reward that is later than this is forgotten


@dataclass(slots=True)
class Second:
    """One second of decisions. fallback: decisions of the safe policy. shelves: decisions by action."""

    at_s: int
    decisions: int = 0
    fallback: int = 0
    joined: int = 0
    reward: float = 0.0
    shelves: list[int] = field(default_factory=lambda: [0] * len(SHELVES))

    @property
    def mean(self) -> float:
        """Mean of the rewards that are known; NaN without any."""
        return self.reward / self.joined if self.joined else float("nan")


def mean_of(seconds: Sequence[Second]) -> float:
    """Mean of all known rewards; NaN without any."""
    joined = sum(second.joined for second in seconds)
    return sum(second.reward for second in seconds) / joined if joined else float("nan")


@dataclass(slots=True)
class Tally:
    """`take_changed` gives every second that has changed since it was last asked."""

    seconds: dict[int, Second] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)

    def decided(self, event: dict[str, Any], fallback: bool) -> None:
        """A decision was sent."""
        second = self._second(event["ts"] // 1000)
        second.decisions += 1
        second.fallback += fallback
        second.shelves[event["action"]] += 1

    def rewarded(self, decided_ms: int, reward: float) -> None:
        """A reward became known for a decision of that time."""
        second = self._second(decided_ms // 1000)
        second.joined += 1
        second.reward += reward

    def take_changed(self) -> list[Second]:
        """Oldest first."""
        found = [self.seconds[at] for at in sorted(self.changed)]
        self.changed.clear()
        return found

    def _second(self, at_s: int) -> Second:
        self.changed.add(at_s)
        if at_s not in self.seconds:
            self.seconds[at_s] = Second(at_s)
            for old in [known for known in self.seconds if known < at_s - _KEPT]:
                del self.seconds[old]
        return self.seconds[at_s]
