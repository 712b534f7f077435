"""`check`: each lint provoked once by a small synthetic baseline, with the number that proves it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alerts.rules import DETECTORS
from detectors.measurement import Verdict
from detectors.protocol import Window
from detectors.rewards.reward import RewardStatistic
from monitor.assembly import detectors_for
from monitor.baselines.baseline import load
from monitor.baselines.building import build_baseline
from monitor.checking import Finding, Report, check
from monitor.config import Config
from monitor.judging.pricing import MONTH_MS, per_month
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


def test_every_test_of_a_rule_says_what_it_costs_and_sees_the_sequential_ones_too(artefact: Path) -> None:
    prices = {price.statistic: price for price in checked(artefact).prices["home"]}
    assert {"reward.mean", "sequential.reward_fall", "action_mix.mix_kl", "sequential.action_shift",
            "change_points.page_hinkley reward"} <= set(prices)  # fmt: skip
    for name in ("reward.mean", "sequential.reward_fall", "sequential.action_shift"):
        price = prices[name]
        assert 0 < price.false_per_month < 1
        assert price.shown_low <= price.shown / (price.covered_ms / 2_592_000_000) <= price.shown_high
        assert price.smallest_change > 0
        assert price.seen_after_ms > 0
    assert prices["sequential.reward_fall"].smallest_change < prices["reward.mean"].smallest_change


def test_the_smallest_change_is_found_in_about_four_of_five_windows_that_it_fills(artefact: Path) -> None:
    """120 Bernoulli rewards a window, 400 windows: the share is known to .02."""
    deployment, baseline = of_home().deployments["home"], load(artefact)
    price = next(p for p in checked(artefact).prices["home"] if p.statistic == "reward.mean")
    detector, part = detectors_for(deployment, baseline)["reward"], baseline.parts["reward"]
    rng, found = np.random.default_rng(7), 0
    for _ in range(400):
        buckets = []
        for hits in rng.binomial(10, price.typical - price.smallest_change, 12):
            arrays = {name: np.zeros(series.shape[1:]) for name, series in part.series.items()}
            arrays["decisions"][0] = 10.0
            arrays["moments"][:, 0] = 10, hits, hits
            arrays["delay"][:, 0] = 10, hits
            buckets.append(RewardStatistic(**arrays))
        starts = [i * 10_000 for i in range(12)]
        window = Window(RewardStatistic.merged(buckets), buckets, starts, 120_000)
        found += detector.measure(window)[0].verdict is Verdict.BREACH
    assert 0.7 < found / 400 < 0.99


def test_the_interval_of_a_rate_is_that_of_a_poisson_count() -> None:
    assert per_month(0, MONTH_MS) == pytest.approx((0.0, 2.996), abs=1e-3)
    assert per_month(3, MONTH_MS) == pytest.approx((0.818, 7.754), abs=1e-3)
    assert per_month(3, MONTH_MS // 10)[1] == pytest.approx(77.54, abs=1e-2)


def test_a_budget_that_no_such_cost_can_exceed_is_unreachable(artefact: Path) -> None:
    (finding,) = named(checked(artefact, costs={"unsafe": {"budget": 1.0}}), "unreachable", "constraint")
    assert "unsafe is 0 or 1 in accepted data" in finding.text


def test_a_budget_that_only_a_disaster_exceeds_in_one_window_is_under_powered(artefact: Path) -> None:
    found = named(checked(artefact, costs={"unsafe": {"budget": 0.201}}), "under-powered", "constraint")
    assert found == []
    rare = named(checked(artefact, costs={"unsafe": {"budget": 0.201}}, window="10s"), "under-powered")
    assert rare


def test_a_changed_cost_budget_is_priced_as_it_is_now(artefact: Path) -> None:
    """The artefact was counted without any budget; a fifth of its decisions cost 1."""
    report = checked(artefact, costs={"unsafe": {"budget": 0.02}})
    (price,) = [p for p in report.prices["home"] if p.statistic == "costs.per_decision unsafe"]
    assert price.breaches > 0.9 * price.looks
    (calm,) = [p for p in checked(artefact, costs={"unsafe": {"budget": 0.25}}).prices["home"]
               if p.statistic == "costs.per_decision unsafe"]  # fmt: skip
    assert calm.breaches == 0
    assert 0.25 - 0.2 < calm.smallest_change < 0.4


def test_the_report_is_strict_json(artefact: Path) -> None:
    report = checked(artefact, costs={"unsafe": {"budget": 0.05}})
    parsed = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert parsed["prices"]["home"]
    assert {"deployment", "rule", "name", "text"} == set(parsed["findings"][0])


@pytest.mark.parametrize("rule", list(DETECTORS))
def test_a_rule_that_is_off_takes_no_other_with_it(artefact: Path, rule: str) -> None:
    report = checked(artefact, rules={rule: {"enabled": False}})
    rules = {price.rule for price in report.prices["home"]}
    assert rule not in rules
    assert rules >= {"reward", "actions"} - {rule}
