"""What each test of each rule costs and can see, on the deployment's own baseline."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan, sqrt

import numpy as np
from scipy import special

from alerts.rules import RULE_OF, armed, rule_of
from detectors.budgets import costs
from detectors.budgets.costs import CostsDetector
from detectors.inference.evidence import log_bar
from detectors.measurement import Measurement, Verdict
from detectors.protocol import Baseline, Detector, Spec, Window
from detectors.registry import REGISTRY
from detectors.rewards.deseasonalised import Deseasonalised
from detectors.rewards.reward import Reward
from monitor.assembly import detectors_for
from monitor.baselines.baseline import BaselineFile
from monitor.config import DeploymentConfig
from monitor.judging.plans import plan_for
from monitor.judging.seasons import OffSeason

DAYS_PER_MONTH = 30
DAY_MS = 86_400_000
MONTH_MS = DAYS_PER_MONTH * DAY_MS
LOOKS = 200  # windows of the baseline itself that are measured
POWER = 0.8416  # standard normal quantile: four of five
NEEDED = {
    ("reward", "reward.mean")
}  # never known at all is a finding here, not a statistic that is not in use
# of its detector's rate: what each statistic was given (the rest share equally)
PARTS: Mapping[str, Mapping[str, float]] = {
    "reward": {"mean": 1.0, "arrived_share": 0.0},
    "state_kl": {"kl_max": 1 / 2, "kl_sum": 1 / 2, "kl": 0.0},
    "critic": {"bias": 1 / 2, "rmse": 1 / 3, "calibration_slope": 1 / 6},
    "action_mix": dict.fromkeys(
        ("mix_kl", "new_share", "vanished_share", "entropy", "surprise", "mean_weight", "vector_kl"), 1 / 7
    ),
    "state_quality": dict.fromkeys(("missing_share", "outside_share", "support", "stuck"), 1 / 4),
}


@dataclass(frozen=True, slots=True)
class Price:
    """What one test of a rule costs and can see.

    false_per_month: what it was built to cost. shown: signals that it would have given on the baseline itself, with
    the 90 % interval of their number per month that follows from covered_ms (Poisson). breaches, unknown of looks:
    windows of the baseline (buckets, for a sequential test). typical, threshold: medians over them. smallest_change:
    from the typical value, in the statistic's unit, found in four of five windows that it fills; by a sequential
    test, on average. seen_after_ms: until then, hold included.
    """

    rule: str
    statistic: str
    false_per_month: float
    shown: int
    shown_low: float
    shown_high: float
    covered_ms: int
    looks: int
    breaches: int
    unknown: int
    typical: float
    threshold: float
    smallest_change: float
    hold_buckets: int
    seen_after_ms: int


def per_month(signals: int, covered_ms: float) -> tuple[float, float]:
    """The 90 % interval of a rate per month that showed so many signals (Garwood, Biometrika 1936)."""
    months = max(covered_ms / MONTH_MS, 1e-12)
    low = float(special.gammaincinv(signals, 0.05)) if signals else 0.0
    return low / months, float(special.gammaincinv(signals + 1, 0.95)) / months


def window_prices(deployment: DeploymentConfig, baseline: BaselineFile, season: OffSeason) -> Iterator[Price]:
    """One per armed statistic of every window detector."""
    detectors = detectors_for(deployment, baseline, season)
    active = armed(deployment.rules)
    for spec in REGISTRY:
        part = baseline.parts.get(spec.name)
        if part is None or not len(part.starts_ms) or RULE_OF.get(spec.name) not in active:
            continue
        if spec.name == costs.NAME:
            part = costs.repriced(part, plan_for(deployment, costs.NAME))
        found = _of_detector(spec, part, detectors[spec.name], deployment)
        yield from (price for price in found if price.rule in active)


def _of_detector(
    spec: Spec, part: Baseline, detector: Detector, deployment: DeploymentConfig
) -> Iterator[Price]:
    if _names(part) != _names(detector):
        return  # its columns stand for other names
    looks = list(_own_windows(spec, part, detector, deployment))
    found = _armed_statistics([measured for _, measured in looks])
    per_day = plan_for(deployment, spec.name).false_per_day
    step_ms = (looks[1][0] - looks[0][0]) if len(looks) > 1 else part.bucket_ms
    for (rule, statistic), measured in found.items():
        name = statistic.split(".")[1].split(" ")[0]
        rate = per_day * PARTS.get(spec.name, {}).get(name, 1 / max(1, len(found)))
        yield _price(rule, statistic, measured, rate, step_ms, detector, deployment)


def _names(of: Baseline | Detector) -> tuple[str, ...]:
    """The names that the columns of a statistic stand for, where it has any."""
    of = of.inner if isinstance(of, Deseasonalised) else of
    names = of.schema.get("names", ()) if isinstance(of, Baseline) else getattr(of, "names", ())
    return tuple(map(str, names))


def _own_windows(
    spec: Spec, part: Baseline, detector: Detector, deployment: DeploymentConfig
) -> Iterator[tuple[int, tuple[Measurement, ...]]]:
    """(now_ms, measurements) of the baseline's own windows, evenly spread, measured like live ones."""
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
        total = spec.statistic.merged(chosen)
        window = Window(total, chosen, starts[first : end + 1], now_ms, part.labels, segments=part.segments)
        yield now_ms, detector.measure(window)


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
    rule: str, statistic: str, found: list[Measurement], per_day: float, step_ms: int, detector: Detector,
    deployment: DeploymentConfig,
) -> Price:  # fmt: skip
    known = [m for m in found if not isnan(m.threshold)]
    typical = float(np.median([m.value for m in known])) if known else nan
    threshold = float(np.median([m.threshold for m in known])) if known else nan
    error = float(np.nanmedian([0.0, *(m.error for m in known)])) if known else nan
    hold = max([m.hold_buckets for m in known] + [_longest_hold(detector, statistic)], default=0)
    change = abs(threshold - typical) + POWER * (0.0 if isnan(error) else error)
    inner = detector.inner if isinstance(detector, Deseasonalised) else detector
    if isinstance(inner, CostsDetector):
        change = _cost_excess(threshold, typical, error, inner)
    shown = _signals(found, step_ms, deployment.bucket_ms)
    covered_ms = step_ms * len(found)
    low, high = per_month(shown, covered_ms)
    return Price(
        rule=rule, statistic=statistic, false_per_month=per_day * DAYS_PER_MONTH, shown=shown, shown_low=low,
        shown_high=high, covered_ms=covered_ms, looks=len(found),
        breaches=sum(m.verdict is Verdict.BREACH for m in found),
        unknown=sum(m.verdict is Verdict.UNKNOWN for m in found), typical=typical, threshold=threshold,
        smallest_change=change, hold_buckets=hold,
        seen_after_ms=deployment.window_ms + hold * deployment.bucket_ms,
    )  # fmt: skip


