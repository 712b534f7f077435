"""`check`: each lint provoked once by a small synthetic baseline, with the number that proves it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.baseline import load
from monitor.baselines import build_baseline
from monitor.checking import Finding, Report, check
from monitor.config import Config
from monitor.replaying import Observer
from monitor.source import Files
from tests.unit.monitor.worlds import decision, reward, small

SECONDS = 900


def of_home(**changed: Any) -> Config:
    home = {"bucket": "10s", "window": "2m", "reward_horizon": "10s", "fallback_policy": "rules-v3"}
    return small(deployments__home=home | changed)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quarter of an hour, ten decisions a second would be more: Bernoulli rewards of .3, a cost of .2."""
    folder, rng = tmp_path_factory.mktemp("baseline"), np.random.default_rng(3)
    with (folder / "log.jsonl").open("w") as log:
        for i in range(SECONDS):
            made = decision(f"d{i}", i, costs={"unsafe": float(i % 5 == 0)}, action=int(rng.integers(3)))
            log.write(json.dumps(made) + "\n")
            log.write(json.dumps(reward(f"d{i}", i + 0.2, float(rng.random() < 0.3))) + "\n")
    build_baseline(
        of_home(), "home", Files([str(folder / "log.jsonl")], 1 << 20), folder / "home", Observer()
    )
    return folder / "home"


def checked(artefact: Path, **changed: Any) -> Report:
    return check(of_home(**changed), {"home": load(artefact)})


def named(report: Report, name: str, rule: str = "") -> list[Finding]:
    return [finding for finding in report.findings if finding.name == name and rule in ("", finding.rule)]


def test_a_baseline_shorter_than_the_budget_names_the_length_that_would_do(artefact: Path) -> None:
    (finding,) = named(checked(artefact), "short-baseline")
    assert "0.25 h" in finding.text
    assert "30 d" in finding.text


def test_a_season_that_the_baseline_saw_less_than_twice_is_said_with_the_length_that_would_do(
    artefact: Path,
) -> None:
    (finding,) = named(checked(artefact, season="hour-of-week"), "short-season")
    assert "needs 14 d of baseline" in finding.text


def test_a_baseline_as_long_as_the_budget_is_not_short(artefact: Path) -> None:
    assert named(checked(artefact, false_signals="1 per 10m"), "short-baseline") == []


def test_two_sigma_of_single_bernoulli_rewards_can_never_be_reached(artefact: Path) -> None:
    literal = {"rules": {"reward": {"sigma_of": "decision"}}}
    (finding,) = named(checked(artefact, **literal), "unreachable", "reward")
    assert "cannot reach it" in finding.text
    assert named(checked(artefact), "unreachable", "reward") == []


def test_a_budget_below_what_accepted_data_costs_always_fires(artefact: Path) -> None:
    found = named(checked(artefact, costs={"unsafe": {"budget": 0.05}}), "always-firing", "constraint")
    assert any("unsafe is 0.2 per decision in accepted data, its budget 0.05" in f.text for f in found)
    assert named(checked(artefact, costs={"unsafe": {"budget": 0.9}}), "always-firing", "constraint") == []


def test_a_cost_that_the_baseline_never_saw_cannot_be_judged(artefact: Path) -> None:
    (finding,) = named(checked(artefact, costs={"ghost": {"budget": 0.05}}), "unreachable", "constraint")
    assert "no ghost was seen" in finding.text


def test_windows_with_too_few_samples_are_under_powered(artefact: Path) -> None:
    found = named(checked(artefact, min_samples=200), "under-powered", "reward")
    assert any("too few samples" in finding.text for finding in found)


def test_without_a_baseline_only_the_hard_constraint_watches() -> None:
    assert [f.name for f in check(of_home(), {}).findings] == ["no-baseline"]


def test_a_baseline_of_another_deployment_or_of_other_settings_is_named(artefact: Path) -> None:
    both = small(
        deployments={"shop": {"bucket": "10s", "window": "2m", "gamma": 0.5, "fallback_policy": "x"}}
    )
    names = {finding.name for finding in check(both, {"shop": load(artefact)}).findings}
    assert names >= {"wrong-baseline", "baseline-differs"}


def test_a_fallback_that_names_no_policy_is_named(artefact: Path) -> None:
    assert len(named(checked(artefact, fallback_policy=""), "no-fallback")) == 1


def test_the_price_of_all_rules_is_the_budget_of_the_config(artefact: Path) -> None:
    report = checked(artefact, false_signals="2 per 30d")
    assert report.false_per_month == {"home": pytest.approx(2.0)}
    shares = {price.rule: price.false_per_month for price in report.prices["home"]}
    assert 0 < sum(shares.values()) <= 2.0 + 1e-9


def test_the_report_is_strict_json(artefact: Path) -> None:
    report = checked(artefact, costs={"unsafe": {"budget": 0.05}})
    parsed = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert parsed["prices"]["home"]
    assert {"deployment", "rule", "name", "text"} == set(parsed["findings"][0])
