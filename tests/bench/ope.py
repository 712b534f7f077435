"""Off-policy evaluation: decisions and steps a second of one core, on columns in memory."""

import resource
import sys
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from detectors.ope import BanditLog, Options, TrajectoryLog, evaluate
from detectors.ope.bandit.observe import observe
from detectors.ope.evidence import start
from detectors.ope.sequential import observe as sequential
from detectors.ope.sequential.episodes import episodes_of
from detectors.ope.sequential.fqe_evaluation import evaluate_fqe, transitions_of
from tests.bench.table import Row, cpu_of, to_goal

DECISIONS, STEPS = 1_000_000, 100_000
GOAL_S = {"decisions": 1.0, "fqe": 10.0}


def rows() -> Iterator[Row]:
    """Estimators alone, with bounds, whole evaluations; FQE; and how far memory has grown."""
    before = _memory_mb()
    yield from _bandits(np.random.default_rng(0))
    yield from _episodes(np.random.default_rng(1))
    grown = _memory_mb() - before
    yield Row("memory of all of it", "columns of the logs included", f"{grown:,.0f} MB more than before")


def bandit_log(rng: np.random.Generator) -> BanditLog:
    """A million decisions with a critic."""
    n = DECISIONS
    return BanditLog(
        rng.random(n), rng.uniform(0.05, 1, n), rng.uniform(0.05, 1, n), rng.random(n), rng.random(n)
    )


def trajectory_log(rng: np.random.Generator, d: int, actions: int) -> TrajectoryLog:
    """Episodes of 50 steps."""
    episode, step = np.divmod(np.arange(STEPS), 50)
    logits = rng.normal(size=(2, STEPS, actions))
    logger, candidate = (np.exp(0.3 * x) / np.exp(0.3 * x).sum(axis=1, keepdims=True) for x in logits)
    action, here = rng.integers(0, actions, STEPS), np.arange(STEPS)
    return TrajectoryLog(
        episode, step, rng.normal(size=STEPS), logger[here, action], candidate[here, action], gamma=0.95,
        state=rng.normal(size=(STEPS, d)), action=action, candidate_probs=candidate,
    )  # fmt: skip


def _bandits(rng: np.random.Generator) -> Iterator[Row]:
    log, plain, ranged = bandit_log(rng), Options(), Options(reward_range=(0.0, 1.0))
    for what, work in (
        ("all bandit estimators", lambda: observe(start(plain), log, plain)),
        ("the same with all finite-sample bounds", lambda: observe(start(ranged), log, ranged)),
        ("whole evaluation, intervals and tail", lambda: evaluate(log, ranged)),
    ):
        yield _row(f"{what}, {DECISIONS:,} decisions", work, DECISIONS, GOAL_S["decisions"])


def _episodes(rng: np.random.Generator) -> Iterator[Row]:
    for actions, features in ((5, 0), (20, 0), (5, 128)):
        steps = trajectory_log(rng, 32, actions)
        found, options = episodes_of(steps), Options(model_features=features)
        data = transitions_of(found)
        assert data is not None
        what = f"FQE, {STEPS:,} steps, d = 32, {actions} actions, {features} random features, 10 folds"
        yield _row(what, partial(evaluate_fqe, data, found, options), STEPS, GOAL_S["fqe"])
    options = Options(horizon=50)
    yield _row(
        f"all sequential estimators, {STEPS:,} steps",
        lambda: sequential.observe(sequential.start(options), steps, options), STEPS, STEPS / DECISIONS,
    )  # fmt: skip


def _row(what: str, work: Callable[[], object], n: int, goal_s: float) -> Row:
    seconds = cpu_of(work)
    return Row(what, to_goal(seconds, goal_s, "s"), f"{n / seconds / 1e6:.2f} M rows/s, {seconds:.2f} s")


def _memory_mb() -> float:
    """Most that this process has ever held."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)