def _longest_hold(detector: Detector, statistic: str) -> int:
    inner = detector.inner if isinstance(detector, Deseasonalised) else detector
    return inner.longest_hold if isinstance(inner, Reward) and statistic == "reward.mean" else 0


def _cost_excess(budget: float, typical: float, error: float, detector: CostsDetector) -> float:
    """Beyond the budget a bet gains half a squared standardised excess, which has to reach the bar in one window."""
    plan = detector.plan
    bar = log_bar(plan.false_per_day, plan.bucket_ms, len(plan.cost_budgets))
    return budget - typical + error * sqrt(2 * bar)


def _signals(found: Sequence[Measurement], step_ms: int, bucket_ms: int) -> int:
    """Runs of breaches among these looks that lasted as long as they had to."""
    signals, since, done = 0, 0, False
    for m in found:
        if m.verdict is not Verdict.BREACH:
            since, done = 0, False
            continue
        if not done and since * step_ms >= m.hold_buckets * bucket_ms:
            signals, done = signals + 1, True
        since += 1
    return signals


def summed(prices: Sequence[Price]) -> Price:
    """All tests of a rule together: rates add up; what the most sensitive of them sees is not comparable."""
    shown, covered_ms = sum(p.shown for p in prices), min(p.covered_ms for p in prices)
    low, high = per_month(shown, covered_ms)
    return replace(
        prices[0], statistic="", false_per_month=sum(p.false_per_month for p in prices), shown=shown,
        shown_low=low, shown_high=high, covered_ms=covered_ms, typical=nan, threshold=nan, smallest_change=nan,
    )  # fmt: skip
