"""Safety signals that a receiver has not got: late, arrived after all, or never. A person is told by another way."""

from dataclasses import dataclass, field

from alerts import wording
from alerts.desk_terms import Moment
from alerts.holds import HoldOrder
from alerts.own_pages import OwnPages, deed
from alerts.signal import Signal, cloudevent, parse
from alerts.tray import Again, bounded


@dataclass(slots=True)
class Overdue:
    """Both by signal and receiver. late: whose it is (deployment, policy) and since when a person knows. doubted: what
    ran out of time in an outage, to be looked at when the backlog is read.
    """

    own: OwnPages
    late: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    doubted: dict[str, bytes] = field(default_factory=dict)

    def missed(self, signal_id: str, signal: Signal, receiver: str, age_ms: int, at: Moment) -> None:
        """It has not arrived yet; said once for each receiver and policy. signal: it, or a newer one of its alert."""
        name = f"{signal_id} {receiver}"
        if name in self.late:
            return
        opened_ms = self._since(signal.deployment, signal.policy, receiver)
        since_ms = at.now_ms if opened_ms is None else opened_ms
        bounded(self.late, name, (signal.deployment, signal.policy, since_ms))
        if opened_ms is not None:
            return
        reason = (
            f"{signal.deployment}: the {deed(signal)} has not arrived at {receiver} for {wording.span(age_ms)}; "
            "serving may not know. Switch by hand."
        )
        self.own.page(signal, "delivery.overdue", reason, at, receiver)

    def misses(self, page: Signal) -> bool:
        """Whether this is the page of something that is late still."""
        return page.rule == "delivery.overdue" and (
            self._since(page.deployment, page.policy, page.subject) is not None
        )

    def arrived(self, signal_id: str, receiver: str, at: Moment) -> None:
        """Delivered: what was late is so no more; the page ends with the last of its policy."""
        late = self.late.pop(f"{signal_id} {receiver}", None)
        if late is None:
            return
        deployment, policy, opened_ms = late
        if self._since(deployment, policy, receiver) is not None:
            return
        reason = f"{deployment}: the signal about {policy} has arrived at {receiver}."
        tick = self.own.tick(deployment, at)
        order = HoldOrder(
            "delivery.overdue", "resolved", reason, opened_ms, at.now_ms, tick, "page", policy, receiver, at.edge_ms
        )  # fmt: skip
        self.own.say(deployment, order, at)

    def lost(self, signal_id: str, receiver: str) -> None:
        """It will not arrive; the page about it stays until a later one of its policy does."""
        self.late.pop(f"{signal_id} {receiver}", None)

    def given_up(self, signal: Signal, receiver: str, ending: str, at: Moment) -> None:
        """It left the outbox undelivered; sent anew to who missed it where it ran out of time and is true still."""
        if ending == "expired" and at.catching_up:
            bounded(self.doubted, f"{signal.id} {receiver}", cloudevent(signal))
            return
        holds = self.own.opened.find(signal.id) is not None and (at.fires(signal) or self.misses(signal))
        if not signal.safety:
            self._page_again(signal, receiver, at, holds=ending == "expired" and holds)
            return
        if ending == "expired" and holds:
            self.own.tray.again.append(Again(self.own.fresh(signal, at), receiver))
            then = "the condition still holds, so it is sent anew"
        else:
            then = "it is not sent any more"
        reason = f"{signal.deployment}: the {deed(signal)} never arrived at {receiver} ({ending}); {then}."
        self.own.page(signal, "delivery.expired", reason, at, receiver)

    def _page_again(self, page: Signal, receiver: str, at: Moment, *, holds: bool) -> None:
        """To who missed it, unless somebody has silenced it since."""
        if holds and not self.own.silencing.covers(page):
            why = f"it expired on its way to {receiver} and fires still"
            self.own.tray.note(at, "sent_anew", {"signal": page.id, "why": why})
            self.own.tray.again.append(Again(self.own.fresh(page, at), receiver))

    def tick(self, at: Moment) -> None:
        """The backlog is read: whether what ran out of time holds still can be said now."""
        if at.catching_up or not self.doubted:
            return
        doubted, self.doubted = self.doubted, {}
        for name, payload in doubted.items():
            self.given_up(parse(payload), name.rpartition(" ")[2], "expired", at)

    def _since(self, deployment: str, policy: str, receiver: str) -> int | None:
        """Since when a person knows that signals about a policy are late at a receiver; None where none is."""
        known = (
            since_ms
            for name, (of, about, since_ms) in self.late.items()
            if (of, about) == (deployment, policy) and name.endswith(f" {receiver}")
        )
        return next(known, None)
