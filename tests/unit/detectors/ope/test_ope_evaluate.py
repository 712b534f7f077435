"""The whole evaluation: on real logs with known answers, and on logs that must not be believed."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detectors.ope import (
    BanditLog,
    Comparison,
    CostBudget,
    CoverageRecord,
    Estimate,
    Options,
    Outcome,
    TrajectoryLog,
    Verdict,
    Withheld,
    evaluate,
)
from detectors.ope.calibration import calibration_of, worst_action
from detectors.ope.loggers import combine, mixture_propensity
from detectors.ope.pareto import tail_shape
from detectors.ope.verdict import disagreement
from detectors.ope.weights import weights_of
from tests.paths import shared_data
from tests.unit.detectors.ope.ope_worlds import Bandit, bandit


def events(path: Path) -> tuple[list[dict], dict[str, float], dict[str, bool]]:  # type: ignore[type-arg]
    """Decisions in order, the sum of rewards and the end of episode by decision."""
    decisions, rewards, done = [], {}, {}  # type: ignore[var-annotated]
    with gzip.open(path) as lines:
        for line in lines:
            event = json.loads(line)
            key = event["decision_id"]
            if event["type"] == "decision":
                decisions.append(event)
            else:
                rewards[key] = rewards.get(key, 0.0) + event["reward"]
                done[key] = event.get("done", False)
    return decisions, rewards, done


def column(rows: list[dict], *path: str) -> np.ndarray:  # type: ignore[type-arg]
    values = []
    for row in rows:
        for key in path:
            row = row[key]
        values.append(row)
    return np.array(values)


def zozo() -> BanditLog:
    decisions, rewards, _ = events(shared_data() / "zozo-men-switch.jsonl.gz")
    rows = [row for row in decisions if row["policy"] == "random-1"]
    p, q, v = (column(rows, "candidates", "bts-prior", name) for name in "pqv")
    reward = np.array([rewards[row["decision_id"]] for row in rows])
    return BanditLog(reward, column(rows, "propensity"), p, q, v, action=column(rows, "action"))


def test_a_real_ab_log_gives_the_published_values() -> None:
    evaluation = evaluate(zozo(), Options(candidate="bts-prior"))
    values = {name: e.value for name, e in evaluation.estimates.items() if isinstance(e, Estimate)}
    assert evaluation.n == 10_000
    assert values["ips"] == pytest.approx(0.004533560, abs=1e-9)
    assert values["snips"] == pytest.approx(0.004604232, abs=1e-9)
    assert values["dr"] == pytest.approx(0.004622833, abs=1e-9)
    assert evaluation.diagnostics["ess"] == pytest.approx(2467.4, abs=0.05)
    assert evaluation.diagnostics["max_weight"] == pytest.approx(10.7, abs=0.05)
    assert evaluation.diagnostics["mean_weight"] == pytest.approx(0.9847, abs=5e-5)
    assert evaluation.comparison is Comparison.CANNOT_TELL
    assert (evaluation.more_data or 0) > 10_000


def test_a_real_evaluation_is_plain_json() -> None:
    told = json.loads(json.dumps(evaluate(zozo(), Options(candidate="bts-prior")).as_dict(), allow_nan=False))
    assert {
        "candidate",
        "n",
        "verdict",
        "comparison",
        "reason",
        "estimates",
        "diagnostics",
        "costs",
    } <= told.keys()
    assert set(told["estimates"]["dr"]) == {"value", "lower", "upper"}


def test_whole_trajectories_without_weight_are_withheld_not_printed() -> None:
    rows, rewards, done = events(shared_data() / "pendulum-null.jsonl.gz")
    _, episode = np.unique(column(rows, "episode"), return_inverse=True)
    keys = [row["decision_id"] for row in rows]
    log = TrajectoryLog(
        episode,
        column(rows, "step"),
        np.array([rewards[key] for key in keys]),
        column(rows, "propensity"),
        column(rows, "candidates", "sharp", "p"),
        gamma=0.95,
        costs={"unsafe": column(rows, "costs", "unsafe")},
        ended=np.array([done[key] for key in keys]),
    )
    evaluation = evaluate(log, Options(candidate="sharp", costs={"unsafe": CostBudget(0.05)}))
    assert evaluation.n == 55
    assert evaluation.verdict is Verdict.UNRELIABLE
    for name in ("trajectory_is", "trajectory_wis"):
        withheld = evaluation.estimates[name]
        assert isinstance(withheld, Withheld)
        assert "1.1 of 55 episodes" in withheld.reason
    per_decision = evaluation.estimates["per_decision_is"]
    assert isinstance(per_decision, Withheld)
    assert per_decision.reason.startswith("weights are gone after 8 steps")
    assert evaluation.diagnostics["trajectory_ess"] == pytest.approx(1.1, abs=0.05)
    assert evaluation.diagnostics["ess_ratio"] == pytest.approx(0.79, abs=0.005)
    assert evaluation.costs["unsafe"].refused
    json.dumps(evaluation.as_dict(), allow_nan=False)


def better_world() -> Bandit:
    world = bandit(seed=2, actions=4)
    best = np.eye(4)[world.mean.argmax(axis=1)]
    return Bandit(world.logger, 0.2 * world.logger + 0.8 * best, world.mean)


def test_a_clearly_better_candidate_is_better_and_a_clearly_worse_one_worse() -> None:
    world = better_world()
    log = world.log(8000, np.random.default_rng(0))
    good = evaluate(log, Options())
    assert (good.verdict, good.comparison) == (Verdict.RELIABLE, Comparison.BETTER)
    away = Bandit(world.logger, np.eye(4)[world.mean.argmin(axis=1)], world.mean)
    bad = evaluate(away.log(8000, np.random.default_rng(0)), Options())
    assert (bad.verdict, bad.comparison) == (Verdict.RELIABLE, Comparison.WORSE)
    assert (good.anytime, bad.anytime) == (Comparison.BETTER, Comparison.WORSE)
    assert evaluate(log, Options(margin=0.5)).comparison is Comparison.CANNOT_TELL


def test_the_data_said_to_settle_a_comparison_do_settle_it() -> None:
    world = better_world()
    first = evaluate(world.log(120, np.random.default_rng(3)), Options(min_ess=30))
    assert first.comparison is Comparison.CANNOT_TELL
    assert first.more_data is not None
    more = evaluate(world.log(4 * (120 + first.more_data), np.random.default_rng(4)), Options(min_ess=30))
    assert more.comparison is Comparison.BETTER


def test_a_candidate_that_does_what_was_never_done_is_not_identified() -> None:
    world = bandit(seed=2, actions=4)
    logger = world.logger.copy()
    logger[:, 0] = 0.0
    logger /= logger.sum(axis=1, keepdims=True)
    evaluation = evaluate(
        Bandit(logger, world.candidate, world.mean).log(5000, np.random.default_rng(0)), Options()
    )
    assert evaluation.verdict is Verdict.NOT_IDENTIFIED
    assert "never done in the log" in evaluation.reason
    assert evaluation.comparison is Comparison.CANNOT_TELL


def test_a_deterministic_logger_identifies_only_itself() -> None:
    n = 3000
    reward = np.random.default_rng(0).random(n)
    ones = np.ones(n)
    other = evaluate(BanditLog(reward, ones, 0.5 * ones), Options())
    same = evaluate(BanditLog(reward, ones, ones), Options())
    assert other.verdict is Verdict.NOT_IDENTIFIED
    assert same.verdict is Verdict.RELIABLE


def test_propensities_that_do_not_fit_make_an_estimate_unreliable() -> None:
    log = bandit(seed=2, actions=4).log(20_000, np.random.default_rng(0))
    wrong = replace(log, propensity=log.propensity * 0.9)
    evaluation = evaluate(wrong, Options())
    assert evaluation.verdict is Verdict.UNRELIABLE
    assert "propensities" in evaluation.reason


def test_an_action_taken_more_often_than_logged_is_named() -> None:
    rng = np.random.default_rng(0)
    action = rng.choice(3, 5000, p=[0.5, 0.3, 0.2])
    told = np.array([0.4, 0.35, 0.25])
    fault = worst_action(calibration_of(action, told[action]))
    assert fault is not None
    assert fault[0] == 0
    assert fault[1] == pytest.approx(1.25, abs=0.05)
    assert worst_action(calibration_of(action, np.array([0.5, 0.3, 0.2])[action])) is None


def test_missing_propensities_are_estimated_with_a_warning_and_a_wider_interval() -> None:
    world = bandit(seed=2, actions=4)
    log = world.log(6000, np.random.default_rng(1))
    blind = evaluate(replace(log, propensity=np.full(6000, np.nan)), Options())
    told = evaluate(log, Options())
    assert blind.verdict is Verdict.UNRELIABLE
    assert "propensities are missing" in blind.reason
    guessed, known = blind.estimates["snips"], told.estimates["snips"]
    assert isinstance(guessed, Estimate)
    assert isinstance(known, Estimate)
    assert guessed.lower < world.value < guessed.upper
    assert guessed.upper - guessed.lower > 1.3 * (known.upper - known.lower)


def test_missing_propensities_without_actions_are_not_identified() -> None:
    nothing = np.full(100, np.nan)
    evaluation = evaluate(BanditLog(np.ones(100), nothing, np.ones(100)), Options())
    assert evaluation.verdict is Verdict.NOT_IDENTIFIED
    assert evaluation.n == 0
    json.dumps(evaluation.as_dict(), allow_nan=False)


def test_an_empty_log_is_not_identified() -> None:
    none = np.zeros(0)
    assert evaluate(BanditLog(none, none, none), Options()).verdict is Verdict.NOT_IDENTIFIED
    episodes = TrajectoryLog(none.astype(np.int64), none.astype(np.int64), none, none, none, gamma=0.9)
    assert evaluate(episodes, Options()).verdict is Verdict.NOT_IDENTIFIED


def test_a_cost_over_its_budget_is_refused_and_one_never_seen_is_bounded() -> None:
    log = better_world().log(8000, np.random.default_rng(0))
    unsafe = (np.random.default_rng(1).random(8000) < 0.03).astype(float)
    log = replace(log, costs={"unsafe": unsafe, "crash": np.zeros(8000)})
    budgets = {"unsafe": CostBudget(0.02), "crash": CostBudget(0.02)}
    evaluation = evaluate(log, Options(costs=budgets))
    assert evaluation.refused
    assert evaluation.costs["unsafe"].refused
    assert not evaluation.costs["crash"].refused
    never = evaluation.costs["crash"].estimate
    assert isinstance(never, Estimate)
    assert 0 < never.upper < 0.005
    told = evaluation.costs["unsafe"].estimate
    assert isinstance(told, Estimate)
    within_error = {"unsafe": CostBudget((told.value + told.upper) / 2)}
    assert evaluate(log, Options(costs=within_error)).refused  # the upper end counts, not the estimate
    wide = {"unsafe": CostBudget(0.05)}
    assert not evaluate(log, Options(costs=wide)).refused


def test_the_lower_tail_is_that_of_the_candidate_not_of_the_log() -> None:
    rng = np.random.default_rng(0)
    n = 40_000
    risky = rng.integers(0, 2, n)
    reward = np.where(risky == 1, rng.normal(0.0, 2.0, n), rng.normal(0.0, 1.0, n))
    always_risky = evaluate(BanditLog(reward, np.full(n, 0.5), risky.astype(float)), Options(tail=0.1))
    quantile, cvar = always_risky.tail["quantile"], always_risky.tail["cvar"]
    assert isinstance(quantile, Estimate)
    assert isinstance(cvar, Estimate)
    # Normal law: quantile -1.2816 sd, mean below it -1.7550 sd.
    assert quantile.lower < -1.2816 * 2 < quantile.upper
    assert cvar.lower < -1.7550 * 2 < cvar.upper
    assert cvar.upper - cvar.lower < 0.3
    log = BanditLog(reward, np.full(n, 0.5), risky.astype(float))
    assert evaluate(log, Options(cvar_floor=-3.0)).refused
    assert not evaluate(log, Options(cvar_floor=-4.0)).refused


def test_balanced_weights_of_two_loggers_are_smaller_and_still_right() -> None:
    rng = np.random.default_rng(0)
    one, two = bandit(seed=2, actions=4, skew=2.0), bandit(seed=7, actions=4, skew=2.0)
    world = Bandit(one.logger, two.logger, one.mean)
    logs = [replace(world, logger=g).log(20_000, rng) for g in (one.logger, two.logger)]
    reward, propensity, p = (
        np.concatenate([getattr(log, name) for log in logs]) for name in ("reward", "propensity", "p")
    )
    state = np.concatenate([log.state.argmax(axis=1) for log in logs if log.state is not None])
    action = np.concatenate([log.action for log in logs if log.action is not None])
    both = np.stack([one.logger[state, action], two.logger[state, action]], axis=1)
    log = BanditLog(reward, propensity, p, logging_policy=np.repeat([0, 1], 20_000), logger_propensities=both)
    balanced = evaluate(log, Options())
    naive = evaluate(replace(log, logger_propensities=None), Options())
    ips, wild = balanced.estimates["ips"], naive.estimates["ips"]
    assert isinstance(ips, Estimate)
    assert isinstance(wild, Estimate)
    assert ips.value == pytest.approx(world.value, abs=0.01)
    assert float(balanced.diagnostics["max_weight"] or 0) <= 2.0 + 1e-9
    assert ips.upper - ips.lower < 0.75 * (wild.upper - wild.lower)


def test_loggers_are_mixed_and_combined_by_the_formulas() -> None:
    mixed = mixture_propensity(np.array([[0.2, 0.6]]), np.array([0.25, 0.75]))
    assert mixed == pytest.approx([0.5])
    assert list(combine(np.array([1.0, 3.0]), np.array([1.0, 2.0]))) == pytest.approx([1.4, 0.8**0.5])


def test_the_shape_of_a_pareto_tail_is_found() -> None:
    rng = np.random.default_rng(0)
    for shape in (0.2, 0.5, 1.0):
        excess = (rng.random(500) ** -shape - 1) / shape
        assert tail_shape(excess) == pytest.approx(shape, abs=0.15)


def test_weights_without_a_mean_are_not_believed() -> None:
    rng = np.random.default_rng(1)
    n = 5000
    propensity = np.maximum(rng.random(n) ** 3, 1e-9)
    evaluation = evaluate(BanditLog(rng.random(n), propensity, np.full(n, 0.2)), Options())
    assert evaluation.verdict is not Verdict.RELIABLE


def test_weights_remember_what_diagnostics_need() -> None:
    weights = weights_of(np.array([0.0, 1.0, 3.0]))
    assert (weights.ess, weights.max, weights.largest_share, weights.zeros) == (1.6, 3.0, 0.75, 1.0)


def test_estimators_in_contradiction_are_not_believed() -> None:
    near: dict[str, Estimate | Withheld] = {
        "ips": Estimate(1.0, 0.8, 1.2),
        "dr": Estimate(1.3, 1.1, 1.5),
        "sndr": Withheld("too few"),
    }
    far: dict[str, Estimate | Withheld] = {**near, "snips": Estimate(2.0, 1.6, 2.4)}
    assert disagreement(near, ("ips", "snips", "dr", "sndr")) is None
    finding = disagreement(far, ("ips", "snips", "dr", "sndr"))
    assert finding is not None
    assert finding.verdict is Verdict.UNRELIABLE
    assert finding.sentence.startswith("the estimators contradict each other: ips says 1 (0.8 to 1.2), snips")


def test_the_interval_of_the_direct_method_takes_in_the_bias_of_a_wrong_model() -> None:
    world = bandit(seed=2, actions=4)
    log = world.log(20_000, np.random.default_rng(0), critic=1 - world.mean)
    dm = evaluate(log, Options()).estimates["dm"]
    assert isinstance(dm, Estimate)
    assert abs(dm.value - world.value) > 0.2
    assert dm.lower < world.value < dm.upper  # DR shows the model's bias, and the interval takes it in


def test_columns_of_different_length_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'p' has 2 rows"):
        evaluate(BanditLog(np.ones(3), np.ones(3), np.ones(2)), Options())


def test_an_evaluation_is_the_same_to_the_bit_when_repeated() -> None:
    log = bandit(seed=2).log(1000, np.random.default_rng(0))
    assert evaluate(log, Options()).as_dict() == evaluate(log, Options()).as_dict()


def test_the_record_of_coverage_counts_what_came_true() -> None:
    right = Outcome("a", Estimate(1.0, 0.8, 1.2), 0.05, 1.1, 0.01)
    wrong = Outcome("b", Estimate(1.0, 0.8, 1.2), 0.05, 1.5, 0.01)
    noisy = Outcome("c", Estimate(1.0, 0.8, 1.2), 0.05, 1.5, 0.3)
    record = CoverageRecord().add(right).add(wrong) + CoverageRecord().add(noisy)
    assert (record.total, record.covered, len(record.outcomes)) == (3, 2, 3)
    running = record.coverage()
    assert running is not None
    assert running.value == pytest.approx(2 / 3)
    assert running.lower == pytest.approx(0.2077, abs=1e-3)  # Wilson's interval for 2 of 3
    assert CoverageRecord().coverage() is None


def test_the_lower_tail_of_returns_is_that_of_the_weighted_episodes() -> None:
    """One step each, so that the tail of episodes is that of decisions."""
    rng = np.random.default_rng(0)
    n = 4000
    reward, p = rng.normal(size=n), np.where(rng.random(n) < 0.5, 0.3, 0.7)
    propensity = np.full(n, 0.5)
    single = evaluate(BanditLog(reward, propensity, p), Options())
    steps = np.zeros(n, dtype=np.int64)
    episodes = evaluate(
        TrajectoryLog(np.arange(n), steps, reward, propensity, p, 0.9), Options(cvar_floor=9.0)
    )
    for name, tail in single.tail.items():
        assert isinstance(tail, Estimate)
        mine = episodes.tail[name]
        assert isinstance(mine, Estimate)
        assert [mine.value, mine.lower, mine.upper] == pytest.approx([tail.value, tail.lower, tail.upper])
    assert episodes.refused
    gone = TrajectoryLog(np.arange(n) // 200, np.arange(n) % 200, reward, propensity, p, 0.9)
    assert all(isinstance(tail, Withheld) for tail in evaluate(gone, Options()).tail.values())
