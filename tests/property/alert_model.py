"""What alerts should do, said a second time in plain words: dictionaries, one alert at a time, nothing of the product.

`Rules` follows the log (seals, forbidden actions, who decides); `Desk` follows people and the wall clock. Both are told
things in the order in which the daemon does them, and answer with what should be said.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

HOUR_MS = 3_600_000
ORDER = ("reward", "state", "critic", "latency")  # in which a seal judges them
FOLLOWS = {"reward", "critic"}  # from a state shift
ACTS = {"fallback", "rollback"}
Key = tuple[str, str]  # policy, stage
Name = tuple[str, str, str]  # rule, policy, stage or whatever it is about


@dataclass(frozen=True, order=True)
class Said:
    """One signal, as far as the model cares."""

    rule: str
    policy: str
    subject: str
    kind: str
    state: str
    to_policy: str = ""
    dry_run: bool = False
    id: str = field(default="", compare=False)
    hard: bool = field(default=False, compare=False)
    at_ms: int = field(default=0, compare=False)

    @property
    def name(self) -> Name:
        return self.rule, self.policy, self.subject

    @property
    def acts(self) -> bool:
        return self.kind in ACTS and self.state == "firing" and not self.dry_run


@dataclass(frozen=True)
class Terms:
    """What the config says."""

    bucket_ms: int = 10_000
    window_ms: int = 30_000
    keep_seals: int = 2
    within_ms: int = 30_000
    hold: Mapping[str, int] = field(default_factory=lambda: {"critic": 1})
    latch: bool = True
    max_actions: int = 2
    inhibit: bool = True
    dry: frozenset[str] = frozenset()
    approval: frozenset[str] = frozenset()
    approval_ms: int = 600_000
    unanswered: str = "drop"

    @property
    def quiet_ms(self) -> int:
        return self.keep_seals * self.bucket_ms

    def to_policy(self, kind: str) -> str:
        return {"fallback": "rules", "rollback": "v1"}.get(kind, "")


@dataclass
class Life:
    """One alert: how long it has been in breach, since when it fires, how often it was clear since."""

    streak: int = 0
    fired_ms: int | None = None
    clears: int = 0
    kind: str = ""
    muted: bool = False


@dataclass
class Asked:
    """An action that serving was asked for, and what has decided since."""

    said: Said
    fired_ms: int
    deadline_ms: int
    bad_ms: int = -1
    good_ms: int = -1
    missed: int = 0


@dataclass
class Rules:
    """The alerts of one deployment in event time."""

    terms: Terms
    lives: dict[Name, Life] = field(default_factory=dict)
    acted: dict[str, list[int]] = field(default_factory=dict)
    incidents: dict[Key, list[list[int]]] = field(default_factory=dict)  # first and last
    asked: dict[str, Asked] = field(default_factory=dict)
    last_ms: dict[Key, int] = field(default_factory=dict)

    def forbidden(self, key: Key, at_ms: int) -> list[Said]:
        """A forbidden action that was executed."""
        mine = self.incidents.setdefault(key, [])
        for one in mine:
            if one[0] - self.terms.quiet_ms < at_ms < one[1] + self.terms.quiet_ms:
                one[:] = [min(one[0], at_ms), max(one[1], at_ms)]
                return []
        mine.append([at_ms, at_ms])
        return [self._hard(key, "firing")]

    def seal(
        self, end_ms: int, sights: Mapping[Key, Mapping[str, str]], served: Mapping[Key, int]
    ) -> list[Said]:
        """sights: what each rule sees, for keys with decisions. served: last decision of each key in the bucket."""
        self.last_ms |= served
        seen = {
            key: words
            for key, words in sights.items()
            if self.last_ms.get(key, 0) >= end_ms - self.terms.window_ms
        }
        trips = {
            (rule, key): self._trips(rule, key, word)
            for key, words in seen.items()
            for rule, word in words.items()
        }
        said = [
            one
            for key in sorted(seen)
            for rule in ORDER
            for one in self._rule(rule, key, seen, trips, end_ms)
        ]
        for key in sorted(self.incidents):
            for one in [one for one in self.incidents[key] if one[1] + self.terms.quiet_ms <= end_ms]:
                self.incidents[key].remove(one)
                goes_on = any(other[0] < end_ms for other in self.incidents[key])
                said += [] if goes_on else [self._hard(key, "resolved")]
        return said

    def follow(self, said: Iterable[Said], fired_ms: int) -> None:
        """Actions that went out are looked after; `id` is known by now."""
        for one in said:
            if one.acts:
                wait_ms = self.terms.within_ms + (
                    self.terms.approval_ms if one.rule in self.terms.approval else 0
                )
                self.asked[one.id] = Asked(one, fired_ms, fired_ms + wait_ms)

    def loops(
        self, end_ms: int, served: Mapping[Key, int], ended: Iterable[Said]
    ) -> tuple[list[Said], list[str]]:
        """Pages about what is not served, and ids to be sent again; the oldest of a key speaks for all of it."""
        over = {one.name for one in ended if one.state == "resolved"}
        gone = [one for one in self.asked.values() if one.said.name in over and one.fired_ms < end_ms]
        self.asked = {name: one for name, one in self.asked.items() if one not in gone}
        late = {(one.said.policy, one.said.subject) for one in gone if one.missed}
        late -= {(one.said.policy, one.said.subject) for one in self.asked.values() if one.missed}
        pages = [Said("closed_loop", *key, "page", "resolved") for key in late]
        again: list[str] = []
        spoken: set[Key] = set()
        for name in sorted(self.asked, key=lambda name: (self.asked[name].fired_ms, name)):
            one = self.asked[name]
            if one.fired_ms >= end_ms:
                continue
            key = (one.said.policy, one.said.subject)
            leads = key not in spoken
            spoken.add(key)
            for other, last_ms in served.items():
                if last_ms > one.fired_ms and other == key:
                    one.bad_ms = last_ms
                elif last_ms > one.fired_ms and self._wanted(other, one):
                    one.good_ms = max(one.good_ms, last_ms)
            page = Said("closed_loop", *key, "page", "firing")
            quiet = key not in served or end_ms - one.bad_ms >= self.terms.within_ms
            if one.good_ms > max(one.bad_ms, one.fired_ms) and quiet:
                del self.asked[name]
                pages += [replace(page, state="resolved")] if one.missed and leads else []
            elif end_ms >= one.deadline_ms and (one.bad_ms > one.deadline_ms or one.good_ms < 0):
                one.missed, one.deadline_ms = one.missed + 1, end_ms + self.terms.within_ms
                pages += [page] if leads and one.missed in (1, 3) else []
                again += [name] if leads and one.missed <= 30 else []
        return pages, again

    def fires(self, said: Said) -> bool:
        life = self.lives.get(said.name)
        if said.rule == "constraint":
            return bool(self.incidents.get((said.policy, said.subject)))
        return life is not None and life.fired_ms is not None

    def _wanted(self, other: Key, one: Asked) -> bool:
        if one.said.kind == "rollback":
            return other[0] != one.said.policy
        return other[1] == "fallback" or other[0] == one.said.to_policy

    def _trips(self, rule: str, key: Key, word: str) -> str:
        """breach, and `paid` once it has lasted."""
        life = self.lives.setdefault((rule, *key), Life())
        life.streak = life.streak + 1 if word == "breach" else life.streak if word == "unknown" else 0
        return "paid" if word == "breach" and life.streak > self.terms.hold.get(rule, 0) else word

    def _rule(
        self,
        rule: str,
        key: Key,
        seen: Mapping[Key, object],
        trips: Mapping[tuple[str, Key], str],
        now_ms: int,
    ) -> list[Said]:
        life, sight = self.lives[rule, *key], trips[rule, key]
        if life.fired_ms is not None:
            if sight != "unknown":
                life.clears = life.clears + 1 if sight == "ok" else 0
            if life.clears > self.terms.keep_seals:
                return self._ends(rule, key, life)
            return self._outlives(rule, key, life, trips, now_ms)
        if sight != "paid":
            return []
        life.fired_ms, life.clears = now_ms, 0
        elsewhere = any(
            other != key and other[1] == "full" and trips[rule, other] in ("paid", "breach") for other in seen
        )
        kind = self._kind(rule, key, elsewhere)
        if kind == "page" and self._caused(rule, key, trips, now_ms, self.terms.window_ms):
            life.muted = True
            return []
        if kind in ACTS and rule not in self.terms.dry:
            recent = [at for at in self.acted.get(key[0], []) if at > now_ms - HOUR_MS]
            if len(recent) >= self.terms.max_actions:
                kind = "page"
            else:
                recent.append(now_ms)
            self.acted[key[0]] = recent
        return self._fires(rule, key, life, kind)

    def _fires(self, rule: str, key: Key, life: Life, kind: str) -> list[Said]:
        life.kind = kind
        return [Said(rule, *key, kind, "firing", self.terms.to_policy(kind), rule in self.terms.dry)]

    def _ends(self, rule: str, key: Key, life: Life) -> list[Said]:
        life.fired_ms, life.clears, muted, life.muted = None, 0, life.muted, False
        if muted:
            return []
        to_policy = self.terms.to_policy(life.kind) if self.terms.latch or life.kind not in ACTS else key[0]
        return [Said(rule, *key, life.kind, "resolved", to_policy, rule in self.terms.dry)]

    def _outlives(
        self, rule: str, key: Key, life: Life, trips: Mapping[tuple[str, Key], str], now_ms: int
    ) -> list[Said]:
        if not life.muted or self._caused(rule, key, trips, now_ms, 10**15):
            return []
        life.muted = False
        return self._fires(rule, key, life, "page")

    def _caused(
        self, rule: str, key: Key, trips: Mapping[tuple[str, Key], str], now_ms: int, within_ms: int
    ) -> bool:
        if rule not in FOLLOWS or not self.terms.inhibit or "state" in self.terms.dry:
            return False
        fired_ms = self.lives["state", *key].fired_ms
        return now_ms - fired_ms <= within_ms if fired_ms is not None else trips["state", key] == "paid"

    def _kind(self, rule: str, key: Key, elsewhere: bool) -> str:
        if rule in ("critic", "latency"):
            return "page"
        if key[1] == "canary":
            return "page" if elsewhere else "rollback"
        return "fallback"

    def _hard(self, key: Key, state: str) -> Said:
        kind = "rollback" if key[1] == "canary" else "fallback"
        to_policy = self.terms.to_policy(kind) if state == "firing" or self.terms.latch else key[0]
        return Said("constraint", *key, kind, state, to_policy, hard=True)
