"""The desk's out tray: signals, repeats, pages and audit records, until they are saved; and how much a table keeps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alerts.desk_terms import Moment
from alerts.record import Record
from alerts.signal import Signal

MAX_KEPT = 2_000  # open signals, withheld ones, decisions and acknowledgements, each
SELF = "policywatch"


@dataclass(slots=True)
class Tray:
    """out: new signals. again: those to send once more. raised: the desk's own pages, silenced ones too."""

    out: list[Signal] = field(default_factory=list)
    raised: list[Signal] = field(default_factory=list)
    again: list[Signal] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def note(self, at: Moment, what: str, detail: Mapping[str, Any], who: str = SELF) -> None:
        """A line of the audit log."""
        self.records.append(Record(at.now_ms, what, who[:200], detail))

    def leaving(self) -> tuple[list[Signal], list[Signal], list[Record]]:
        """New signals in the order of their generations, signals to send again, audit records."""
        return sorted(self.out, key=lambda signal: signal.generation), self.again, self.records

    def left(self) -> list[Signal]:
        """All of it is saved; returns the pages that the desk raised itself."""
        raised, self.raised = self.raised, []
        self.out, self.again, self.records = [], [], []
        return raised

    @property
    def idle(self) -> bool:
        """Whether there is nothing to save."""
        return not (self.out or self.again or self.records)


def bounded(table: dict[str, Any], key: str, value: Any) -> None:
    """Put at the end; the oldest goes when there are too many."""
    table.pop(key, None)
    table[key] = value
    while len(table) > MAX_KEPT:
        del table[next(iter(table))]
