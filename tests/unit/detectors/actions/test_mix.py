from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from detectors.actions.mix import ACTION_MIX
from detectors.arrays import F64, I64
from detectors.measurement import Measurement, Verdict
from detectors.protocol import Window
from tests.unit.detectors.state_stream import (
    PLAN,
    actions,
    baseline_of,
    breaches,
    decisions,
    last_look,
    rows_of,
)


def drawn(seed: int, n: int, law: F64) -> I64:
    return np.random.default_rng(seed).choice(len(law), n, p=law)


def uniform(k: int) -> F64:
    return np.full(k, 1 / k)


def looked(past: I64, live: I64) -> dict[str, Measurement]:
    return last_look(ACTION_MIX, baseline_of(ACTION_MIX, actions(past)), actions(live))


@pytest.mark.parametrize("k", [5, 200, 5000])
def test_no_change_is_silent(k: int) -> None:
    law = np.random.default_rng(k).dirichlet(np.ones(k))
    past = baseline_of(ACTION_MIX, actions(drawn(1, 6000, law)))
    assert breaches(ACTION_MIX, past, actions(drawn(2, 6000, law)), every=15) == []


@pytest.mark.parametrize(("k", "moved"), [(5, 0.2), (20, 0.3), (5000, 0.1)])
def test_traffic_that_moves_to_one_action_is_found_and_named(k: int, moved: float) -> None:
    law = uniform(k) * (1 - moved)
    law[3] += moved
    found = looked(drawn(1, 6000, uniform(k)), drawn(2, 600, law))["mix_kl"]
    assert found.verdict is Verdict.BREACH
    assert found.culprits[0].name == "#3"


def test_an_action_that_the_baseline_never_took_is_new() -> None:
    live = drawn(2, 600, uniform(5))
    live[::20] = 9
    found = looked(drawn(1, 6000, uniform(5)), live)["new_share"]
    assert found.verdict is Verdict.BREACH
    assert found.value == pytest.approx(0.05)
    assert [c.name for c in found.culprits] == ["#9"]


def test_newcomers_are_no_surprise_where_the_baseline_saw_many_actions_once() -> None:
    law = 1 / np.arange(1, 10_001)
    found = looked(drawn(1, 6000, law / law.sum()), drawn(2, 600, law / law.sum()))["new_share"]
    assert found.value > 0.05
    assert found.verdict is Verdict.OK


def test_an_action_that_vanishes_is_named() -> None:
    found = looked(drawn(1, 6000, uniform(5)), drawn(2, 600, uniform(4)))["vanished_share"]
    assert found.verdict is Verdict.BREACH
    assert [c.name for c in found.culprits] == ["#4"]
    assert found.value == pytest.approx(0.2, abs=0.02)


def test_collapsing_entropy_is_found() -> None:
    found = looked(drawn(1, 6000, uniform(4)), drawn(2, 600, np.array([0.85, 0.05, 0.05, 0.05])))["entropy"]
    assert found.verdict is Verdict.BREACH
    assert found.value < 0.9 < found.threshold < np.log(4)
    spread = looked(drawn(1, 6000, np.array([0.85, 0.05, 0.05, 0.05])), drawn(2, 600, uniform(4)))["entropy"]
    assert spread.verdict is Verdict.OK


def test_codes_are_matched_by_label_and_their_order_changes_nothing() -> None:
    names, other = ["a", "b", "c"], ["c", "a", "new", "b"]
    past = baseline_of(ACTION_MIX, actions(drawn(1, 6000, uniform(3))), labels=names)
    live = drawn(2, 600, np.array([0.2, 0.4, 0.4]))
    recoded = np.array([1, 3, 0])[live]
    straight = last_look(ACTION_MIX, past, actions(live), labels=names)
    assert last_look(ACTION_MIX, past, actions(recoded), labels=other) == straight


def odds(seed: int, n: int, *, honest: bool) -> dict[str, Any]:
    """Softmax policies over 4 actions that differ from row to row; dishonest: twice as greedy as logged."""
    generator = np.random.default_rng(seed)
    scores = generator.standard_normal((n, 4))
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    acted = p if honest else p**2 / (p**2).sum(axis=1, keepdims=True)
    action = (generator.random(n)[:, None] > np.cumsum(acted, axis=1)).sum(axis=1)
    return {
        "codes": action,
        "propensity": p[np.arange(n), action],
        "entropy": -(p * np.log(p)).sum(axis=1),
    }


def test_logged_odds_that_are_true_are_silent_and_false_ones_are_found() -> None:
    past = baseline_of(ACTION_MIX, actions(**odds(1, 6000, honest=True)))
    assert breaches(ACTION_MIX, past, actions(**odds(2, 20_000, honest=True)), every=10) == []
    found = last_look(ACTION_MIX, past, actions(**odds(3, 600, honest=False)))
    assert found["surprise"].verdict is Verdict.BREACH
    assert found["mean_weight"].verdict is Verdict.BREACH
    assert found["mix_kl"].verdict is Verdict.OK


def test_mean_weight_of_a_uniform_policy_is_one() -> None:
    codes = drawn(1, 6000, uniform(5))
    past = baseline_of(ACTION_MIX, actions(codes, propensity=np.full(6000, 0.2)))
    found = last_look(ACTION_MIX, past, actions(codes[:600], propensity=np.full(600, 0.2)))["mean_weight"]
    assert found.value == pytest.approx(1.0)
    wrong = last_look(ACTION_MIX, past, actions(codes[:600], propensity=np.full(600, 0.3)))["mean_weight"]
    assert wrong.verdict is Verdict.BREACH


def test_continuous_actions_are_judged_by_dimension() -> None:
    generator = np.random.default_rng(1)
    past = baseline_of(ACTION_MIX, decisions(6000, action_vector=generator.standard_normal((6000, 3))))
    live = generator.standard_normal((600, 3))
    assert last_look(ACTION_MIX, past, decisions(600, action_vector=live))["vector_kl"].verdict is Verdict.OK
    found = last_look(ACTION_MIX, past, decisions(600, action_vector=live + np.array([0, 0, 0.6])))
    assert list(found) == ["vector_kl"]
    assert found["vector_kl"].verdict is Verdict.BREACH
    assert found["vector_kl"].culprits[0].name == "action[2]"


def test_without_baseline_or_enough_decisions_it_is_unknown() -> None:
    bare = ACTION_MIX.build(None, PLAN)
    total = bare.observe(rows_of(actions(drawn(1, 50, uniform(3)))))
    found = bare.measure(Window(total, [total], [0], 600_000))
    assert {(m.verdict, m.reason) for m in found} == {(Verdict.UNKNOWN, "no baseline")}
    past = baseline_of(ACTION_MIX, actions(drawn(1, 6000, uniform(3))))
    few = replace(PLAN, min_samples=1000)
    assert {
        m.verdict for m in last_look(ACTION_MIX, past, actions(drawn(1, 600, uniform(3))), few).values()
    } == {Verdict.UNKNOWN}
