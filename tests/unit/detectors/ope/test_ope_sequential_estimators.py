"""Sequential estimators and FQE: by hand, and against exactly known values of tabular MDPs."""

from dataclasses import replace

import numpy as np
import pytest

from detectors.ope import Estimate, Options, TrajectoryLog, Withheld, evaluate
from detectors.ope.bandit.estimator import estimate
from detectors.ope.columns import take
from detectors.ope.sequential.episodes import episodes_of
from detectors.ope.sequential.estimator import observe
from detectors.ope.sequential.fqe import spectral_radius
from detectors.ope.sequential.fqe_evaluation import FqeResult, evaluate_fqe, transitions_of
from detectors.ope.sequential.horizon import step_weights
from detectors.ope.sequential.observe import sequential_estimators
from tests.unit.detectors.ope.ope_worlds import mdp

# Two episodes in shuffled rows: ratios 2, .5, 3 with rewards 1, 2, 4, and .5, 0 with rewards 3, 5; gamma 1/2.
BY_HAND = TrajectoryLog(
    episode=np.array([7, 9, 7, 9, 7]),
    step=np.array([2, 0, 0, 1, 1]),
    reward=np.array([4.0, 3.0, 1.0, 5.0, 2.0]),
    propensity=np.array([0.2, 0.8, 0.3, 0.4, 0.8]),
    p=np.array([0.6, 0.4, 0.6, 0.0, 0.4]),
    gamma=0.5,
    q=np.array([1.0, 1.0, 2.0, 1.0, 1.0]),
    v=np.array([2.0, 3.0, 1.0, 1.0, 2.0]),
)


def test_two_episodes_give_the_values_worked_by_hand() -> None:
    found = episodes_of(BY_HAND)
    values = {e.name: estimate(observe(e, found)) for e in sequential_estimators(horizon=3)}
    returns = (1 + 2 / 2 + 4 / 4, 3 + 5 / 2)
    assert values["trajectory_is"] == pytest.approx((3 * returns[0] + 0 * returns[1]) / 2)
    assert values["trajectory_wis"] == pytest.approx(returns[0])
    assert values["per_decision_is"] == pytest.approx(((2 * 1 + 1 * 2 / 2 + 3 * 4 / 4) + (0.5 * 3)) / 2)
    snis = (2 * 1 + 0.5 * 3) / 2.5 + (1 * 2) / 1 / 2 + (3 * 4) / 3 / 4
    assert values["per_decision_snis"] == pytest.approx(snis)
    first = (2 * (1 - 2) + 1 * 1) + (1 * (2 - 1) + 2 * 2) / 2 + (3 * (4 - 1) + 1 * 2) / 4
    second = (0.5 * (3 - 1) + 1 * 3) + (0 + 0.5 * 1) / 2
    assert values["per_decision_dr"] == pytest.approx((first + second) / 2)


def test_weights_per_step_shrink_although_single_ratios_do_not() -> None:
    rng = np.random.default_rng(0)
    episode, step = np.divmod(np.arange(100_000), 100)
    ratio = np.where(rng.random(100_000) < 0.5, 1.2, 0.8)
    log = TrajectoryLog(episode, step, np.zeros(100_000), np.full(100_000, 0.5), 0.5 * ratio, gamma=1.0)
    ess = step_weights(episodes_of(log)).ess / 1000
    # E[w^2] = 1.04 a step: 1.04^-1, 1.04^-10, 1.04^-50 of the episodes; known well while many are left.
    assert ess[[0, 9, 49]] == pytest.approx([0.9615, 0.6756, 0.1407], rel=0.3)
    assert ess[99] < 0.06


@pytest.mark.parametrize("name", [e.name for e in sequential_estimators(horizon=1)])
def test_every_estimator_converges_to_the_exact_value(name: str) -> None:
    world = mdp(seed=0)
    log = world.log(60_000, np.random.default_rng(0))
    estimator = next(e for e in sequential_estimators(horizon=world.steps) if e.name == name)
    statistic = observe(estimator, episodes_of(log))
    assert estimate(statistic) == pytest.approx(world.value(world.candidate), abs=0.06)


def test_dr_for_episodes_is_right_when_only_the_model_is() -> None:
    world = mdp(seed=0)
    log = world.log(60_000, np.random.default_rng(1))
    wrong = replace(log, propensity=np.sqrt(log.propensity))
    estimates = {e.name: estimate(observe(e, episodes_of(wrong))) for e in sequential_estimators(horizon=5)}
    truth = world.value(world.candidate)
    assert abs(estimates["per_decision_is"] - truth) > 0.2
    assert estimates["per_decision_dr"] == pytest.approx(truth, abs=0.02)


def test_dr_for_episodes_is_right_when_only_the_propensities_are() -> None:
    world = mdp(seed=0)
    log = world.log(60_000, np.random.default_rng(2), critic=2.0 - world.q(world.candidate))
    dr = sequential_estimators(horizon=5)[-1]
    assert estimate(observe(dr, episodes_of(log))) == pytest.approx(world.value(world.candidate), abs=0.08)


