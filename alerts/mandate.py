"""What one deployment's judge may do, from the config, and what its signals ask serving to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from alerts.rules import SAFETY_KINDS, USUAL, Kind, RuleSettings

EXPIRY_MS = 3_600_000  # a signal that is older than this is about a world that has moved on


@dataclass(frozen=True, slots=True)
class Mandate:
    """What the judge may do for one deployment, from the config.

    latch: the end of a condition puts no policy back. max_actions: fallbacks and rollbacks of one policy in an hour.
    inhibit: a cause mutes the pages of what follows from it.
    """

    deployment: str
    fallback_policy: str
    rollback_policy: str
    settings: Mapping[str, RuleSettings]
    bucket_ms: int
    window_ms: int
    lateness_ms: int
    dry_run: bool
    baseline: str | None = None
    prices: Mapping[str, float] = field(default_factory=dict)
    latch: bool = True
    max_actions: int = 6
    inhibit: bool = True

    def chance_per_day(self, rule: str) -> float:
        """What the rule was priced to cost; 0 where its line or hold was set by hand, and the price with it."""
        by_hand = self.settings.get(rule, USUAL)
        changed = (by_hand.sigma, by_hand.sigma_of, by_hand.hold_ms) != (
            USUAL.sigma,
            USUAL.sigma_of,
            USUAL.hold_ms,
        )
        return 0.0 if changed else self.prices.get(rule, 0.0)

    def keep_firing_ms(self, rule: str) -> int:
        """How long an alert must stay clear, in windows unless the config says otherwise.

        A change point is an instant: what follows it is a changed world, not a clear one, so its page stays for long.
        """
        chosen = self.settings.get(rule, USUAL).keep_firing_ms
        return chosen if chosen >= 0 else (36 if rule == "change" else 2) * self.window_ms

    def dry_run_of(self, rule: str) -> bool:
        """Whether a rule's signals are only for people to look at."""
        return self.dry_run or self.settings.get(rule, USUAL).dry_run

    def target(self, kind: Kind) -> str:
        """The policy that a kind of signal switches to."""
        if kind is Kind.FALLBACK:
            return self.fallback_policy
        return (self.rollback_policy or self.fallback_policy) if kind is Kind.ROLLBACK else ""

    def serve(self, kind: Kind, policy: str, *, firing: bool) -> str:
        """What serving is told to serve; a latched end repeats what was switched to."""
        return self.target(kind) if firing or self.latch or kind not in SAFETY_KINDS else policy

    def after(self, kind: Kind, policy: str, rule: str, *, seen: bool = True) -> str:
        """What the end of a condition means for what was switched; one that nobody has seen puts nothing back."""
        if kind not in SAFETY_KINDS or self.dry_run_of(rule):
            return ""
        to_policy = self.target(kind) or "what was switched to"
        if self.latch or not seen:
            return f" That puts nothing back: {to_policy} serves until a person changes it."
        return f" {policy} may serve again (latch is off)."
