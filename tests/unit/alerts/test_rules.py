"""Which rules are armed, how the budget is shared, and what a tripped rule asks for at each stage."""

import pytest

from alerts.rules import DEFAULT_KINDS, DETECTORS, Kind, RuleSettings, armed, false_per_day, kind_for, rule_of
from detectors.registry import REGISTRY

DEFAULT_FALLBACKS = ("reward", "constraint", "state")


@pytest.mark.parametrize("rule", DEFAULT_FALLBACKS)
@pytest.mark.parametrize(
    ("stage", "elsewhere", "kind"),
    [
        ("full", False, Kind.FALLBACK),
        ("full", True, Kind.FALLBACK),
        ("canary", False, Kind.ROLLBACK),
        ("canary", True, Kind.PAGE),
        ("shadow", False, Kind.HOLD),
        ("shadow", True, Kind.HOLD),
        ("fallback", False, Kind.PAGE),
    ],
)
def test_the_three_default_rules_ask_by_stage(rule: str, stage: str, elsewhere: bool, kind: Kind) -> None:
    assert kind_for(rule, stage, elsewhere, {}) is kind


@pytest.mark.parametrize("rule", sorted(set(DEFAULT_KINDS) - {*DEFAULT_FALLBACKS, "canary", "candidates"}))
@pytest.mark.parametrize("stage", ["full", "canary", "shadow", "fallback"])
def test_every_other_rule_pages_at_every_stage(rule: str, stage: str) -> None:
    assert kind_for(rule, stage, False, {}) is Kind.PAGE


@pytest.mark.parametrize("stage", ["full", "canary", "shadow", "fallback"])
def test_a_candidate_is_held_at_every_stage(stage: str) -> None:
    assert kind_for("candidates", stage, False, {}) is Kind.HOLD


def test_a_rule_raised_to_fallback_behaves_like_the_default_ones() -> None:
    raised = {"actions": RuleSettings(kind=Kind.FALLBACK)}
    asked = [kind_for("actions", stage, False, raised) for stage in ("full", "canary", "shadow", "fallback")]
    assert asked == [Kind.FALLBACK, Kind.ROLLBACK, Kind.HOLD, Kind.PAGE]


def test_a_rule_lowered_to_a_page_only_pages() -> None:
    assert kind_for("reward", "full", False, {"reward": RuleSettings(kind=Kind.PAGE)}) is Kind.PAGE


def test_every_rule_is_armed_unless_somebody_turned_it_off() -> None:
    assert armed({}) == tuple(DETECTORS)
    assert armed({"state": RuleSettings(enabled=False)}) == tuple(
        rule for rule in DETECTORS if rule != "state"
    )


def test_every_detector_of_the_registry_has_a_rule_that_listens_to_it() -> None:
    only_counts = {"state_moments", "critic_groups", "action_answers"}  # for sequential tests, and to explain
    listened = {spec.name for spec in REGISTRY if rule_of(spec.name, "anything") in DETECTORS}
    assert listened == {spec.name for spec in REGISTRY} - only_counts


def test_what_nobody_knows_has_no_rule() -> None:
    assert rule_of("astrology", "mean") == ""


def test_the_budget_is_shared_evenly_and_adds_up() -> None:
    shares = false_per_day({}, 1 / 30)
    assert len(set(shares.values())) == 1
    assert sum(shares.values()) == pytest.approx(1 / 30)


def test_a_rule_that_is_off_leaves_its_share_to_the_others() -> None:
    shares = false_per_day({"state": RuleSettings(enabled=False)}, 1.0)
    assert "state" not in shares
    assert sum(shares.values()) == pytest.approx(1.0)


def test_a_rule_without_a_line_costs_nothing_and_leaves_its_share_to_the_others() -> None:
    shares = false_per_day({}, 1.0, {"latency", "metrics"})
    assert shares.keys() == DETECTORS.keys() - {"latency", "metrics"}
    assert sum(shares.values()) == pytest.approx(1.0)


def test_an_own_share_is_taken_off_before_the_rest_is_shared() -> None:
    shares = false_per_day({"reward": RuleSettings(false_per_day=0.5)}, 1.0)
    assert shares["reward"] == 0.5
    assert sum(shares.values()) == pytest.approx(1.0)


def test_own_shares_beyond_the_budget_leave_the_others_a_little_not_nothing() -> None:
    shares = false_per_day({"reward": RuleSettings(false_per_day=5.0)}, 1.0)
    assert 0 < shares["state"] < 0.01
