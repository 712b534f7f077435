"""Streaming equals batch to 1e-9, however a log is split; shards add up."""

from dataclasses import replace
from functools import reduce
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.ope import BanditLog, Estimate, Evaluation, Options, TrajectoryLog
from detectors.ope.columns import take
from detectors.ope.streaming import StreamingEvaluation, start
from tests.unit.detectors.ope.ope_worlds import bandit, mdp

OPTIONS = Options(reward_range=(0.0, 1.0), resamples=99, horizon=5)
DECISIONS = bandit(seed=3, actions=6, shift=1.5).log(600, np.random.default_rng(0))
UNITS = np.random.default_rng(1).integers(0, 150, 600)
EPISODES = mdp(seed=2).log(150, np.random.default_rng(2))


def numbers(evaluation: Evaluation) -> dict[str, float]:
    """Every number of an evaluation, by its path."""
    found: dict[str, float] = {}

    def walk(path: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{path}.{key}", inner)
        elif isinstance(value, int | float):
            found[path] = float(value)

    walk("", evaluation.as_dict())
    return found


def assert_equal(mine: Evaluation, theirs: Evaluation) -> None:
    left, right = numbers(mine), numbers(theirs)
    assert left.keys() == right.keys()
    left.pop(".more_data", None)  # a rounded-up count: one more or less at the edge
    for name, value in left.items():
        assert abs(value - right[name]) <= 1e-9 * max(1.0, abs(value)), (name, value, right[name])


def parts(log: BanditLog, cuts: list[int]) -> list[BanditLog]:
    edges = [0, *sorted(cuts), len(log)]
    return [take(log, slice(a, b)) for a, b in pairwise(edges)]


def observed(logs: list[BanditLog]) -> StreamingEvaluation:
    return reduce(StreamingEvaluation.observe, logs, start(OPTIONS))


cuts = st.lists(st.integers(0, 600), max_size=12)


@settings(max_examples=15, deadline=None)
@given(cuts, st.booleans(), st.integers(0, 599))
def test_decisions_streamed_in_any_pieces_give_the_evaluation_of_the_whole(
    at: list[int], clustered: bool, missing: int
) -> None:
    reward = DECISIONS.reward.copy()
    reward[missing] = np.nan
    log = replace(DECISIONS, reward=reward, unit=UNITS if clustered else None, costs={"c": DECISIONS.p})
    assert_equal(observed(parts(log, at)).evaluation(), observed([log]).evaluation())


@settings(max_examples=15, deadline=None)
@given(cuts)
def test_shards_with_units_add_up_to_the_whole_but_for_the_order_of_bets(at: list[int]) -> None:
    log = replace(DECISIONS, unit=UNITS)
    shards = [observed([part]) for part in parts(log, at)]
    merged = reduce(StreamingEvaluation.__add__, shards)
    assert_equal(merged.evaluation(), observed([log]).evaluation())


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 150), max_size=6))
def test_episodes_streamed_in_any_pieces_give_the_evaluation_of_the_whole(at: list[int]) -> None:
    edges = [0, *sorted(at), 150]
    options = replace(OPTIONS, reward_range=(-10.0, 10.0))
    pieces = [take(EPISODES, (EPISODES.episode >= a) & (EPISODES.episode < b)) for a, b in pairwise(edges)]
    whole: TrajectoryLog = take(EPISODES, np.argsort(EPISODES.episode, kind="stable"))
    streamed = reduce(StreamingEvaluation.observe, pieces, start(options))
    assert_equal(streamed.evaluation(), start(options).observe(whole).evaluation())


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_within_episodes_does_not_matter(seed: int) -> None:
    shuffled = take(EPISODES, np.random.default_rng(seed).permutation(len(EPISODES)))
    options = replace(OPTIONS, reward_range=None)
    assert_equal(start(options).observe(shuffled).evaluation(), start(options).observe(EPISODES).evaluation())


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 10.0), st.floats(-100.0, 100.0))
def test_scaling_and_shifting_rewards_scales_and_shifts_self_normalised_estimates(a: float, b: float) -> None:
    options = replace(OPTIONS, reward_range=None)
    plain = start(options).observe(replace(DECISIONS, q=None, v=None)).evaluation()
    moved = (
        start(options)
        .observe(replace(DECISIONS, reward=a * DECISIONS.reward + b, q=None, v=None))
        .evaluation()
    )
    before, after = plain.estimates["snips"], moved.estimates["snips"]
    assert isinstance(before, Estimate)
    assert isinstance(after, Estimate)
    for name in ("value", "lower", "upper"):
        assert abs(getattr(after, name) - (a * getattr(before, name) + b)) < 1e-6 * (1 + abs(b) + a)
    assert moved.comparison == plain.comparison
