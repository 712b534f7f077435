"""Silences that people set, and the pages they keep quiet. Safety signals are never silenced."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from alerts import wording
from alerts.desk_terms import Command, Moment, Reply, Silence
from alerts.signal import Signal, cloudevent, parse, rfc3339
from alerts.tray import Tray, bounded

MATCHERS = ("deployment", "policy", "rule", "stage", "kind")
MAX_SILENCES = 1_000
LONGEST_SILENCE_MS = 90 * 86_400_000


@dataclass(slots=True)
class Silences:
    """quieted: firing pages that were kept quiet, by alert. shown: those of them that escalate an alert which people
    see, so that its end is told all the same. made: how many silences ever, for their names.
    """

    tray: Tray
    silences: dict[str, Silence] = field(default_factory=dict)
    quieted: dict[str, bytes] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    made: int = 0
    silenced: int = 0

    def quiets(self, signal: Signal, at: Moment, escalates: bool = False) -> bool:
        """Whether it is kept quiet; so is the end of what was, unless people see the alert from before."""
        if signal.state == "resolved":
            quieted = self.quieted.pop(signal.alert_key, None) is not None
            return self.shown.pop(signal.alert_key, None) is None and quieted
        standing = (silence for silence in self.silences.values() if silence.until_ms > at.steady_ms)
        if signal.safety or not any(silence.matches(signal) for silence in standing):
            self.quieted.pop(signal.alert_key, None)
            self.shown.pop(signal.alert_key, None)
            return False
        if escalates and signal.alert_key not in self.quieted:
            bounded(self.shown, signal.alert_key, signal.id)
        bounded(self.quieted, signal.alert_key, cloudevent(signal))
        self.silenced += 1
        self.tray.note(at, "signal_silenced", {"signal": signal.id, "alert": signal.alert_key})
        return True

    def tick(self, at: Moment) -> bool:
        """Silences end by themselves; whether one did."""
        over = [name for name, silence in self.silences.items() if silence.until_ms <= at.steady_ms]
        for name in over:
            silence = self.silences.pop(name)
            self.tray.note(at, "silence_ended", {"silence": name, "by": silence.by})
        return bool(over)

    def start(self, command: Command, at: Moment) -> Reply:
        """A new silence, if it is one that may be."""
        refusal = self._refusal(command)
        if refusal is not None:
            return refusal
        self.made += 1
        name = f"sil_{at.now_ms:x}_{self.made}"
        made = Silence(name, dict(command.matchers), at.steady_ms + command.for_ms, command.by, command.why)
        self.silences[made.id] = made
        until = rfc3339(at.now_ms + command.for_ms)
        detail = {"silence": name, "matchers": made.matchers, "why": made.why, "until": until}
        self.tray.note(at, "silenced", detail, command.by)
        return Reply(200, f"pages are silenced until {until}; fallbacks and rollbacks are not", name)

    def end(self, command: Command, at: Moment) -> Reply:
        """A person ends a silence before its time."""
        if self.silences.pop(command.target, None) is None:
            return Reply(404, f"no silence {command.target}")
        self.tray.note(at, "unsilenced", {"silence": command.target, "why": command.why}, command.by)
        return Reply(200, "the silence is over", command.target)

    def freed(self) -> Iterator[Signal]:
        """What no silence covers any more, and fires still: it is to be said now."""
        for key, payload in list(self.quieted.items()):
            signal = parse(payload)
            if not any(silence.matches(signal) for silence in self.silences.values()):
                del self.quieted[key]
                self.shown.pop(key, None)
                yield signal

    def covers(self, signal: Signal) -> bool:
        """Whether a silence matches it."""
        return any(silence.matches(signal) for silence in self.silences.values())

    def view(self, set_ms: int) -> list[dict[str, Any]]:
        """What a person asks, until when by a wall clock that has been set so far."""
        return [
            {
                "id": s.id,
                "matchers": dict(s.matchers),
                "until": rfc3339(s.until_ms + set_ms),
                "by": s.by,
                "why": s.why,
            }
            for s in self.silences.values()
        ]

    def _refusal(self, command: Command) -> Reply | None:
        wrong = [name for name in command.matchers if name not in MATCHERS]
        if wrong or not command.matchers:
            no = f", not {', '.join(wrong)}" if wrong else ""
            return Reply(400, f"match by at least one of {', '.join(MATCHERS)}{no}")
        if not 0 < command.for_ms <= LONGEST_SILENCE_MS:
            longest = wording.span(LONGEST_SILENCE_MS)
            return Reply(400, f"a silence lasts longer than nothing and at most {longest}")
        if not command.why.strip():
            return Reply(400, "say why")
        if len(self.silences) >= MAX_SILENCES:
            return Reply(409, f"there are {MAX_SILENCES} silences; end one first")
        return None
