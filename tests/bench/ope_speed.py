"""Speed of off-policy evaluation, in CPU seconds of one process. Run: python -m tests.bench.ope_speed."""

import resource
import time

import numpy as np

from detectors.ope import BanditLog, Options, TrajectoryLog, evaluate
from detectors.ope.bandit.observe import observe
from detectors.ope.evidence import start
from detectors.ope.sequential import observe as sequential
from detectors.ope.sequential.episodes import episodes_of
from detectors.ope.sequential.fqe_evaluation import evaluate_fqe, transitions_of

DECISIONS = 1_000_000
STEPS = 100_000


def bandit_log(rng: np.random.Generator) -> BanditLog:
    n = DECISIONS
    return BanditLog(
        rng.random(n), rng.uniform(0.05, 1, n), rng.uniform(0.05, 1, n), rng.random(n), rng.random(n)
    )


def trajectory_log(rng: np.random.Generator, d: int, actions: int) -> TrajectoryLog:
    episode, step = np.divmod(np.arange(STEPS), 50)
    logits = rng.normal(size=(2, STEPS, actions))
    logger, candidate = (np.exp(0.3 * x) / np.exp(0.3 * x).sum(axis=1, keepdims=True) for x in logits)
    action = rng.integers(0, actions, STEPS)
    rows = np.arange(STEPS)
    return TrajectoryLog(
        episode, step, rng.normal(size=STEPS), logger[rows, action], candidate[rows, action], gamma=0.95,
        state=rng.normal(size=(STEPS, d)), action=action, candidate_probs=candidate,
    )  # fmt: skip


def timed(name: str, rows: int, work: object) -> None:
    assert callable(work)
    began = time.process_time()
    work()
    seconds = time.process_time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:60} {seconds:7.2f} s  {rows / seconds / 1e6:7.2f} M rows/s  peak {memory:6.0f} MB", flush=True
    )


def main() -> None:
    rng = np.random.default_rng(0)
    log, units = bandit_log(rng), rng.integers(0, 2**62, DECISIONS)
    plain, ranged = Options(), Options(reward_range=(0.0, 1.0))
    timed("bandit: all estimators, observe", DECISIONS, lambda: observe(start(plain), log, plain))
    timed("bandit: with all finite-sample bounds", DECISIONS, lambda: observe(start(ranged), log, ranged))
    clustered = BanditLog(log.reward, log.propensity, log.p, log.q, log.v, unit=units)
    timed("bandit: with bounds and units", DECISIONS, lambda: observe(start(ranged), clustered, ranged))
    evidence = observe(start(ranged), log, ranged)
    assert evidence.n == DECISIONS
    timed("bandit: evaluate, intervals and tail included", DECISIONS, lambda: evaluate(log, ranged))
    for actions, features in ((5, 0), (20, 0), (5, 128)):
        steps = trajectory_log(rng, 32, actions)
        found = episodes_of(steps)
        data = transitions_of(found)
        assert data is not None
        options = Options(model_features=features)
        timed(
            f"FQE, d = 32, {actions} actions, {features} random features, 10 folds",
            STEPS,
            lambda d=data, f=found, o=options: evaluate_fqe(d, f, o),
        )
    timed(
        "episodes: all estimators, observe",
        STEPS,
        lambda: sequential.observe(sequential.start(Options(horizon=50)), steps, Options(horizon=50)),
    )


if __name__ == "__main__":
    main()
