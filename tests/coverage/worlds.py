"""Worlds with known values, from easy to hard, and how often every published interval holds the truth in them."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from detectors.ope import BanditLog, Estimate, Evaluation, Options, TrajectoryLog, evaluate
from tests.unit.detectors.ope.ope_worlds import Bandit, bandit, mdp

Log = BanditLog | TrajectoryLog


@dataclass(frozen=True)
class Setting:
    """A world and how to draw a log from it."""

    name: str
    value: float
    incumbent: float
    draw: Callable[..., Log]
    reward_range: tuple[float, float] | None = (0.0, 1.0)


def settings() -> Iterator[Setting]:
    """From easy to hard: the candidate's distance, the rarity of rewards, clustering, horizon."""
    worlds = {
        "mild": bandit(1, shift=0.5, skew=0.3),
        "moderate": bandit(2, actions=20, skew=0.5, shift=1.0),
        "heavy": bandit(3, actions=20, skew=1.5, shift=2.0),
        "very heavy": bandit(6, actions=50, skew=2.0, shift=2.0, base=0.5),
        "rare": bandit(13, actions=20, skew=1.0, shift=1.5, base=0.02),
        "rare and heavy": bandit(5, actions=20, skew=2.0, shift=2.0, base=0.03),
    }
    for name, world in worlds.items():
        biased = np.clip(world.mean * 1.3, 0, 1)
        for n in (500, 4000):
            yield Setting(
                f"{name}, n={n}", world.value, world.incumbent, partial(world.log, n, critic=biased)
            )
    heavy, moderate = worlds["heavy"], worlds["moderate"]
    noisy = partial(heavy.log, 2000, noise=1.0)
    yield Setting("heavy, normal noise, n=2000", heavy.value, heavy.incumbent, noisy, reward_range=None)
    yield Setting(
        "moderate, clusters of 20, n=4000", moderate.value, moderate.incumbent, partial(clustered, moderate)
    )
    for shift, episodes in ((0.3, 300), (0.5, 2000), (1.0, 2000)):
        chain = mdp(2, shift=shift, steps=40, end=0.3)
        poor = 0.8 * chain.q(chain.candidate)
        yield Setting(
            f"episodes, shift {shift}, n={episodes}",
            chain.value(chain.candidate),
            chain.value(chain.logger),
            partial(chain.log, episodes, critic=poor),
            reward_range=None,
        )


def clustered(world: Bandit, rng: np.random.Generator) -> BanditLog:
    """200 units of 20 decisions; the unit has its own state, and rewards that move together."""
    log = world.log(4000, rng)
    unit = np.arange(4000) // 20
    state = rng.integers(0, len(world.mean), 200)[unit]
    luck = rng.normal(0, 0.1, 200)[unit]
    passed = rng.random(4000)[:, None] > world.logger[state].cumsum(axis=1)
    action = np.minimum(passed.sum(axis=1), world.mean.shape[1] - 1)
    return replace(
        log,
        reward=world.mean[state, action] + luck,
        propensity=world.logger[state, action],
        p=world.candidate[state, action],
        q=world.mean[state, action],
        v=(world.candidate * world.mean).sum(axis=1)[state],
        unit=unit,
        state=None,
        action=None,
        candidate_probs=None,
    )


def intervals(evaluation: Evaluation) -> dict[str, Estimate | None]:
    """Everything with two ends, by name; None where withheld."""
    named = {**evaluation.estimates, **{f"bound {k}": e for k, e in evaluation.bounds.items()}}
    named["difference"] = evaluation.difference
    return {name: e if isinstance(e, Estimate) else None for name, e in named.items()}


def cover(setting: Setting, simulations: int, seed: int = 1) -> dict[str, tuple[int, int]]:
    """name -> (published, of these held the truth)."""
    rng = np.random.default_rng(seed)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    options = Options(reward_range=setting.reward_range, resamples=399)
    for _ in range(simulations):
        evaluation = evaluate(setting.draw(rng=rng), options)
        for name, estimate in intervals(evaluation).items():
            truth = setting.value - (setting.incumbent if "difference" in name else 0.0)
            counts[name][0] += estimate is not None
            counts[name][1] += estimate is not None and estimate.lower <= truth <= estimate.upper
        counts["verdict reliable"][0] += evaluation.verdict == "reliable"
        counts["verdict reliable"][1] += evaluation.verdict == "reliable"
    return {name: (published, held) for name, (published, held) in counts.items()}
