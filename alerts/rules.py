"""Which statistics make a rule, what a rule does by default, and what the config may change about it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a signal asks for."""

    FALLBACK = "fallback"
    ROLLBACK = "rollback"
    HOLD = "hold"
    PROMOTE = "promote"
    RETRAIN = "retrain"
    PAGE = "page"


SAFETY_KINDS = frozenset({Kind.FALLBACK, Kind.ROLLBACK})


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """One rule as configured; -1 and None mean `as calibrated`.

    hold_ms: how long a breach must last. keep_firing_ms: how long it must stay clear before it resolves.
    false_per_day: this rule's own share of the budget. budget: latency in ms, for the latency rule. approval: a person
    must agree to what it asks serving to do.
    """

    kind: Kind | None = None
    enabled: bool = True
    sigma: float = 2.0
    sigma_of: str = "window"
    hold_ms: int = -1
    keep_firing_ms: int = -1
    false_per_day: float = -1.0
    dry_run: bool = False
    budget: float = -1.0
    approval: bool = False


USUAL = RuleSettings()

# rule -> the detectors whose armed measurements it listens to; one line per rule
DETECTORS: Mapping[str, tuple[str, ...]] = {
    "reward": ("reward", "sequential"),
    "constraint": ("costs", "violations"),
    "state": ("state_kl", "state_mmd", "sequential"),
    "canary": ("comparison",),
    "actions": ("action_mix", "sequential"),
    "critic": ("critic", "sequential"),
    "proxy": ("proxy",),
    "quality": ("state_quality",),
    "latency": ("latency",),
    "metrics": ("metrics",),
    "change": ("change_points",),
    "candidates": ("candidates",),
}

# the three rules of the contract trip the fallback; everything else tells a person
DEFAULT_KINDS: Mapping[str, Kind] = {
    "reward": Kind.FALLBACK,
    "constraint": Kind.FALLBACK,
    "state": Kind.FALLBACK,
    "canary": Kind.ROLLBACK,
    "actions": Kind.PAGE,
    "critic": Kind.PAGE,
    "proxy": Kind.PAGE,
    "quality": Kind.PAGE,
    "latency": Kind.PAGE,
    "metrics": Kind.PAGE,
    "change": Kind.PAGE,
    "candidates": Kind.HOLD,
}

# what is said about the daemon's own sight and about what it asked for; no detector speaks for these
OWN_KINDS: Mapping[str, Kind] = {
    "blind.no_events": Kind.HOLD,
    "blind.no_rewards": Kind.HOLD,
    "blind.join_rate": Kind.HOLD,
    "blind.lag": Kind.HOLD,
    "blind.watermark": Kind.HOLD,
    "blind.baseline_stale": Kind.HOLD,
    "blind.offsets_gone": Kind.HOLD,
    "closed_loop": Kind.PAGE,
    "approval": Kind.PAGE,
    "approval.unanswered": Kind.PAGE,
    "delivery.overdue": Kind.PAGE,
    "delivery.expired": Kind.PAGE,
    "catch_up": Kind.PAGE,
    "state.damaged": Kind.PAGE,
}

# a cause and what follows from it for the same policy: the pages of the latter are muted while the cause is fresh
DOWNSTREAM: Mapping[str, tuple[str, ...]] = {"state": ("reward", "actions", "critic", "proxy", "change")}
CAUSE_OF = {effect: cause for cause, effects in DOWNSTREAM.items() for effect in effects}

RULE_OF = {detector: rule for rule, detectors in DETECTORS.items() for detector in detectors}

SEQUENTIAL = "sequential"
SEQUENTIAL_SHARE = 0.9  # of the budget of a rule that has sequential tests: they find small changes soonest


def share_of(rule: str, detector: str) -> float:
    """The part of a rule's budget that one of its detectors may cost."""
    detectors = DETECTORS.get(rule, ())
    if SEQUENTIAL not in detectors:
        return 1 / max(1, len(detectors))
    return SEQUENTIAL_SHARE if detector == SEQUENTIAL else (1 - SEQUENTIAL_SHARE) / (len(detectors) - 1)


# statistics that speak for another rule than their detector's: late rewards are no lower rewards; the sequential tests
# speak for the rule whose numbers they add up
_EXCEPTIONS = {
    ("reward", "arrived_share"): "quality",
    ("sequential", "reward_fall"): "reward",
    ("sequential", "state_shift"): "state",
    ("sequential", "action_shift"): "actions",
    ("sequential", "critic_shift"): "critic",
    ("sequential", "critic_over_by_action"): "critic",
    ("sequential", "critic_over_by_segment"): "critic",
}


def rule_of(detector: str, statistic: str) -> str:
    """The rule that listens to a statistic, "" for none."""
    return _EXCEPTIONS.get((detector, statistic)) or RULE_OF.get(detector, "")


def armed(settings: Mapping[str, RuleSettings]) -> tuple[str, ...]:
    """The rules that may signal, in the fixed order of the table."""
    return tuple(rule for rule in DETECTORS if rule not in settings or settings[rule].enabled)


def false_per_day(
    settings: Mapping[str, RuleSettings], budget: float, lineless: Collection[str] = ()
) -> dict[str, float]:
    """The deployment's one budget shared over the armed rules; own shares are taken off first.

    lineless: rules for which the config draws no line that chance could pass. They cost nothing, so they get nothing.
    """
    rules = [rule for rule in armed(settings) if rule not in lineless]
    own = {rule: s.false_per_day for rule, s in settings.items() if rule in rules and s.false_per_day > 0}
    rest = [rule for rule in rules if rule not in own]
    left = max(budget - sum(own.values()), budget * 0.01)
    return {rule: own.get(rule, left / max(1, len(rest))) for rule in rules}


def kind_for(rule: str, stage: str, elsewhere: bool, settings: Mapping[str, RuleSettings]) -> Kind:
    """What a tripped rule asks for.

    Full traffic falls back; a canary is rolled back when only it trips (`elsewhere`: the same rule trips for the
    full traffic too, so the canary is not the cause); a shadow only holds the rollout; what already serves the
    fallback can only be told to a person.
    """
    chosen = settings.get(rule, USUAL).kind or DEFAULT_KINDS[rule]
    if chosen not in SAFETY_KINDS:
        return chosen
    if stage == "canary":
        return Kind.PAGE if elsewhere else Kind.ROLLBACK
    if stage == "shadow":
        return Kind.HOLD
    return Kind.PAGE if stage == "fallback" else chosen
