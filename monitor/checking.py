"""Lints a config against its baselines: what each rule costs, what it can see, and which rules cannot work."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan, nan
from typing import Any

import numpy as np

from alerts.rules import DETECTORS
from detectors.budgets import costs
from detectors.rewards.seasonal import why_not
from monitor.baselines.baseline import BaselineFile
from monitor.config import Config, CostBudget, DeploymentConfig
from monitor.durations import human_duration
from monitor.judging.pricing import DAY_MS, DAYS_PER_MONTH, Price, window_prices
from monitor.judging.seasons import off_season
from monitor.judging.sequential_pricing import change_prices, sequential_prices

ALWAYS = 0.5  # a rule that breaches in more than this share of accepted windows always fires
MOSTLY_UNKNOWN = 0.5
UNDER_POWERED = 10.0  # times its budget that a cost must reach before it is seen


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should mend. name: unreachable, always-firing, under-powered, short-baseline, ..."""

    deployment: str
    rule: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that `check` prints."""

    prices: Mapping[str, Sequence[Price]]
    false_per_month: Mapping[str, float]
    findings: Sequence[Finding]

    def as_json(self) -> dict[str, Any]:
        """Plain values, numbers that do not exist as null."""
        table = {name: [_plain(asdict(price)) for price in prices] for name, prices in self.prices.items()}
        return {
            "false_signals_per_month": dict(self.false_per_month),
            "prices": table,
            "findings": [asdict(finding) for finding in self.findings],
        }


def check(config: Config, baselines: Mapping[str, BaselineFile]) -> Report:
    """Measure every deployment's baseline with its own rules."""
    prices: dict[str, list[Price]] = {}
    monthly: dict[str, float] = {}
    findings: list[Finding] = []
    for name, deployment in config.deployments.items():
        baseline = baselines.get(name)
        monthly[name] = deployment.false_per_day * DAYS_PER_MONTH
        findings += _of_config(deployment, baseline)
        if baseline is not None:
            prices[name] = prices_of(deployment, baseline)
            findings += [finding for price in prices[name] for finding in _of_price(deployment, price)]
            findings += _of_reward(deployment, [p for p in prices[name] if p.rule == "reward"])
            findings += _of_costs(deployment, baseline, prices[name])
    return Report(prices, monthly, findings)


def prices_of(deployment: DeploymentConfig, baseline: BaselineFile) -> list[Price]:
    """Every test of every armed rule, rule by rule."""
    season = off_season(deployment, baseline.parts)
    found = [*window_prices(deployment, baseline, season), *sequential_prices(deployment, baseline, season)]
    found += change_prices(deployment, season)
    order = list(DETECTORS)
    return sorted(found, key=lambda price: order.index(price.rule) if price.rule in order else len(order))


def short_baseline(deployment: DeploymentConfig, baseline: BaselineFile) -> str:
    """Why the baseline is too short for the budget, with the length that would do; "" where it is long enough.

    The lines of rules lie at quantiles that are passed once in the budget's period: a baseline that is shorter never
    showed them, and they are extrapolated.
    """
    needed_ms = DAY_MS / deployment.false_per_day
    if baseline.span_ms >= needed_ms:
        return ""
    return (
        f"the baseline covers {_days(baseline.span_ms)}, the budget of one false signal in {_days(needed_ms)} asks for "
        f"{_days(needed_ms)}; until then thresholds are extrapolated and priced for a short reference"
    )


def short_season(deployment: DeploymentConfig, baseline: BaselineFile) -> str:
    """Why the declared season cannot be taken off, "" where it can or none was declared."""
    longest = max(baseline.parts.values(), key=lambda part: len(part.starts_ms), default=None)
    if deployment.season == "none" or longest is None:
        return ""
    return why_not(longest.starts_ms, longest.bucket_ms, deployment.season)


def _of_config(deployment: DeploymentConfig, baseline: BaselineFile | None) -> Iterator[Finding]:
    name = deployment.name
    if baseline is None:
        yield Finding(
            name, "", "no-baseline", "no baseline: every rule but the hard constraint stays unknown"
        )
        return
    facts = baseline.facts
    if facts.deployment != name:
        yield Finding(name, "", "wrong-baseline", f"the baseline was made for {facts.deployment}")
    too_short = short_baseline(deployment, baseline)
    if too_short:
        yield Finding(name, "", "short-baseline", too_short)
    season = short_season(deployment, baseline)
    if season:
        yield Finding(name, "", "short-season", season)
    for key, counted in facts.settings.items():
        now = getattr(deployment, key)
        if key != "bucket_ms" and (list(now) if isinstance(now, tuple) else now) != counted:
            yield Finding(
                name, "", "baseline-differs", f"{key} is {now}, the baseline was counted with {counted}"
            )
    if not deployment.fallback_policy:
        yield Finding(
            name, "", "no-fallback", "fallback_policy is not set: a fallback names no policy to serve"
        )


