"""From units in a log to wider lines: what a baseline counts of them, keeps, and tells the tests."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors.charts.cusum import Bank
from detectors.sequential.charted import Named, Test
from detectors.units import clusters, units
from detectors.units import vectors as unit_vectors
from monitor.baselines import collecting
from monitor.baselines.baseline import BaselineFile, load
from monitor.baselines.building import build_baseline
from monitor.config import Config
from monitor.judging.sequential_tests import sequential_tests
from monitor.judging.units import unit_options
from monitor.replaying import Observer
from monitor.source import Files
from tests.unit.monitor.test_critic_by_segment import OLD
from tests.unit.monitor.worlds import decision, small

WINDOW_S, PER_S, USERS = 180, 4, 48
HOME = {"bucket": "10s", "window": f"{WINDOW_S}s", "reward_horizon": "10s", "fallback_policy": "rules-v3"}


def of_home() -> Config:
    return small(deployments__home=HOME)


def log(seconds: int, named: bool = True) -> Iterator[dict[str, Any]]:
    """Each window has users of its own, who differ in their first feature and in what they are shown."""
    rng = np.random.default_rng(1)
    for i in range(seconds * PER_S):
        at_s = i / PER_S
        user = int(at_s) // WINDOW_S * USERS + int(rng.integers(USERS))
        own = np.random.default_rng(user)
        level, favourite = float(own.normal(0, 0.7)), int(own.integers(3))
        state = [round(level + float(rng.standard_normal()), 3), round(float(rng.standard_normal()), 3)]
        action = favourite if rng.random() < 0.5 else int(rng.integers(3))
        unit = {"unit": f"user-{user}"} if named else {}
        yield decision(f"d{i}", at_s, state=state, action=action, **unit)


def built(folder: Path, seconds: int = 5 * WINDOW_S, named: bool = True) -> BaselineFile:
    (folder / "log.jsonl").write_text("\n".join(json.dumps(event) for event in log(seconds, named)))
    source = Files([str(folder / "log.jsonl")], 1 << 20)
    build_baseline(of_home(), "home", source, folder / "home", Observer())
    return load(folder / "home")


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> BaselineFile:
    return built(tmp_path_factory.mktemp("baseline"))


def bank_of(baseline: BaselineFile, statistic: str, options: dict[str, Any]) -> Bank:
    tests = sequential_tests(of_home().deployments["home"], baseline.parts, units=options).tests
    found: Test = next(test for test in tests if test.statistic == statistic)
    chart = found.charts[0]
    assert isinstance(chart, Named)
    assert isinstance(chart.chart, Bank)
    return chart.chart


def test_units_widen_what_differs_between_them_and_nothing_else(baseline: BaselineFile) -> None:
    told = unit_options(of_home().deployments["home"], baseline)
    with_units = bank_of(baseline, "state_shift", told).sd
    without = bank_of(baseline, "state_shift", {}).sd
    assert with_units[0] > 1.3 * without[0]
    assert with_units[1] == without[1]
    assert bank_of(baseline, "action_shift", told).sd[0] > 1.3 * bank_of(baseline, "action_shift", {}).sd[0]


def test_units_are_counted_by_windows(baseline: BaselineFile) -> None:
    part = baseline.parts[unit_vectors.NAME]
    assert part.bucket_ms == WINDOW_S * 1_000
    assert 5 <= len(part.starts_ms) <= 6
    assert part.series["all"][:, 2].sum() == baseline.facts.decisions


def test_a_long_baseline_keeps_some_of_its_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "MAX_WINDOWS", 5)
    found = built(tmp_path, 12 * WINDOW_S)
    part = found.parts[unit_vectors.NAME]
    assert 1 <= len(part.starts_ms) <= 5
    assert part.series["all"][:, 2].max() == WINDOW_S * PER_S  # whole windows
    assert len(found.parts["state_moments"].starts_ms) >= 12 * WINDOW_S // 10
    told = unit_options(of_home().deployments["home"], found)[units.OPTION]
    assert told[units.STATES].skipped == pytest.approx(
        found.facts.decisions / float(part.series["all"][:, 2].sum())
    )


def test_without_units_and_with_a_baseline_of_before_nothing_is_told(
    baseline: BaselineFile, tmp_path: Path
) -> None:
    home = of_home().deployments["home"]
    assert not unit_options(home, built(tmp_path, WINDOW_S, named=False))[units.OPTION]
    assert units.OPTION not in unit_options(home, load(OLD))
    versions = {**baseline.facts.detectors, unit_vectors.NAME: 99}
    other = replace(baseline, facts=replace(baseline.facts, detectors=versions))
    assert set(unit_options(home, other)) == {clusters.OPTION}
