"""From a deployment's config to what each detector may rely on and may cost."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from alerts.rules import RULE_OF, RuleSettings, false_per_day, share_of
from detectors.candidates.life import LifePlan
from detectors.ope import CostBudget
from detectors.protocol import Baseline, Plan
from detectors.rewards.quantile_sketch import seen_range
from monitor.config import DeploymentConfig


def plan_for(config: DeploymentConfig, detector: str) -> Plan:
    """The plan of one detector: its rule's share of the budget, split over the rule's detectors."""
    rule = RULE_OF.get(detector, "")
    settings = config.rules.get(rule, RuleSettings())
    share = shares_of(config).get(rule, 0.0)
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


def shares_of(config: DeploymentConfig) -> dict[str, float]:
    """False signals per day that each rule may cost; one without a line in this config leaves its own to the others."""
    lines = {
        "constraint": bool(config.costs),  # a forbidden action is no matter of chance
        "latency": config.rules.get("latency", RuleSettings()).budget >= 0,
        "metrics": bool(config.metrics),
    }
    lineless = [rule for rule, drawn in lines.items() if not drawn]
    return false_per_day(config.rules, config.false_per_day, lineless)


def with_options(plan: Plan, options: Mapping[str, Any]) -> Plan:
    """The plan with more options."""
    return replace(plan, options={**plan.options, **options})


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


def life_plan(config: DeploymentConfig, rewards: Baseline | None) -> LifePlan:
    """How candidates of a deployment are judged; rewards: the baseline's part, whose range stands in for one given."""
    episodes = config.gamma > 0 or config.returns != "reward"
    given = (config.reward_range[0], config.reward_range[1]) if config.reward_range else None
    if given is None and rewards is not None and len(rewards.starts_ms):
        given = seen_range(np.asarray(rewards.series["sketch"], np.float64)[:, 0].sum(axis=0))
    return LifePlan(
        reward_range=given,
        budgets=()
        if episodes
        else tuple((n, c.budget) for n, c in sorted(config.costs.items()) if c.per == "decision"),
        false_per_day=shares_of(config).get("candidates", 0.0),
        window_buckets=config.window_buckets,
        min_samples=config.min_samples,
        missing_is_zero=config.missing_reward == "zero",
        discount=(config.gamma or 1.0) if episodes else 0.0,
        episode_budgets={n: CostBudget(c.budget, c.per, c.gamma) for n, c in sorted(config.costs.items())}
        if episodes
        else {},
    )
