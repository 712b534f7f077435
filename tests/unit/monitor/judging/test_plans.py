"""From the config to what each rule may cost."""

import pytest

from alerts.rules import DETECTORS
from monitor.judging.plans import plan_for, shares_of
from tests.unit.monitor.worlds import small


def test_rules_without_a_line_in_the_config_leave_their_shares_to_the_others() -> None:
    home = small().deployments["home"]
    shares = shares_of(home)
    assert shares.keys() == DETECTORS.keys() - {"constraint", "latency", "metrics"}
    assert sum(shares.values()) == pytest.approx(home.false_per_day)


def test_costs_metrics_and_a_latency_budget_bring_their_rules_a_share() -> None:
    home = small(
        deployments__home__costs={"complaint": {"budget": 0.1, "per": "decision"}},
        deployments__home__metrics=["sales"],
        deployments__home__rules={"latency": {"budget": 50.0}},
    ).deployments["home"]
    shares = shares_of(home)
    assert shares.keys() == DETECTORS.keys()
    assert plan_for(home, "latency").false_per_day == pytest.approx(home.false_per_day / len(DETECTORS))