def _of_price(deployment: DeploymentConfig, price: Price) -> Iterator[Finding]:
    name, rule = deployment.name, price.rule
    if price.breaches > ALWAYS * price.looks:
        text = f"{price.statistic} is over its line in {price.breaches} of {price.looks} windows of the baseline itself"
        yield Finding(name, rule, "always-firing", text)
    if price.unknown > MOSTLY_UNKNOWN * price.looks:
        text = (
            f"{price.statistic} is unknown in {price.unknown} of {price.looks} windows of "
            f"{human_duration(deployment.window_ms)}: too few samples; widen the window"
        )
        yield Finding(name, rule, "under-powered", text)
    if price.shown > 1 and price.shown_low > price.false_per_month > 0:
        text = (
            f"{price.statistic} would have given {price.shown} signals on the baseline itself, at least "
            f"{price.shown_low:.3g} a month where {price.false_per_month:.2g} are paid for: the baseline holds changes"
        )
        yield Finding(name, rule, "over-budget", text)


def _of_reward(deployment: DeploymentConfig, prices: Sequence[Price]) -> Iterator[Finding]:
    price = next((p for p in prices if p.statistic == "reward.mean"), None)
    if price is None or not price.smallest_change > 0:
        return
    settings = deployment.rules.get("reward")
    lowest = price.threshold if not isnan(price.threshold) else nan
    if settings is not None and settings.sigma_of == "decision" and price.typical >= 0 > lowest:
        text = (
            f"the line is {lowest:.4g}, {settings.sigma:g} standard deviations of single decisions below "
            f"{price.typical:.4g}: rewards that are never negative cannot reach it"
        )
        yield Finding(deployment.name, "reward", "unreachable", text)
        return
    smallest = min(p.smallest_change for p in prices if not isnan(p.smallest_change))
    if smallest > abs(price.typical):
        text = (
            f"only a fall by more than {smallest:.4g}, over 100 % of the mean {price.typical:.4g}, would be seen in "
            f"a window of {human_duration(deployment.window_ms)} or by the sequential test; widen the window"
        )
        yield Finding(deployment.name, "reward", "under-powered", text)


def _of_costs(
    deployment: DeploymentConfig, baseline: BaselineFile, prices: Sequence[Price]
) -> Iterator[Finding]:
    part = baseline.parts.get(costs.NAME)
    seen = tuple(map(str, part.schema["names"])) if part is not None else ()
    for cost, budget in deployment.costs.items():
        if part is None or cost not in seen:
            text = f"no {cost} was seen in the baseline: the budget of {budget.budget:g} cannot be judged"
            yield Finding(deployment.name, "constraint", "unreachable", text)
            continue
        largest = costs.one_size(np.asarray(part.series["sums"], np.float64)[:, seen.index(cost)])
        if budget.per == "decision" and budget.budget >= largest:
            text = (
                f"{cost} is 0 or {largest:.4g} in accepted data: even if every decision cost that, the budget "
                f"{budget.budget:g} would not be exceeded"
            )
            yield Finding(deployment.name, "constraint", "unreachable", text)
            continue
        for price in prices:
            if price.statistic.startswith("costs.") and price.statistic.endswith(f" {cost}"):
                yield from _of_cost(deployment, price, cost, budget)


def _of_cost(deployment: DeploymentConfig, price: Price, cost: str, budget: CostBudget) -> Iterator[Finding]:
    if price.typical > budget.budget:
        text = (
            f"{cost} is {price.typical:.4g} per {budget.per} in accepted data, its budget {budget.budget:g}"
        )
        yield Finding(deployment.name, "constraint", "always-firing", text)
    elif price.typical + price.smallest_change > UNDER_POWERED * budget.budget:
        text = (
            f"{cost} must reach {price.typical + price.smallest_change:.4g} per {budget.per}, over {UNDER_POWERED:g} "
            f"times its budget {budget.budget:g}, to be seen in a window of {human_duration(deployment.window_ms)}"
        )
        yield Finding(deployment.name, "constraint", "under-powered", text)


def _days(ms: float) -> str:
    days = ms / DAY_MS
    return f"{days:.3g} d" if days >= 1 else f"{ms / 3_600_000:.3g} h"


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and isnan(v) else v for k, v in values.items()}
