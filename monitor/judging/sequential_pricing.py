"""What the tests that remember cost and see: run over the baseline's own buckets, their smallest shift and delay."""

from collections.abc import Iterator
from math import nan

import numpy as np

from alerts.rules import SEQUENTIAL, armed, rule_of, share_of
from detectors.charts.change_points import DRIFT, Change, ChangePoints, page_hinkley_threshold
from detectors.measurement import Verdict
from detectors.sequential.charted import Test
from monitor.baselines.baseline import BaselineFile
from monitor.config import DeploymentConfig
from monitor.judging.plans import shares_of
from monitor.judging.pricing import DAY_MS, DAYS_PER_MONTH, Price, per_month
from monitor.judging.seasons import OffSeason
from monitor.judging.sequential_tests import sequential_tests
from monitor.judging.slow_changes import SERIES, bucket_means, slow_changes
from monitor.judging.units import unit_options

MOST_BUCKETS = 4_000  # of the baseline's newest


def sequential_prices(
    deployment: DeploymentConfig, baseline: BaselineFile, season: OffSeason
) -> Iterator[Price]:
    """One per test that the baseline can calibrate."""
    shares = shares_of(deployment)
    units = unit_options(deployment, baseline)
    for test in sequential_tests(deployment, season.parts, season, units).tests:
        rule = rule_of(SEQUENTIAL, test.statistic)
        rate = shares.get(rule, 0.0) * share_of(rule, SEQUENTIAL) * test.share * DAYS_PER_MONTH
        yield _price(rule, test, rate, deployment, baseline, season)


def change_prices(deployment: DeploymentConfig, season: OffSeason) -> Iterator[Price]:
    """ADWIN and Page-Hinkley of each series of buckets, at half of its share each.

    What is seen is what Page-Hinkley is tuned to, twice the drift it tolerates; ADWIN sees less, later.
    """
    if "change" not in armed(deployment.rules):
        return
    slow = slow_changes(deployment, season)
    rate = slow.false_per_value * DAY_MS / deployment.bucket_ms * DAYS_PER_MONTH / 2
    for series, scale in slow.scales.items():
        pairs = np.column_stack(bucket_means(series, season.parts[SERIES[series]]))[-MOST_BUCKETS:].tolist()
        run = ChangePoints(scale, slow.false_per_value)
        found = [run.update(scale.weighed(mean, n)) for mean, n in pairs]
        delay = page_hinkley_threshold(slow.false_per_value * scale.pool / 4) / DRIFT * scale.pool
        for name in ("adwin", "page_hinkley"):
            rings = sum(getattr(finding, name) is not Change.NONE for finding in found)
            covered_ms = len(found) * deployment.bucket_ms
            low, high = per_month(rings, covered_ms)
            yield Price(
                rule="change", statistic=f"change_points.{name} {series}", false_per_month=rate, shown=rings,
                shown_low=low, shown_high=high, covered_ms=covered_ms, looks=len(found), breaches=rings, unknown=0,
                typical=scale.mean, threshold=nan,
                smallest_change=2 * DRIFT * scale.sd if name == "page_hinkley" else nan,
                hold_buckets=0, seen_after_ms=round(delay * deployment.bucket_ms) + deployment.reward_horizon_ms,
            )  # fmt: skip


def _price(
    rule: str,
    test: Test,
    rate: float,
    deployment: DeploymentConfig,
    baseline: BaselineFile,
    season: OffSeason,
) -> Price:
    typical, change, buckets = test.smallest()
    looks, rings = _rings(test, baseline, season)
    covered_ms = looks * baseline.parts[test.detector].bucket_ms
    low, high = per_month(rings, covered_ms)
    return Price(
        rule=rule, statistic=f"sequential.{test.statistic}", false_per_month=rate, shown=rings, shown_low=low,
        shown_high=high, covered_ms=covered_ms, looks=looks, breaches=rings, unknown=0, typical=typical, threshold=nan,
        smallest_change=change, hold_buckets=0,
        seen_after_ms=round(buckets * deployment.bucket_ms) + test.lag_ms if np.isfinite(buckets) else 0,
    )  # fmt: skip


def _rings(test: Test, baseline: BaselineFile, season: OffSeason) -> tuple[int, int]:
    """Buckets of the baseline that the test was run over, and how often it rang."""
    part = baseline.parts[test.detector]
    newest = range(max(0, len(part.starts_ms) - MOST_BUCKETS), len(part.starts_ms))
    state, rings = test.begin(), 0
    for i in newest:
        arrays = {name: np.asarray(series[i], np.float64) for name, series in part.series.items()}
        found = season.seasons.get(test.detector)
        freed = arrays if found is None else found.bucket(part.starts_ms[i], arrays)
        state, events = test.fold(state, freed, test.names(part.labels, part.segments))
        if events and test.measurement(state, events).verdict is Verdict.BREACH:
            state, rings = test.begin(), rings + 1
    return len(newest), rings
