"""The named worlds: what is quiet, what changes, which rule must say so, and how soon."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import stats

from detectors.arrays import F64, I64
from tests.bench.scoreboard.events import Events, Generator, World, after, ar1, ramp
from tests.bench.scoreboard.limit import Ratios
from tests.bench.scoreboard.watch import Setting

BETWEEN = 10_000.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """rule: the cause that must be named. goal: the delay as a multiple of the limit. baseline: events in it.

    band: realised over set time between false signals that the issue asks for, (0, inf) where it asks for none.
    """

    name: str
    world: World
    setting: Setting
    rule: str
    goal: float = float("nan")
    ratios: Sequence[Ratios] = ()
    baseline: int = 5_000
    longest: int = 6_000
    band: tuple[float, float] = (0.8, float("inf"))
    null: str = ""  # scenarios with the same quiet world are quiet together: measured once


def _setting(
    rule: str,
    per_bucket: int,
    window: int = 1_000,
    horizon: int = 0,
    rules: tuple[str, ...] = (),
    costs: tuple[str, ...] = (),
) -> Setting:
    return Setting(per_bucket, window, horizon, rules or (rule,), BETWEEN, costs)


# rewards


def _normal_reward(rng: Generator, n: int, at: int, shift: float) -> Events:
    return Events(reward=rng.standard_normal(n) - shift * after(n, at))


def _t3_reward(rng: Generator, n: int, at: int, shift: float) -> Events:
    return Events(reward=rng.standard_t(3, n) - np.sqrt(3) * shift * after(n, at))


def _ar1_reward(rng: Generator, n: int, at: int, shift: float) -> Events:
    return Events(reward=ar1(rng, n, 0.5) - shift * after(n, at))


def _clicks(rng: Generator, n: int, at: int) -> Events:
    return Events(reward=(rng.random(n) < 0.05 - 0.015 * after(n, at)).astype(np.float64))


def _slow_decline(rng: Generator, n: int, at: int) -> Events:
    return Events(reward=rng.standard_normal(n) - ramp(n, at, 2_000))


def _daily(rng: Generator, n: int, at: int) -> Events:
    season = 0.3 * np.sin(2 * np.pi * (np.arange(n) / 500 + rng.random()))
    return Events(reward=rng.standard_normal(n) + season - 0.5 * after(n, at))


def _later(rng: Generator, n: int, at: int) -> Events:
    good = (rng.random(n) < 0.5).astype(np.float64)
    delay = rng.exponential(np.where(good > 0, 20.0, 60.0) * (1 + 3 * after(n, at)))
    return Events(reward=good, delay=delay)


def _lost(rng: Generator, n: int, at: int) -> Events:
    delay = np.where(rng.random(n) < 0.4 * after(n, at), np.inf, rng.exponential(20.0, n))
    return Events(reward=rng.standard_normal(n), delay=delay)


def _ratio_normal(rng: Generator, paths: int, n: int, changed: bool, shift: float) -> F64:
    return shift * (rng.standard_normal((paths, n)) + shift * changed) - shift**2 / 2


def _ratio_t3(rng: Generator, paths: int, n: int, changed: bool, shift: float) -> F64:
    x = rng.standard_t(3, (paths, n)) + np.sqrt(3) * shift * changed
    return np.asarray(stats.t.logpdf(x - np.sqrt(3) * shift, 3) - stats.t.logpdf(x, 3))


def _ratio_bernoulli(rng: Generator, paths: int, n: int, changed: bool, p: float, q: float) -> F64:
    x = rng.random((paths, n)) < (q if changed else p)
    return np.asarray(np.where(x, np.log(q / p), np.log((1 - q) / (1 - p))))


def _ratio_ramp(
    rng: Generator, paths: int, n: int, changed: bool, shift: float, top: float, length: int
) -> F64:
    x = rng.standard_normal((paths, n)) + changed * top * ramp(n, 0, length)
    return shift * x - shift**2 / 2


# states


def _shifted(rng: Generator, n: int, at: int, width: int, shift: float, features: int) -> Events:
    state = rng.standard_normal((n, width))
    state[:, :features] += shift * after(n, at)[:, None]
    return Events(state=state)


def _correlated(rng: Generator, n: int, at: int, width: int) -> Events:
    """Each feature with its neighbour, pair by pair; marginals stay as they are."""
    state = rng.standard_normal((n, width))
    root = 0.5 * after(n, at)[:, None]
    state[:, 1::2] = state[:, 1::2] * np.sqrt(1 - root**2) + root * state[:, ::2]
    return Events(state=state)


def _wider(rng: Generator, n: int, at: int, width: int, factor: float) -> Events:
    return Events(
        state=rng.standard_normal((n, width)) * np.where(after(n, at) > 0, np.sqrt(factor), 1.0)[:, None]
    )


def _ar1_state(rng: Generator, n: int, at: int, width: int, shift: float) -> Events:
    state = ar1(rng, n, 0.5, width)
    state[:, 0] += shift * after(n, at)
    return Events(state=state)


def _rare_mode(rng: Generator, n: int, at: int, width: int) -> Events:
    state = rng.standard_normal((n, width))
    return Events(
        state=state
        + 4.0 * ((rng.random(n) < 0.03) & (np.arange(n) >= at))[:, None] * np.sign(np.arange(width) % 2 - 0.5)
    )


def _stuck(rng: Generator, n: int, at: int, width: int) -> Events:
    state = rng.standard_normal((n, width))
    state[at:, 0] = 0.3
    return Events(state=state)


def _ratio_correlation(rng: Generator, paths: int, n: int, changed: bool, width: int) -> F64:
    """Only the sum and the difference of each pair matter: chi-squares scaled by 1 + rho and 1 - rho."""
    pairs = width // 2
    sums = rng.chisquare(pairs, (paths, n)) * (1.5 if changed else 1.0)
    differences = rng.chisquare(pairs, (paths, n)) * (0.5 if changed else 1.0)
    constant = pairs * (np.log(1.5) + np.log(0.5))
    return np.asarray(-0.5 * (constant + sums * (1 / 1.5 - 1) + differences * (1 / 0.5 - 1)))


def _ratio_variance(rng: Generator, paths: int, n: int, changed: bool, width: int, factor: float) -> F64:
    length = rng.chisquare(width, (paths, n)) * (factor if changed else 1.0)
    return np.asarray(-0.5 * (width * np.log(factor) + length * (1 / factor - 1)))


# actions


def mix(actions: int) -> F64:
    """Shares that fall with the rank (Zipf)."""
    shares = 1 / np.arange(1, actions + 1)
    return np.asarray(shares / shares.sum())


def moved(shares: F64, variation: float) -> F64:
    """Every second action gains the total variation from the others, in proportion within both halves."""
    gains = np.arange(len(shares)) % 2 == 1
    gaining = shares[gains].sum()
    factor = np.where(gains, 1 + variation / gaining, 1 - variation / (1 - gaining))
    return np.asarray(shares * factor)


def _mix(rng: Generator, n: int, at: int, actions: int, variation: float) -> Events:
    shares = mix(actions)
    before, later = np.cumsum(shares), np.cumsum(moved(shares, variation))
    u = rng.random(n)
    chosen = np.where(np.arange(n) < at, np.searchsorted(before, u), np.searchsorted(later, u))
    return Events(action=np.minimum(chosen, actions - 1))


def _new_action(rng: Generator, n: int, at: int) -> Events:
    chosen = rng.choice(20, n, p=mix(20))
    return Events(action=np.where((rng.random(n) < 0.03) & (np.arange(n) >= at), 20, chosen))


def _wrong_propensity(rng: Generator, n: int, at: int) -> Events:
    """Logged is the chance before exploration was mixed in: taken with .2 / K more than it says."""
    shares = mix(5)
    explored = 0.8 * shares + 0.2 / 5
    chosen = rng.choice(5, n, p=explored)
    return Events(action=chosen, propensity=_logged(shares, explored, chosen, at))


def _logged(shares: F64, explored: F64, chosen: I64, at: int) -> F64:
    return np.where(np.arange(len(chosen)) >= at, shares[chosen], explored[chosen])


def _ratio_mix(rng: Generator, paths: int, n: int, changed: bool, actions: int, variation: float) -> F64:
    """Only whether an action of the gaining half was taken matters."""
    gaining = float(mix(actions)[1::2].sum())
    return _ratio_bernoulli(rng, paths, n, changed, gaining, gaining + variation)


# critic, costs, proxy


def _critic(rng: Generator, n: int, at: int, bias: float, noise: float, length: int) -> Events:
    value = rng.standard_normal(n)
    error = rng.standard_normal(n) * np.where(after(n, at) > 0, noise, 1.0) + bias * ramp(n, at, length)
    return Events(reward=value - error, value=value)


def _critic_of_groups(rng: Generator, n: int, at: int, kind: str, groups: int, bias: float) -> Events:
    """One of many actions or segments is promised too much."""
    group, value = rng.integers(0, groups, n), rng.standard_normal(n)
    error = rng.standard_normal(n) + bias * after(n, at) * (group == 1)
    made = Events(reward=value - error, value=value)
    return replace(made, action=group) if kind == "action" else replace(made, segment=group)


def _ratio_of_group(rng: Generator, paths: int, n: int, changed: bool, groups: int, bias: float) -> F64:
    """Only the errors of the group matter, and which group it is is known."""
    mine = rng.integers(0, groups, (paths, n)) == 1
    return np.where(mine, _ratio_normal(rng, paths, n, changed, bias), 0.0)


def _ratio_noise(rng: Generator, paths: int, n: int, changed: bool, factor: float) -> F64:
    return _ratio_variance(rng, paths, n, changed, 1, factor**2)


def _costs(rng: Generator, n: int, at: int) -> Events:
    chance = 0.06 + 0.09 * ramp(n, at, 2_000)
    return Events(
        reward=rng.standard_normal(n), costs={"unsafe": (rng.random(n) < chance).astype(np.float64)}
    )


def _proxy(rng: Generator, n: int, at: int) -> Events:
    truth = rng.standard_normal(n)
    reward = truth + 0.5 * rng.standard_normal(n) + 0.5 * after(n, at)
    return Events(reward=reward, truth=truth - 0.5 * after(n, at))


def _all() -> list[Scenario]:
    return [*_rewards(), *_states(), *_actions(), *_others()]


def _rewards() -> list[Scenario]:
    found = []
    for shift, size in ((0.25, 10), (0.5, 4), (1.0, 2)):
        found.append(
            Scenario(
                f"reward -{shift} sd, normal",
                partial(_normal_reward, shift=shift),
                _setting("reward", size),
                "reward",
                1.25,
                [partial(_ratio_normal, shift=shift)],
                band=(0.8, 1.5),
            )
        )
        found.append(
            Scenario(
                f"reward -{shift} sd, Student t3",
                partial(_t3_reward, shift=shift),
                _setting("reward", size),
                "reward",
                1.5,
                [partial(_ratio_t3, shift=shift)],
                band=(0.8, 1.5),
            )
        )
        innovation = shift / 2 / np.sqrt(0.75)
        found.append(
            Scenario(
                f"reward -{shift} sd, AR(1) .5",
                partial(_ar1_reward, shift=shift),
                _setting("reward", size),
                "reward",
                1.5,
                [partial(_ratio_normal, shift=innovation)],
                band=(0.7, np.inf),
            )
        )
    found += [
        Scenario(
            "clicks .05 -> .035",
            _clicks,
            _setting("reward", 20, 2_000),
            "reward",
            1.5,
            [partial(_ratio_bernoulli, p=0.05, q=0.035)],
            band=(0.8, 1.5),
            baseline=5_000,
        ),
        Scenario(
            "reward falls 1 sd over 2,000 events",
            _slow_decline,
            _setting("reward", 10),
            "reward",
            ratios=[partial(_ratio_ramp, shift=s, top=1.0, length=2_000) for s in (0.15, 0.25, 0.4)],
        ),
        Scenario(
            "reward -.5 sd on a daily cycle",
            _daily,
            _setting("reward", 10, 2_000),
            "reward",
            baseline=5_000,
            band=(0.5, np.inf),
        ),
        Scenario(
            "rewards come 4 times later",
            _later,
            _setting("reward", 10, 1_000, horizon=1_000, rules=("reward", "quality")),
            "quality",
        ),
        Scenario(
            "4 in 10 rewards are lost",
            _lost,
            _setting("reward", 10, 1_000, horizon=200, rules=("reward", "quality")),
            "quality",
        ),
    ]
    return found


def _states() -> list[Scenario]:
    found = []
    for width in (8, 32):
        for shift, goal, size in ((0.25, 3.0, 10), (0.5, 2.0, 4), (1.0, 2.0, 2)):
            found.append(
                Scenario(
                    f"one of {width} features +{shift} sd",
                    partial(_shifted, width=width, shift=shift, features=1),
                    _setting("state", size),
                    "state",
                    goal,
                    [partial(_ratio_normal, shift=shift)],
                    band=(0.8, 1.5),
                )
            )
        for shift in (0.25, 0.5):
            found.append(  # noqa: PERF401
                Scenario(
                    f"all {width} features +{shift} sd",
                    partial(_shifted, width=width, shift=shift, features=width),
                    _setting("state", 2),
                    "state",
                    2.5,
                    [partial(_ratio_normal, shift=shift * np.sqrt(width))],
                )
            )
        found.append(
            Scenario(
                f"correlation .5 in pairs of {width} features",
                partial(_correlated, width=width),
                _setting("state", 2),
                "state",
                5.0 if width == 8 else 8.0,
                [partial(_ratio_correlation, width=width)],
            )
        )
        for factor in (1.5, 0.7):
            found.append(  # noqa: PERF401
                Scenario(
                    f"variance of {width} features x {factor}",
                    partial(_wider, width=width, factor=factor),
                    _setting("state", 2),
                    "state",
                    3.0,
                    [partial(_ratio_variance, width=width, factor=factor)],
                )
            )
    found += [
        Scenario(
            "one of 8 AR(1) .5 features +1 sd",
            partial(_ar1_state, width=8, shift=1.0),
            _setting("state", 3),
            "state",
            ratios=[partial(_ratio_normal, shift=0.5 / np.sqrt(0.75))],
            band=(0.7, np.inf),
        ),
        Scenario("a rare mode, 3 % of states", partial(_rare_mode, width=8), _setting("state", 5), "state"),
        Scenario(
            "a feature sticks",
            partial(_stuck, width=8),
            _setting("state", 5, rules=("state", "quality")),
            "quality",
        ),
    ]
    return found


def _actions() -> list[Scenario]:
    found = []
    for actions, goal in ((5, 2.0), (20, 2.5), (200, 5.0)):
        for variation, size in ((0.05, 20), (0.1, 20), (0.2, 10)):
            found.append(
                Scenario(
                    f"action mix moves {variation} of {actions}",
                    partial(_mix, actions=actions, variation=variation),
                    _setting("actions", size),
                    "actions",
                    goal,
                    [partial(_ratio_mix, actions=actions, variation=variation)],
                    band=(0.8, 1.5),
                )
            )
    found += [
        Scenario(
            "action mix moves 0.2 of 5000",
            partial(_mix, actions=5_000, variation=0.2),
            _setting("actions", 10),
            "actions",
            ratios=[partial(_ratio_mix, actions=5_000, variation=0.2)],
        ),
        Scenario(
            "a new action, 3 % of decisions",
            _new_action,
            _setting("actions", 10),
            "actions",
            ratios=[partial(_ratio_bernoulli, p=1e-4, q=0.03)],
        ),
        Scenario(
            "propensities logged before exploration", _wrong_propensity, _setting("actions", 10), "actions"
        ),
    ]
    return found


def _others() -> list[Scenario]:
    return [
        Scenario(
            "critic bias grows to 1 sd over 2,000 events",
            partial(_critic, bias=1.0, noise=1.0, length=2_000),
            _setting("critic", 10),
            "critic",
            1.1,
            [partial(_ratio_ramp, shift=s, top=1.0, length=2_000) for s in (0.15, 0.25, 0.4)],
        ),
        Scenario(
            "critic noise x 1.3",
            partial(_critic, bias=0.0, noise=1.3, length=1),
            _setting("critic", 4),
            "critic",
            2.5,
            [partial(_ratio_noise, factor=1.3)],
            band=(0.8, 1.5),
        ),
        *(
            Scenario(
                f"critic promises 1 of {groups} {kind}s {bias:g} sd too much",
                partial(_critic_of_groups, kind=kind, groups=groups, bias=bias),
                _setting("critic", 10),
                "critic",
                ratios=[partial(_ratio_of_group, groups=groups, bias=bias)],
            )
            for kind, groups in (("segment", 20), ("action", 20))
            for bias in (1.0, 0.5)
        ),
        Scenario(
            "cost creeps from .06 to .15, budget .1",
            _costs,
            _setting("constraint", 10, costs=("unsafe",)),
            "constraint",
            longest=8_000,
        ),
        Scenario(
            "proxy up, truth down by .5 sd",
            _proxy,
            _setting("proxy", 5),
            "proxy",
            ratios=[partial(_ratio_normal, shift=2.0)],
        ),
    ]


def _told_apart(found: Sequence[Scenario]) -> list[Scenario]:
    """Names the first scenario of each quiet world in those that share it."""
    first: dict[str, str] = {}
    named = []
    for scenario in found:
        quiet = QUIET.sub("", scenario.name)
        named.append(replace(scenario, null=first.get(quiet, "")))
        first.setdefault(quiet, scenario.name)
    return named


QUIET = re.compile(
    r"-[.0-9]+ sd(?=, )|^(one of|all|correlation .5 in pairs of|variance of) (?=\d+ features)"
    r"|(?<=features) .*|moves [.0-9]+ |(?<=[st]) [.0-9]+ sd too much$"
)
SCENARIOS = _told_apart(_all())
GATE = (
    "reward -0.5 sd, normal",
    "reward -0.5 sd, AR(1) .5",
    "one of 8 features +0.5 sd",
    "correlation .5 in pairs of 8 features",
    "action mix moves 0.2 of 20",
    "critic noise x 1.3",
)
