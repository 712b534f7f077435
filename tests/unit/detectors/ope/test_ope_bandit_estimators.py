"""Bandit estimators: by hand, against exactly known values, and where model or propensities are wrong."""

from dataclasses import replace

import numpy as np
import pytest

from detectors.ope.bandit.clipped import ClippedIs
from detectors.ope.bandit.direct import DirectMethod
from detectors.ope.bandit.doubly_robust import DoublyRobust
from detectors.ope.bandit.estimator import BanditEstimator, Decisions, estimate, observe
from detectors.ope.bandit.ips import Ips
from detectors.ope.bandit.registry import bandit_estimators
from detectors.ope.bandit.self_normalised_dr import SelfNormalisedDr
from detectors.ope.bandit.snips import Snips
from detectors.ope.bandit.switch_dr import SwitchDr
from detectors.ope.columns import BanditLog
from detectors.ope.reward_model import with_reward_model
from tests.unit.detectors.ope.ope_worlds import bandit

BY_HAND = Decisions(
    weight=np.array([0.5, 2.0, 4.0, 0.0]),
    reward=np.array([1.0, 0.0, 2.0, 5.0]),
    q=np.array([1.0, 1.0, 1.0, 4.0]),
    v=np.array([2.0, 1.0, 1.0, 4.0]),
)


def decisions_of(log: BanditLog) -> Decisions:
    return Decisions(log.p / log.propensity, log.reward, log.q, log.v)


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (Ips(), 8.5 / 4),
        (Snips(), 8.5 / 6.5),
        (ClippedIs(2.0), 4.5 / 4),
        (DirectMethod(), 2.0),
        (DoublyRobust(), 2.0 + 2.0 / 4),
        (SelfNormalisedDr(), 2.0 + 2.0 / 6.5),
        (SwitchDr(2.0), 2.0 - 2.0 / 4),
    ],
    ids=lambda case: getattr(case, "name", ""),
)
def test_four_decisions_give_the_value_worked_by_hand(estimator: BanditEstimator, expected: float) -> None:
    assert estimate(observe(estimator, BY_HAND)) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("estimator", bandit_estimators(clip=1e9, switch=1e9), ids=lambda e: e.name)
def test_every_estimator_converges_to_the_exact_value(estimator: BanditEstimator) -> None:
    world = bandit(seed=3, actions=8)
    log = world.log(400_000, np.random.default_rng(0))
    # DM is exact here because the critic is; four standard errors of IPS are .005.
    assert estimate(observe(estimator, decisions_of(log))) == pytest.approx(world.value, abs=0.006)


@pytest.mark.parametrize("estimator", [DoublyRobust(), SelfNormalisedDr()], ids=lambda e: e.name)
def test_dr_is_right_when_only_the_model_is(estimator: BanditEstimator) -> None:
    world = bandit(seed=3, actions=8)
    log = world.log(400_000, np.random.default_rng(1))
    wrong = replace(log, propensity=np.sqrt(log.propensity))
    assert abs(estimate(observe(Ips(), decisions_of(wrong))) - world.value) > 0.05
    assert estimate(observe(estimator, decisions_of(wrong))) == pytest.approx(world.value, abs=0.006)


@pytest.mark.parametrize("estimator", [DoublyRobust(), SelfNormalisedDr()], ids=lambda e: e.name)
def test_dr_is_right_when_only_the_propensities_are(estimator: BanditEstimator) -> None:
    world = bandit(seed=3, actions=8)
    log = world.log(400_000, np.random.default_rng(2), critic=1.0 - world.mean)
    assert abs(estimate(observe(DirectMethod(), decisions_of(log))) - world.value) > 0.05
    assert estimate(observe(estimator, decisions_of(log))) == pytest.approx(world.value, abs=0.008)


@pytest.mark.parametrize("estimator", [ClippedIs(1.2), SwitchDr(1.2)], ids=lambda e: e.name)
def test_the_enclosing_terms_of_a_biased_estimator_hold_the_value(estimator: ClippedIs | SwitchDr) -> None:
    world = bandit(seed=3, actions=8, shift=2.0)
    log = world.log(200_000, np.random.default_rng(3), critic=0.5 * world.mean)
    low, high = (float(terms.mean()) for terms in estimator.enclosing(decisions_of(log), 0.0, 1.0))
    assert abs(estimate(observe(estimator, decisions_of(log))) - world.value) > 0.01
    assert low < world.value < high


def test_a_reward_model_fitted_out_of_fold_stands_in_for_a_critic() -> None:
    world = bandit(seed=4, actions=4)
    log = replace(world.log(20_000, np.random.default_rng(4)), q=None, v=None)
    fitted = decisions_of(with_reward_model(log, folds=5, ridge=1.0))
    assert estimate(observe(DirectMethod(), fitted)) == pytest.approx(world.value, abs=0.02)
    assert estimate(observe(DoublyRobust(), fitted)) == pytest.approx(world.value, abs=0.02)


def test_a_cross_fitted_model_never_saw_the_reward_it_predicts() -> None:
    log = replace(bandit(seed=4, actions=2).log(40, np.random.default_rng(5)), q=None, v=None)
    moved = replace(log, reward=log.reward + 100.0 * (np.arange(40) == 7))
    before, after = (with_reward_model(x, folds=5, ridge=1.0) for x in (log, moved))
    assert before.q is not None
    assert after.q is not None
    assert before.q[7] == pytest.approx(after.q[7], abs=1e-9)
    assert abs(before.q[8] - after.q[8]) > 0.1
