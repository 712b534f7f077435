"""The words of the desk: silences, what waits for approval, what people say and what they are answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from alerts.signal import Signal


@dataclass(frozen=True, slots=True)
class Silence:
    """Stops pages that match, until a (steady) time; never a safety signal."""

    id: str
    matchers: dict[str, str]
    until_ms: int
    by: str
    why: str

    def matches(self, signal: Signal) -> bool:
        """Whether every matcher says the signal's own word."""
        own = {"deployment": signal.deployment, "policy": signal.policy, "rule": signal.rule, "kind": signal.kind,
               "stage": signal.subject}  # fmt: skip
        return all(own[name] == value for name, value in self.matchers.items())


@dataclass(frozen=True, slots=True)
class Waiting:
    """A fallback or rollback that waits for a person, from and to a steady time."""

    payload: bytes
    since_ms: int
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Terms:
    """One deployment's: which rules wait for approval, for how long, and what becomes of them unanswered."""

    approval: frozenset[str] = frozenset()
    timeout_ms: int = 600_000
    unanswered: str = "drop"
    lateness_ms: int = 0


@dataclass(frozen=True, slots=True)
class Command:
    """What a person says. do: ack, approve, reject, silence, unsilence. target: id of a signal or silence."""

    do: str
    by: str
    why: str = ""
    target: str = ""
    matchers: Mapping[str, str] = field(default_factory=dict)
    for_ms: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a command: an HTTP status and one plain sentence."""

    status: int
    text: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """now_ms: wall time. edge_ms: event time sealed. catching_up: a backlog from an outage is being read.

    fires: whether the alert of a signal fires still. set_ms: how far the wall clock has been set since the state began.
    """

    now_ms: int
    edge_ms: int
    catching_up: bool
    fires: Callable[[Signal], bool]
    set_ms: int = 0

    @property
    def steady_ms(self) -> int:
        """The time by which what waits is timed: nobody can set it."""
        return self.now_ms - self.set_ms

    @property
    def latest_ms(self) -> int:
        """By whichever clock it is later: so old is what is looked at again, and so long lives what is sent anew."""
        return max(self.now_ms, self.steady_ms)
