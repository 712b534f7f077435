"""A candidate's life of episodes: the sums of parts, ends at every look, the price of its alarms."""

import numpy as np
from scipy.stats import binom

from detectors.candidates.episodes import EpisodeLife, begin, fold, measurements
from detectors.candidates.life import LifePlan
from detectors.measurement import Measurement, Verdict
from detectors.ope import CostBudget, TrajectoryLog
from detectors.ope.columns import take
from tests.unit.detectors.ope.ope_worlds import Mdp, mdp

PLAN = LifePlan(None, (), 1 / 30, 60, discount=0.95, episode_budgets={"harm": CostBudget(1.0, "episode")})
CHEAP = LifePlan(None, (), 1.6, 60, discount=0.95)  # the least bar there is: 1 in 20


def parts(log: TrajectoryLog, size: int) -> list[TrajectoryLog]:
    last = int(log.episode.max()) + 1
    return [take(log, (log.episode >= a) & (log.episode < a + size)) for a in range(0, last, size)]


def looks(log: TrajectoryLog, size: int, plan: LifePlan) -> list[list[Measurement]]:
    life, said = begin(plan, 0), []
    for i, part in enumerate(parts(log, size)):
        life = fold(life, part, i, plan)
        said.append(measurements(life, "v1", plan))
    return said


def of(said: list[Measurement], statistic: str) -> Measurement:
    return next(m for m in said if m.statistic == statistic)


def world(shift: float) -> Mdp:
    return mdp(2, shift=shift, steps=20, end=0.3, gamma=0.95)


def test_a_life_of_parts_says_what_the_whole_says() -> None:
    log = world(0.5).log(600, np.random.default_rng(0))
    whole, split = looks(log, 600, PLAN)[-1], looks(log, 70, PLAN)[-1]
    assert [m.statistic for m in whole] == [m.statistic for m in split]
    for one, other in zip(whole, split, strict=True):
        assert np.isclose(one.value, other.value, rtol=1e-9, equal_nan=True), one.statistic
        assert one.verdict is other.verdict


def test_ends_hold_the_truth_at_every_look() -> None:
    """60 lives, 12 looks at each; at 95 % more than 9 misses come once in 1,000."""
    chain, missed = world(0.5), 0
    truth = chain.value(chain.candidate)
    for seed in range(60):
        poor = 0.8 * chain.q(chain.candidate)
        said = looks(chain.log(1200, np.random.default_rng(seed), critic=poor), 100, PLAN)
        told = [look for look in said if any(m.statistic == "value" for m in look)]
        ends = [(of(look, "lower").value, of(look, "upper").value) for look in told]
        assert of(said[-1], "value").reason == "per_decision_dr"
        missed += any(not lower <= truth <= upper for lower, upper in ends)
    assert missed <= binom.ppf(0.999, 60, 0.05)


def test_a_candidate_that_returns_the_same_alarms_no_more_often_than_priced() -> None:
    """Every action is worth the same, so the candidate is no worse; 100 lives at a bar of 1 in 20."""
    chain, fired = world(0.5), 0
    same = Mdp(
        np.repeat(chain.transition[:, :1], 3, axis=1), np.repeat(chain.reward[:, :1], 3, axis=1), chain.logger,
        chain.candidate, chain.gamma, chain.steps,
    )  # fmt: skip
    assert CHEAP.bar == np.log(20.0)
    for seed in range(100):
        said = looks(same.log(800, np.random.default_rng(seed)), 100, CHEAP)
        fired += any(of(look, "difference").verdict is Verdict.BREACH for look in said)
    assert fired <= binom.ppf(0.999, 100, 1 / 20)


def test_a_worse_candidate_is_found_and_a_better_one_is_not() -> None:
    chain = world(0.5)
    worse, better = (
        Mdp(chain.transition, sign * chain.reward, chain.logger, chain.candidate, chain.gamma, chain.steps)
        for sign in (1.0, -1.0)
    )
    if worse.value(worse.candidate) > worse.value(worse.logger):
        worse, better = better, worse
    low, high = (looks(w.log(4000, np.random.default_rng(5)), 1000, PLAN)[-1] for w in (worse, better))
    assert of(low, "difference").verdict is Verdict.BREACH
    assert of(low, "comparison").value == -1.0
    assert of(high, "difference").verdict is Verdict.OK
    assert of(high, "comparison").value == 1.0


def test_what_is_remembered_is_bounded() -> None:
    life: EpisodeLife = begin(PLAN, 0)
    for i, part in enumerate(parts(world(0.5).log(3000, np.random.default_rng(0)), 500)):
        life = fold(life, part, i, PLAN)
    assert life.n == 3000
    held = [statistic.totals.total for statistic in life.evidence.episodes.statistics.values()]
    assert sum(array.nbytes for array in held) < 100_000
    assert "per_decision_snis" not in life.evidence.episodes.statistics
