"""`make ope_peers`: our estimators beside those of other libraries, on the same logs, in one run.

Peers are an optional extra (`pip install policywatch[peers]`), best in an environment of their own; one that is not
installed is named and left out. Exit code 1 where any value differs by more than 1e-9 of itself.
"""

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from detectors.ope import BanditLog, Estimate, Options, TrajectoryLog, evaluate
from tests.unit.detectors.ope.ope_worlds import Bandit, Mdp, bandit, mdp

CLOSE = 1e-9
SWITCH = 3.0
Values = dict[str, float]


def main() -> int:
    """Print one line per value; 1 where two disagree."""
    worst = 0.0
    for peer, compare in (("obp", obp), ("vw-estimators", vowpal_wabbit), ("scope-rl", scope_rl)):
        try:
            print(f"{peer} {version(peer)}")
            for name, mine, theirs in compare():
                gap = abs(mine - theirs) / max(abs(theirs), 1e-300)
                worst = max(worst, gap)
                print(f"  {name:<28}{mine:>18.12f}{theirs:>18.12f}{gap:>12.1e}", flush=True)
        except (PackageNotFoundError, ImportError) as error:
            print(f"{peer}: not here ({error})")
    print(f"largest relative difference {worst:.1e}")
    return int(worst > CLOSE)


def ours(log: BanditLog | TrajectoryLog) -> Values:
    """The value of every estimate that is published."""
    found = evaluate(log, Options(switch=SWITCH, reward_range=(0.0, 1.0), resamples=99, least_ess=0.0))
    return {name: e.value for name, e in found.estimates.items() if isinstance(e, Estimate)}


def obp() -> Iterator[tuple[str, float, float]]:
    """Open Bandit Pipeline: contextual bandits, with and without a model."""
    peers: Any = import_module("obp.ope.estimators")
    for title, world in worlds():
        state, log = drawn(world, 20_000)
        assert log.action is not None
        mine, poor = ours(log), 0.8 * world.mean
        shared = {
            "reward": log.reward, "action": log.action, "pscore": log.propensity,
            "position": np.zeros(len(log), dtype=int), "action_dist": world.candidate[state][:, :, None],
            "estimated_rewards_by_reg_model": poor[state][:, :, None],
        }  # fmt: skip
        for name, peer in {
            "ips": peers.InverseProbabilityWeighting(),
            "snips": peers.SelfNormalizedInverseProbabilityWeighting(),
            "dm": peers.DirectMethod(),
            "dr": peers.DoublyRobust(),
            "sndr": peers.SelfNormalizedDoublyRobust(),
            "switch_dr": peers.SwitchDoublyRobust(tau=SWITCH),
        }.items():
            yield f"{title} {name}", mine[name], float(peer.estimate_policy_value(**shared))


def vowpal_wabbit() -> Iterator[tuple[str, float, float]]:
    """Vowpal Wabbit's estimators, which take one decision at a time."""
    for title, world in worlds():
        _, log = drawn(world, 20_000)
        mine = ours(log)
        for name in ("ips", "snips"):
            peer = import_module(f"estimators.bandits.{name}").Estimator()
            for propensity, reward, p in zip(log.propensity, log.reward, log.p, strict=True):
                peer.add_example(propensity, reward, p)
            yield f"{title} {name}", mine[name], float(peer.get())


def scope_rl() -> Iterator[tuple[str, float, float]]:
    """SCOPE-RL: episodes of a fixed length, discounted."""
    peers: Any = import_module("scope_rl.ope.discrete.basic_estimators")
    world = mdp(2, shift=0.3, steps=5, end=0.0)
    q = 0.8 * world.q(world.candidate)
    log = world.log(4_000, np.random.default_rng(0), critic=q)
    order = np.lexsort((log.step, log.episode))
    assert log.state is not None
    assert log.action is not None
    state, mine = log.state.argmax(axis=1)[order], ours(log)
    shared = {
        "step_per_trajectory": world.steps, "action": log.action[order], "reward": log.reward[order],
        "pscore": log.propensity[order], "evaluation_policy_action_dist": world.candidate[state],
        "state_action_value_prediction": q[log.step[order], state], "gamma": world.gamma,
    }  # fmt: skip
    named: dict[str, Callable[[], Any]] = {
        "trajectory_is": peers.TrajectoryWiseImportanceSampling,
        "per_decision_is": peers.PerDecisionImportanceSampling,
        "per_decision_dr": peers.DoublyRobust,
        "trajectory_wis": peers.SelfNormalizedTIS,
        "per_decision_snis": peers.SelfNormalizedPDIS,
    }
    for name, peer in named.items():
        yield name, mine[name], float(peer().estimate_policy_value(**shared))


def worlds() -> Iterator[tuple[str, Bandit]]:
    """Mild and heavy weights."""
    yield "mild", bandit(2, 20, 0.5, 1.0)
    yield "heavy", bandit(3, 20, 1.5, 2.0)


def drawn(world: Bandit | Mdp, n: int) -> tuple[Any, BanditLog]:
    """States and a log, with a model that is a fifth too low."""
    assert isinstance(world, Bandit)
    log = world.log(n, np.random.default_rng(0), critic=0.8 * world.mean)
    assert log.state is not None
    return log.state.argmax(axis=1), log


if __name__ == "__main__":
    sys.exit(main())
