"""Whose doing a moved action mix is: one policy in other states is told from another policy in the same states."""

from dataclasses import replace

import numpy as np
import pytest

from detectors.actions.answers import ACTION_ANSWERS, AnswerCounts
from detectors.actions.mix_cause import explained
from detectors.arrays import F64
from detectors.measurement import Measurement, Verdict
from detectors.protocol import Baseline
from detectors.rows import Decisions
from detectors.statistic import stack
from tests.unit.detectors.streams import PLAN, decisions, rows, window_of

WIDTH, PER_BUCKET = 4, 30
LABELS = ("stay", "left", "right")
WEIGHTS = np.array([[0.0, 1.0, -1.0], [0.0, 0.5, 0.5], [0.0, 0.0, 0.0], [0.0, -0.5, 0.7]])


def traffic(
    rng: np.random.Generator, n: int, shift: float = 0.0, turned: float = 0.0, bent: float = 0.0
) -> Decisions:
    """shift: of all features, in sd. turned: added to the score of one action. bent: how far the policy is no logit."""
    state = rng.standard_normal((n, WIDTH)) + shift
    scores = state @ WEIGHTS + np.array([0.0, 0.0, turned])
    scores[:, 1] += bent * np.sin(2 * state[:, 2])
    action = np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)
    return replace(decisions(n, action=action), state=state)


def statistics(baseline: Baseline, made: Decisions) -> list[AnswerCounts]:
    counter = ACTION_ANSWERS.build(baseline, PLAN)
    found = [counter.observe(rows(part(made, low))) for low in range(0, len(made), PER_BUCKET)]
    return [one for one in found if isinstance(one, AnswerCounts)]


def part(made: Decisions, low: int, high: int | None = None) -> Decisions:
    cut = slice(low, low + PER_BUCKET if high is None else high)
    return replace(decisions(len(made.action[cut]), action=made.action[cut].tolist()), state=made.state[cut])


def baseline(made: Decisions) -> Baseline:
    schema = ACTION_ANSWERS.fit(made, PLAN)
    empty = Baseline(schema, {}, (), PLAN.bucket_ms, LABELS)
    seen = statistics(empty, made)
    return replace(empty, series=stack(seen), starts_ms=[PLAN.bucket_ms * i for i in range(len(seen))])


def answers(known: Baseline, live: Decisions, labels: tuple[str, ...] = LABELS) -> Measurement:
    (found,) = ACTION_ANSWERS.build(known, PLAN).measure(window_of(statistics(known, live), labels))
    return found


@pytest.mark.parametrize("bent", [0.0, 0.5])
def test_states_that_move_are_not_called_another_policy(bent: float) -> None:
    """10 baselines, 30 windows each, half of them moved; 1 % paid for: 3 of 300; 9 or more have a chance of .4 %."""
    rng, called = np.random.default_rng([1, int(10 * bent)]), 0
    for _ in range(10):
        known = baseline(traffic(rng, 6_000, bent=bent))
        for i in range(30):
            live = traffic(rng, 600, shift=0.7 * (i % 2), bent=bent)
            called += answers(known, live).verdict is Verdict.BREACH
    assert called <= 8


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_another_policy_is_called_one_in_the_same_states_and_in_others(shift: float) -> None:
    rng = np.random.default_rng(2)
    known = baseline(traffic(rng, 6_000))
    found = [answers(known, traffic(rng, 600, shift, turned=0.8)) for _ in range(10)]
    assert sum(m.verdict is Verdict.BREACH for m in found) >= 9
    assert "right taken" in found[0].reason
    assert found[0].culprits[0].name == "right"


def test_the_reason_of_a_moved_mix_says_whose_doing_it_is_when_the_states_moved_too() -> None:
    rng = np.random.default_rng(3)
    known = baseline(traffic(rng, 6_000))
    mix = Measurement("action_mix", "mix_kl", "", 0.4, 600, Verdict.BREACH, 0.1, reason="the mix moved")
    states = Measurement("state_kl", "kl_sum", "", 0.4, 600, Verdict.BREACH, 0.05)

    def why(live: Decisions) -> str:
        return explained([states, answers(known, live), mix])[-1].reason

    assert "the states moved; the policy's answers did not change" in why(traffic(rng, 600, shift=0.7))
    turned = why(traffic(rng, 600, shift=0.7, turned=0.8))
    assert "the policy's answer to the same states changed" in turned
    assert turned.endswith("the states moved too")


def test_states_far_from_the_baselines_and_too_few_are_unknown() -> None:
    rng = np.random.default_rng(4)
    known = baseline(traffic(rng, 6_000))
    assert answers(known, traffic(rng, 600, shift=5.0)).verdict is Verdict.UNKNOWN
    assert answers(known, traffic(rng, 20)).verdict is Verdict.UNKNOWN
    (without,) = ACTION_ANSWERS.build(None, PLAN).measure(
        window_of(statistics(known, traffic(rng, 600)), LABELS)
    )
    assert without.verdict is Verdict.UNKNOWN
    assert "does not know" in without.reason


def test_labels_in_another_order_are_the_same_actions() -> None:
    rng = np.random.default_rng(5)
    known = baseline(traffic(rng, 6_000))
    live = traffic(rng, 600, turned=0.8)
    other = replace(live, action=np.array([2, 0, 1], np.int32)[live.action])
    same = answers(known, other, ("left", "right", "stay"))
    assert same.value == answers(known, live).value
    assert same.culprits == answers(known, live).culprits


def test_any_split_of_the_rows_adds_up_to_the_same_bits() -> None:
    rng = np.random.default_rng(6)
    known = baseline(traffic(rng, 3_000))
    live = traffic(rng, 5_000)
    counter = ACTION_ANSWERS.build(known, PLAN)
    whole = counter.observe(rows(live))
    for cut in (1, 37, 2_048, 4_999):
        left, right = (counter.observe(rows(part(live, a, b))) for a, b in ((0, cut), (cut, 5_000)))
        for name, array in whole.arrays().items():
            np.testing.assert_array_equal((left + right).arrays()[name], array)


def shares(counts: F64) -> F64:
    return np.asarray(counts / counts.sum())


def test_foretold_shares_are_those_taken_in_the_baseline() -> None:
    rng = np.random.default_rng(7)
    known = baseline(traffic(rng, 6_000))
    taken = shares(np.asarray(known.series["taken"]).sum(axis=0))
    foretold = shares(np.asarray(known.series["foretold"]).sum(axis=0))
    np.testing.assert_allclose(foretold[:3], taken, atol=0.005)
