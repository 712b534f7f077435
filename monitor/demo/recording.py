"""What was seen of one demo: seconds of traffic, looks at the daemon, signals, marks; a value that JSON can hold."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from monitor.demo.tally import Second, mean_of

MARKS = ("serving", "change", "detected", "delivered", "fallback", "recovered")
STEADY_S = 4  # seconds of traffic that a recovery is judged on
REGAINED = 0.4  # share of the lost reward that must be back


@dataclass(slots=True)
class Look:
    """One sealed bucket of the learned policy, as the daemon's status has it. verdicts: worst by rule."""

    at_ms: int
    value: float | None
    line: float | None
    n: int
    verdicts: dict[str, str]


@dataclass(slots=True)
class Received:
    """One signal that the serving layer has received and verified. verdict: what its receiver did about it."""

    at_ms: int
    verdict: str
    data: dict[str, Any]


@dataclass(slots=True)
class Recording:
    """marks: wall time by name. baseline: `mean`, `decisions`, `seconds`, `digest`. refused: forged or old requests."""

    seed: int
    broker: str
    baseline: dict[str, Any] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)
    seconds: dict[int, Second] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def mark(self, name: str, at_ms: int) -> bool:
        """Whether it is the first time."""
        first = name not in self.marks
        self.marks.setdefault(name, at_ms)
        return first

    @property
    def act(self) -> Received | None:
        """The signal that was obeyed."""
        return next((one for one in self.received if one.verdict == "applied"), None)

    def full_seconds(self) -> list[Second]:
        """Oldest first, without the first and the last, which are not whole."""
        return [self.seconds[at] for at in sorted(self.seconds)][1:-1]

    def mean_before(self) -> float:
        """Mean reward before the change."""
        change = self.marks.get("change", 1 << 62)
        return mean_of([s for s in self.full_seconds() if (s.at_s + 1) * 1000 <= change])

    def mean_fallen(self) -> float:
        """Mean reward of the learned policy after the change."""
        change = self.marks.get("change", 1 << 62)
        return mean_of([s for s in self.full_seconds() if s.at_s * 1000 >= change and not s.fallback])

    def mean_fallback(self) -> float:
        """Mean reward of the safe policy."""
        return mean_of([s for s in self.full_seconds() if s.fallback and s.fallback == s.decisions])

    def regained(self) -> float:
        """Share of the lost reward that the fallback has brought back; NaN before there is any."""
        lost = self.mean_before() - self.mean_fallen()
        return (self.mean_fallback() - self.mean_fallen()) / lost if lost > 0 else float("nan")

    def has_recovered(self) -> bool:
        """Whether the last `STEADY_S` mature seconds of the safe policy have regained enough."""
        served = [s for s in self.full_seconds() if s.fallback and s.fallback == s.decisions]
        steady = [s for s in served if s.joined == s.decisions][-STEADY_S:]
        before, fallen = self.mean_before(), self.mean_fallen()
        return len(steady) == STEADY_S and mean_of(steady) >= fallen + REGAINED * (before - fallen)

    def missing(self) -> list[str]:
        """What kept the loop from closing, in words; empty where it closed."""
        said = list(self.faults)
        words = {"serving": "the serving layer never decided", "change": "the world was never changed",
                 "detected": "the daemon raised no fallback after the change",
                 "delivered": "no genuine signal reached the serving layer",
                 "fallback": "the serving layer did not fall back",
                 "recovered": "the reward did not recover"}  # fmt: skip
        missed = [words[name] for name in MARKS if name not in self.marks]
        return said + missed[:1]


def save_recording(recording: Recording, path: Path) -> None:
    """Written whole."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(recording), indent=1))


def load_recording(path: Path) -> Recording:
    """The recording of an earlier run."""
    return msgspec.json.decode(path.read_bytes(), type=Recording)