def test_a_cut_episode_is_completed_by_the_critic_of_its_last_state() -> None:
    world = mdp(seed=1, steps=6)
    whole = world.log(40_000, np.random.default_rng(3))
    short = whole.step < 3
    assert whole.ended is not None
    cut = replace(take(whole, short), state=None, action=None, candidate_probs=None)
    assert episodes_of(cut).cut == 0
    assert episodes_of(replace(cut, q=None, v=None)).cut > 10_000
    dr = sequential_estimators(horizon=6)[-1]
    truth = world.value(world.candidate)
    assert estimate(observe(dr, episodes_of(cut))) == pytest.approx(truth, abs=0.03)
    assert abs(estimate(observe(dr, episodes_of(replace(cut, ended=None)))) - truth) > 0.05


def test_an_episode_with_a_gap_or_a_missing_reward_is_dropped_and_counted() -> None:
    ones = np.ones(7)
    log = TrajectoryLog(
        episode=np.array([1, 1, 2, 2, 3, 3, 3]),
        step=np.array([0, 1, 0, 2, 0, 1, 2]),
        reward=np.array([1.0, 2.0, 9.0, 9.0, 9.0, np.nan, 9.0]),
        propensity=ones,
        p=ones,
        gamma=1.0,
    )
    found = episodes_of(log)
    assert (found.count, found.dropped) == (1, 2)
    assert found.returns.tolist() == [3.0]


def fqe_of(log: TrajectoryLog, **options: float) -> FqeResult:
    found = episodes_of(log)
    data = transitions_of(found)
    assert data is not None
    return evaluate_fqe(data, found, Options(**options))  # type: ignore[arg-type]


def test_fqe_finds_the_exact_value_where_its_features_can() -> None:
    world = mdp(seed=2, steps=60, end=0.2)
    result = fqe_of(world.log(20_000, np.random.default_rng(5)))
    truth = world.value(world.candidate)
    assert isinstance(result.estimate, Estimate)
    assert result.estimate.value == pytest.approx(truth, abs=0.05)
    assert result.estimate.lower < truth < result.estimate.upper
    assert abs(float(result.diagnostics["fqe_bellman_mean"] or 0.0)) < 0.01


def test_fqe_with_random_features_finds_a_value_that_a_linear_q_cannot() -> None:
    rng = np.random.default_rng(6)
    n = 6000
    x = rng.uniform(-2, 2, (n, 1))
    action = rng.integers(0, 2, n)
    reward = np.where(action == 0, np.cos(2 * x[:, 0]), 0.0)
    probs = np.stack([(np.abs(x[:, 0]) < 0.7) * 0.8 + 0.1, 0.9 - (np.abs(x[:, 0]) < 0.7) * 0.8], axis=1)
    truth = float((probs[:, 0] * np.cos(2 * x[:, 0])).mean())
    one_step = TrajectoryLog(
        np.arange(n), np.zeros(n, dtype=np.int64), reward, np.full(n, 0.5), probs[np.arange(n), action],
        gamma=0.9, state=x, action=action, candidate_probs=probs,
    )  # fmt: skip
    linear, random = (fqe_of(one_step, model_features=k).estimate for k in (0, 64))
    assert isinstance(linear, Estimate)
    assert isinstance(random, Estimate)
    assert abs(linear.value - truth) > 0.1
    assert random.value == pytest.approx(truth, abs=0.02)


def off_the_map(stretch: float) -> TrajectoryLog:
    """Every step leads to a state `stretch` times as far out, of which the log holds no step (cut off there)."""
    episode, step = np.divmod(np.arange(2000), 2)
    x = np.random.default_rng(7).normal(size=1000)[episode] * np.where(step == 0, 1.0, stretch)
    ones, none = np.ones(2000), np.zeros(2000, dtype=np.int64)
    return TrajectoryLog(
        episode, step, x, ones, ones, gamma=0.9, ended=np.zeros(2000, dtype=bool), state=x[:, None], action=none,
        candidate_probs=ones[:, None],
    )  # fmt: skip


def test_fqe_is_withheld_where_its_iteration_diverges() -> None:
    calm, wild = fqe_of(off_the_map(1.05)), fqe_of(off_the_map(1.5))
    assert calm.diagnostics["fqe_spectral_radius"] == pytest.approx(0.9 * 1.05, rel=1e-2)
    assert wild.diagnostics["fqe_spectral_radius"] == pytest.approx(0.9 * 1.5, rel=1e-2)
    assert isinstance(wild.estimate, Withheld)
    assert "diverges" in wild.estimate.reason


def test_fqe_is_withheld_where_it_leaves_what_rewards_allow() -> None:
    """Radius .99: the iteration converges, to values a hundred times what two steps can earn."""
    result = fqe_of(off_the_map(1.1))
    assert isinstance(result.estimate, Withheld)
    assert "leaves what rewards allow" in result.estimate.reason


def test_the_spectral_radius_is_that_of_numpy() -> None:
    matrix = np.random.default_rng(8).normal(size=(30, 30))
    assert spectral_radius(matrix) == pytest.approx(float(np.abs(np.linalg.eigvals(matrix)).max()), rel=1e-3)


def test_a_log_of_states_without_critic_gets_one_by_fqe_and_a_doubly_robust_estimate() -> None:
    world = mdp(seed=2, steps=60, end=0.4)
    log = replace(world.log(3000, np.random.default_rng(9)), q=None, v=None)
    evaluation = evaluate(log, Options())
    dr = evaluation.estimates["per_decision_dr"]
    assert isinstance(dr, Estimate)
    assert dr.lower < world.value(world.candidate) < dr.upper
