"""From a deployment's config to what each detector may rely on and may cost."""

from typing import Any

from alerts.rules import RULE_OF, RuleSettings, false_per_day, share_of
from detectors.protocol import Plan
from monitor.config import DeploymentConfig


def plan_for(config: DeploymentConfig, detector: str) -> Plan:
    """The plan of one detector: its rule's share of the budget, split over the rule's detectors."""
    rule = RULE_OF.get(detector, "")
    settings = config.rules.get(rule, RuleSettings())
    share = false_per_day(config.rules, config.false_per_day).get(rule, 0.0)
    return Plan(
        bucket_ms=config.bucket_ms,
        window_buckets=config.window_buckets,
        horizon_ms=config.reward_horizon_ms,
        false_per_day=share * share_of(rule, detector),
        min_samples=config.min_samples,
        sigma=settings.sigma,
        sigma_of=settings.sigma_of,
        gamma=config.gamma,
        cost_budgets={name: (cost.budget, cost.per) for name, cost in config.costs.items()},
        options=_options(config, settings),
    )


def _options(config: DeploymentConfig, settings: RuleSettings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "components": config.components,
        "metrics": config.metrics,
        "missing_reward": config.missing_reward,
        "season": config.season,
    }
    if settings.budget >= 0:
        options["budget"] = settings.budget
    return options
