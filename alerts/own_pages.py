"""Pages that the desk raises itself, and signals that it sends with a new life."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace as changed

from alerts.desk_terms import Moment, Terms
from alerts.holds import HOLD_MS, LAST_TICK, TICKS_PER_MS, HoldOrder, hold_signal
from alerts.open_signals import OpenSignals
from alerts.signal import Signal, State
from alerts.silences import Silences
from alerts.tray import Tray

FIRST_TICK = 550  # behind the seals of a moment, before its violations


@dataclass(slots=True)
class OwnPages:
    """A page of our own goes the same way as all others: it too can be silenced.

    newest: by deployment, the newest generation that was given here.
    """

    terms: Mapping[str, Terms]
    tray: Tray
    silencing: Silences
    opened: OpenSignals
    newest: dict[str, int] = field(default_factory=dict)

    def page(
        self, about: Signal, rule: str, reason: str, at: Moment, subject: str, state: State = "firing"
    ) -> None:
        """A page about another signal."""
        tick = self.tick(about.deployment, at)
        order = HoldOrder(
            rule, state, reason, at.now_ms, at.now_ms, tick, "page", about.policy, subject, at.edge_ms
        )
        self.say(about.deployment, order, at, about.dry_run)

    def say(self, deployment: str, order: HoldOrder, at: Moment, dry_run: bool = False) -> None:
        """The page of an order."""
        page = hold_signal(deployment, self.terms_of(deployment).lateness_ms, order, dry_run)
        self.tray.raised.append(page)
        escalates = False
        if page.state == "firing":
            escalates = self.opened.begin(page)
        else:
            self.opened.drop(page)
        if not self.silencing.quiets(page, at, escalates):
            self.tray.out.append(page)

    def fresh(self, signal: Signal, at: Moment, why: str = "") -> Signal:
        """The same signal under the same id, with a life and a generation that a receiver takes now."""
        begin = self._begin(signal.deployment, at)
        generation = max(signal.generation, begin + self.tick(signal.deployment, at))
        reason = f"{signal.reason} ({why})" if why else signal.reason
        return changed(signal, generation=generation, expires_at_ms=at.latest_ms + HOLD_MS, reason=reason)

    def tick(self, deployment: str, at: Moment) -> int:
        """The place among the signals of this moment: the next each time, or a receiver refuses the second as old."""
        begin = self._begin(deployment, at)
        tick = min(max(FIRST_TICK, self.newest.get(deployment, 0) + 1 - begin), LAST_TICK)
        self.newest[deployment] = begin + tick
        return tick

    def _begin(self, deployment: str, at: Moment) -> int:
        return (at.edge_ms + self.terms_of(deployment).lateness_ms) * TICKS_PER_MS

    def terms_of(self, deployment: str) -> Terms:
        """The usual ones where the config has none."""
        return self.terms.get(deployment, Terms())


def deed(signal: Signal) -> str:
    """What a safety signal asks for."""
    return f"{signal.kind} of {signal.policy} to {signal.to_policy or 'the previous policy'}"
