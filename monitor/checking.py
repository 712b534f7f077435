"""Lints a config against its baselines: what each rule costs, what it can see, and which rules cannot work."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan, nan
from typing import Any

import numpy as np

from alerts.rules import RULE_OF, armed, false_per_day, rule_of
from detectors.measurement import Measurement, Verdict
from detectors.protocol import Baseline, Detector, Spec, Window
from detectors.registry import REGISTRY
from detectors.seasonal import why_not
from monitor.assembly import detectors_for
from monitor.baseline import BaselineFile
from monitor.config import Config, DeploymentConfig
from monitor.durations import human_duration

DAYS_PER_MONTH = 30
LOOKS = 200  # windows of the baseline itself that are measured
ALWAYS = 0.5  # a rule that breaches in more than this share of accepted windows always fires
MOSTLY_UNKNOWN = 0.5
DAY_MS = 86_400_000
NEEDED = {
    ("reward", "reward.mean")
}  # never known at all is a finding here, not a statistic that is not in use


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should mend. name: unreachable, always-firing, under-powered, short-baseline, ..."""

    deployment: str
    rule: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Price:
    """What one armed statistic costs and can see, on the deployment's own baseline.

    false_per_month: what it was built to cost. breaches of looks: what the baseline's own windows showed.
    smallest_change: from the typical value to the line, in the statistic's unit. seen_after_ms: a change twice that
    size has filled half a window and, where there is one, the hold.
    """

    rule: str
    statistic: str
    false_per_month: float
    looks: int
    breaches: int
    unknown: int
    typical: float
    threshold: float
    smallest_change: float
    hold_buckets: int
    seen_after_ms: int


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
            prices[name] = list(_prices(deployment, baseline))
            findings += [finding for price in prices[name] for finding in _of_price(deployment, price)]
            findings += _of_costs(deployment, baseline, prices[name])
    return Report(prices, monthly, findings)


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


def _prices(deployment: DeploymentConfig, baseline: BaselineFile) -> Iterator[Price]:
    detectors = detectors_for(deployment, baseline)
    shares = false_per_day(deployment.rules, deployment.false_per_day)
    active = armed(deployment.rules)
    for spec in REGISTRY:
        part = baseline.parts.get(spec.name)
        if part is None or not len(part.starts_ms) or RULE_OF.get(spec.name) not in active:
            continue
        if _names(part) != _names(detectors[spec.name]):
            continue  # its columns stand for other names
        measured = list(_own_windows(spec, part, detectors[spec.name], deployment))
        for (rule, statistic), found in _armed_statistics(measured).items():
            yield _price(rule, statistic, found, shares.get(rule, 0.0), deployment)


def _names(of: Baseline | Detector) -> tuple[str, ...]:
    """The names that the columns of a statistic stand for, where it has any."""
    names = of.schema.get("names", ()) if isinstance(of, Baseline) else getattr(of, "names", ())
    return tuple(map(str, names))


def _own_windows(
    spec: Spec, part: Baseline, detector: Detector, deployment: DeploymentConfig
) -> Iterator[tuple[Measurement, ...]]:
    """The baseline's own windows, evenly spread, measured like live ones."""
    starts = list(part.starts_ms)
    buckets = [
        spec.statistic.of_arrays({k: v[i] for k, v in part.series.items()}) for i in range(len(starts))
    ]
    ends = range(0, len(starts), max(1, len(starts) // LOOKS))
    for end in ends:
        now_ms = starts[end] + part.bucket_ms
        first = int(np.searchsorted(starts, now_ms - deployment.window_ms))
        if starts[0] + deployment.window_ms > now_ms or first > end:
            continue
        chosen = buckets[first : end + 1]
        window = Window(spec.statistic.merged(chosen), chosen, starts[first : end + 1], now_ms, part.labels)
        yield detector.measure(window)


def _armed_statistics(
    measured: Sequence[tuple[Measurement, ...]],
) -> dict[tuple[str, str], list[Measurement]]:
    found: dict[tuple[str, str], list[Measurement]] = {}
    for measurements in measured:
        for m in measurements:
            if not isnan(m.threshold) or m.verdict in (Verdict.UNKNOWN, Verdict.BREACH):
                subject = f" {m.subject}" if m.subject else ""
                key = (rule_of(m.detector, m.statistic), f"{m.detector}.{m.statistic}{subject}")
                found.setdefault(key, []).append(m)
    return {key: ms for key, ms in found.items() if key in NEEDED or any(not isnan(m.threshold) for m in ms)}


def _price(
    rule: str, statistic: str, found: list[Measurement], per_day: float, deployment: DeploymentConfig
) -> Price:
    known = [m for m in found if not isnan(m.threshold)]
    typical = float(np.median([m.value for m in known])) if known else nan
    threshold = float(np.median([m.threshold for m in known])) if known else nan
    hold = max((m.hold_buckets for m in known), default=0)
    return Price(
        rule=rule,
        statistic=statistic,
        false_per_month=per_day * DAYS_PER_MONTH,
        looks=len(found),
        breaches=sum(m.verdict is Verdict.BREACH for m in found),
        unknown=sum(m.verdict is Verdict.UNKNOWN for m in found),
        typical=typical,
        threshold=threshold,
        smallest_change=abs(threshold - typical),
        hold_buckets=hold,
        seen_after_ms=deployment.window_ms // 2 + hold * deployment.bucket_ms,
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
    if rule == "reward" and price.statistic == "reward.mean" and price.smallest_change > 0:
        yield from _of_reward(deployment, price)


def _of_reward(deployment: DeploymentConfig, price: Price) -> Iterator[Finding]:
    settings = deployment.rules.get("reward")
    lowest = price.threshold if not isnan(price.threshold) else nan
    if settings is not None and settings.sigma_of == "decision" and price.typical >= 0 > lowest:
        text = (
            f"the line is {lowest:.4g}, {settings.sigma:g} standard deviations of single decisions below "
            f"{price.typical:.4g}: rewards that are never negative cannot reach it"
        )
        yield Finding(deployment.name, "reward", "unreachable", text)
    elif price.smallest_change > abs(price.typical):
        text = (
            f"only a fall by more than {price.smallest_change:.4g}, over 100 % of the mean {price.typical:.4g}, "
            f"would be seen in a window of {human_duration(deployment.window_ms)}; widen the window"
        )
        yield Finding(deployment.name, "reward", "under-powered", text)


def _of_costs(
    deployment: DeploymentConfig, baseline: BaselineFile, prices: Sequence[Price]
) -> Iterator[Finding]:
    seen = _names(baseline.parts["costs"]) if "costs" in baseline.parts else ()
    for cost, budget in deployment.costs.items():
        mine = [p for p in prices if p.statistic.startswith("costs.") and p.statistic.endswith(f" {cost}")]
        if cost not in seen:
            text = f"no {cost} was seen in the baseline: the budget of {budget.budget:g} cannot be judged"
            yield Finding(deployment.name, "constraint", "unreachable", text)
        elif not mine:
            text = f"{cost} was counted among {', '.join(seen)}: build the baseline again to price its budget"
            yield Finding(deployment.name, "constraint", "baseline-differs", text)
        for price in mine:
            if price.typical > budget.budget:
                text = f"{cost} is {price.typical:.4g} per {budget.per} in accepted data, its budget {budget.budget:g}"
                yield Finding(deployment.name, "constraint", "always-firing", text)


def _days(ms: float) -> str:
    days = ms / DAY_MS
    return f"{days:.3g} d" if days >= 1 else f"{ms / 3_600_000:.3g} h"


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and isnan(v) else v for k, v in values.items()}
