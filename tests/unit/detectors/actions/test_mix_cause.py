"""Whose doing a moved action mix is, said in its reason."""

from dataclasses import replace

import numpy as np
import pytest

from detectors.actions.mix import ACTION_MIX
from detectors.actions.mix_cause import explained
from detectors.arrays import F64
from detectors.measurement import Culprit, Measurement, Verdict, unknown
from detectors.states.kl import STATE_KL
from tests.unit.detectors.state_stream import PLAN, baseline_of, decisions, looks

MIX = Measurement("action_mix", "mix_kl", "", 0.4, 600, Verdict.BREACH, 0.1, reason="action mix 0.4 nats")
STILL = Measurement("state_kl", "kl_sum", "", 0.01, 600, Verdict.OK, 0.05)
MOVED = replace(STILL, verdict=Verdict.BREACH, culprits=(Culprit("age", 0.9),))

UNSEEN = "the states are not known: cannot tell whether they moved or the policy did"


@pytest.mark.parametrize(
    ("states", "why"),
    [
        ([STILL], "the states moved by less than 0.05 nats, the mix by more: the policy did"),
        ([replace(STILL, threshold=0.5)], "the states did not move measurably: most likely the policy did"),
        ([MOVED], "the states moved too (age): cannot tell whether the policy did"),
        ([STILL, replace(MOVED, statistic="kl_max")], "the states moved too (age): cannot tell whether the policy did"),
        ([unknown("state_kl", "kl_sum", 3, "few")], UNSEEN),
        ([], UNSEEN),
    ],
)  # fmt: skip
def test_the_reason_says_whose_doing_it_is(states: list[Measurement], why: str) -> None:
    *rest, found = explained([*states, MIX])
    assert found.reason == f"action mix 0.4 nats; {why}"
    assert replace(found, reason=MIX.reason) == MIX
    assert rest == states


def test_a_mix_that_did_not_move_is_left_alone() -> None:
    calm = replace(MIX, verdict=Verdict.OK)
    assert explained([STILL, calm]) == [STILL, calm]


@pytest.mark.parametrize(
    ("shift", "turned", "why"),
    [(0.0, 0.3, "the policy did"), (1.0, 0.0, "cannot tell whether the policy did")],
)
def test_one_policy_in_other_states_is_told_from_another_policy(
    shift: float, turned: float, why: str
) -> None:
    """The policy takes action 1 more often the larger its state; then its states or its habit change."""
    rng = np.random.default_rng(8)

    def took(state: F64, habit: float) -> F64:
        return (rng.random(len(state)) < 1 / (1 + np.exp(-state[:, 0])) * (1 - habit)).astype(np.int32)

    past = rng.standard_normal((6000, 1))
    live = rng.standard_normal((600, 1)) + shift
    tables = [decisions(len(s), state=s, action=took(s, h)) for s, h in ((past, 0.0), (live, turned))]
    found: list[Measurement] = []
    for spec in (STATE_KL, ACTION_MIX):
        *_, (_, last) = looks(spec, baseline_of(spec, tables[0]), tables[1], PLAN)
        found += last
    mix = next(m for m in explained(found) if m.statistic == "mix_kl")
    assert mix.verdict is Verdict.BREACH
    assert mix.reason.endswith(why)
