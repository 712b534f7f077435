"""The desk's out tray, until it is saved: signals, repeats, acknowledgements, audit records; how much a table keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from alerts.desk_terms import Moment
from alerts.record import Record
from alerts.signal import Signal

MAX_KEPT = 2_000  # open signals, withheld ones, decisions and acknowledgements, each
SELF = "policywatch"


class Again(NamedTuple):
    """A signal to send once more. receiver: the only one that gets it, "" for all."""

    signal: Signal
    receiver: str = ""


class Leaving(NamedTuple):
    """What one save takes along.

    signals: new, in the order of their generations. again: to send once more. seen: open ones that somebody has
    acknowledged. records: of the audit log.
    """

    signals: Sequence[Signal] = ()
    again: Sequence[Again] = ()
    seen: Sequence[Signal] = ()
    records: Sequence[Record] = ()


@dataclass(slots=True)
class Tray:
    """out: new signals. raised: the desk's own pages, silenced ones too. again, seen, records: as in `Leaving`."""

    out: list[Signal] = field(default_factory=list)
    raised: list[Signal] = field(default_factory=list)
    again: list[Again] = field(default_factory=list)
    seen: list[Signal] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def note(self, at: Moment, what: str, detail: Mapping[str, Any], who: str = SELF) -> None:
        """A line of the audit log."""
        self.records.append(Record(at.now_ms, what, who[:200], detail))

    def leaving(self) -> Leaving:
        """All of it; it stays here until `left`."""
        signals = sorted(self.out, key=lambda signal: signal.generation)
        return Leaving(signals, self.again, self.seen, self.records)

    def left(self) -> list[Signal]:
        """All of it is saved; returns the pages that the desk raised itself."""
        raised, self.raised = self.raised, []
        self.out, self.again, self.seen, self.records = [], [], [], []
        return raised

    @property
    def idle(self) -> bool:
        """Whether there is nothing to save."""
        return not any(self.leaving())


def bounded(table: dict[str, Any], key: str, value: Any) -> None:
    """Put at the end; the oldest goes when there are too many."""
    table.pop(key, None)
    table[key] = value
    while len(table) > MAX_KEPT:
        del table[next(iter(table))]
