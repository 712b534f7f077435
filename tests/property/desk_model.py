"""What should become of signals on their way out, said a second time: silences, approvals, acknowledgements."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tests.property.alert_model import Name, Said, Terms


@dataclass
class DeskModel:
    """open: what fires, sent or not. waiting: until when. out, again: what leaves with the next save."""

    terms: Terms
    open: dict[Name, Said] = field(default_factory=dict)
    silences: dict[str, tuple[Mapping[str, str], int]] = field(default_factory=dict)
    quieted: dict[Name, Said] = field(default_factory=dict)
    shown: set[Name] = field(default_factory=set)  # of the quieted: told before
    waiting: dict[str, tuple[Said, int]] = field(default_factory=dict)
    refused: dict[str, Said] = field(default_factory=dict)
    acked: set[Name] = field(default_factory=set)
    late: dict[tuple[str, str], Said] = field(default_factory=dict)
    made: int = 0
    out: list[Said] = field(default_factory=list)
    again: list[str] = field(default_factory=list)

    def take(self, signals: Iterable[Said], now_ms: int) -> None:
        for one in signals:
            before = one.name in self.open
            if one.state == "firing":
                self.open[one.name] = one
            elif not self._began(one, now_ms):
                continue
            if one.acts and one.rule in self.terms.approval and not one.hard:
                self.waiting[one.id] = (one, now_ms + self.terms.approval_ms)
                self._page("approval", one, now_ms)
            elif one.rule != "closed_loop" or not self._withheld(one):
                self._out(one, now_ms, before=before)

    def take_again(self, ids: Iterable[str]) -> None:
        self.again += [name for name in ids if name not in self.waiting and name not in self.refused]

    def tick(self, now_ms: int) -> None:
        for name in [name for name, (_, until_ms) in self.silences.items() if until_ms <= now_ms]:
            del self.silences[name]
            self._speak_up()
        for name in [name for name, (_, until_ms) in self.waiting.items() if until_ms <= now_ms]:
            one, _ = self.waiting.pop(name)
            self._ask_over(one, now_ms)
            if self.terms.unanswered == "send":
                self.out.append(one)
            else:
                self.refused[name] = one
                self._page("approval.unanswered", one, now_ms)

    def decide(self, name: str, now_ms: int, *, agreed: bool) -> bool:
        """Whether there was something to decide."""
        if name not in self.waiting:
            return False
        one, _ = self.waiting.pop(name)
        self._ask_over(one, now_ms)
        if agreed:
            self.out.append(one)
        else:
            self.refused[name] = one
        return True

    def ack(self, name: str) -> bool:
        known = [*self.open.values(), *(one for one, _ in self.waiting.values())]
        found = [one for one in known if one.id == name]
        self.acked |= {one.name for one in found}
        return bool(found)

    def silence(self, matchers: Mapping[str, str], now_ms: int, for_ms: int, set_ms: int) -> None:
        self.made += 1
        self.silences[f"sil_{now_ms + set_ms:x}_{self.made}"] = (matchers, now_ms + for_ms)

    def unsilence(self, name: str) -> bool:
        if self.silences.pop(name, None) is None:
            return False
        self._speak_up()
        return True

    def overdue(self, name: str, receiver: str, now_ms: int, alert: Name) -> None:
        known = [*self.open.values(), *(one for one, _ in self.waiting.values())]
        about = next((one for one in known if one.id == name), self.open.get(alert))
        if about is not None and (name, receiver) not in self.late:
            told = self._late(about, receiver)
            self.late[name, receiver] = about
            if not told:
                self._page("delivery.overdue", replace(about, subject=receiver), now_ms)

    def arrived(self, name: str, receiver: str, now_ms: int) -> None:
        about = self.late.pop((name, receiver), None)
        if about is not None and not self._late(about, receiver):
            self._page("delivery.overdue", replace(about, subject=receiver), now_ms, "resolved")

    def given_up(self, name: str, receiver: str, ending: str, now_ms: int, *, fires: bool) -> None:
        self.late.pop((name, receiver), None)
        known = [*self.open.values(), *(one for one, _ in self.waiting.values())]
        about = next((one for one in known if one.id == name), None)
        if about is not None:
            self.again += [name] if ending == "expired" and fires else []
            self._page("delivery.expired", replace(about, subject=receiver), now_ms)

    def _late(self, about: Said, receiver: str) -> bool:
        return any(where == receiver and one.policy == about.policy for (_, where), one in self.late.items())

    def _began(self, ended: Said, now_ms: int) -> bool:
        """Whether the beginning went out or may go out yet."""
        if ended.hard and ended.name in self.open and self.open[ended.name].at_ms >= ended.at_ms:
            return False  # of an earlier one
        self.acked.discard(ended.name)
        fired = self.open.pop(ended.name, None)
        if fired is None:
            return True
        if fired.id in self.waiting:
            del self.waiting[fired.id]
            self._ask_over(ended, now_ms)
            return False
        return self.refused.pop(fired.id, None) is None

    def _withheld(self, page: Said) -> bool:
        asked = [one for one, _ in self.waiting.values()] + list(self.refused.values())
        return any((one.policy, one.subject) == (page.policy, page.subject) for one in asked)

    def _page(self, rule: str, about: Said, now_ms: int, state: str = "firing") -> None:
        page = Said(rule, about.policy, about.subject, "page", state)
        before = page.name in self.open
        if state == "firing":
            self.open[page.name] = page
        else:
            self.open.pop(page.name, None)
        self._out(page, now_ms, before=before)

    def _ask_over(self, about: Said, now_ms: int) -> None:
        """One page for all that wait of a policy."""
        if not any(
            one.policy == about.policy and one.subject == about.subject for one, _ in self.waiting.values()
        ):
            self._page("approval", about, now_ms, "resolved")

    def _out(self, one: Said, now_ms: int, *, before: bool) -> None:
        if one.state == "resolved":
            if self.quieted.pop(one.name, None) is None or one.name in self.shown:
                self.out.append(one)
            self.shown.discard(one.name)
        elif not one.acts and any(
            _matches(matchers, one) for matchers, until_ms in self.silences.values() if until_ms > now_ms
        ):
            self.shown |= {one.name} if before and one.name not in self.quieted else set()
            self.quieted[one.name] = one
        else:
            self.quieted.pop(one.name, None)
            self.shown.discard(one.name)
            self.out.append(one)

    def _speak_up(self) -> None:
        for name, one in list(self.quieted.items()):
            if not any(_matches(matchers, one) for matchers, _ in self.silences.values()):
                del self.quieted[name]
                self.shown.discard(name)
                self.out.append(one)


def _matches(matchers: Mapping[str, str], one: Said) -> bool:
    own = {
        "policy": one.policy,
        "rule": one.rule,
        "kind": one.kind,
        "stage": one.subject,
        "deployment": "home",
    }
    return all(own[name] == value for name, value in matchers.items())
