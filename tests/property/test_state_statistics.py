"""The merge law of every state and action statistic: of(a + b) == of(a) + of(b), for any split."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.actions.mix import ACTION_MIX
from detectors.protocol import Baseline, Spec
from detectors.states.kl import STATE_KL
from detectors.states.mmd import STATE_MMD
from detectors.states.quality import STATE_QUALITY
from tests.unit.detectors.state_stream import PLAN, decisions, part, rows_of

SPECS = pytest.mark.parametrize(
    "spec", [STATE_KL, STATE_MMD, STATE_QUALITY, ACTION_MIX], ids=lambda spec: spec.name
)


@SPECS
@given(cuts=st.lists(st.integers(0, 120), max_size=6), seed=st.integers(0, 2**31), width=st.integers(1, 5))
def test_statistic_of_the_whole_is_the_sum_of_its_parts(
    spec: Spec, cuts: list[int], seed: int, width: int
) -> None:
    generator = np.random.default_rng(seed)
    state = generator.standard_normal((120, width)) * 10
    state[generator.random(state.shape) < 0.1] = np.nan
    table = decisions(
        120, state=state, action=generator.integers(-1, 30, 120).astype(np.int32),
        action_vector=generator.standard_normal((120, 2)), propensity=generator.random(120),
        entropy=generator.random(120),
    )  # fmt: skip
    detector = spec.build(Baseline(spec.fit(part(table, slice(60)), PLAN), {}, (), PLAN.bucket_ms), PLAN)
    edges = [0, *sorted(cuts), 120]
    parts = [detector.observe(rows_of(part(table, slice(a, b)))) for a, b in itertools.pairwise(edges)]
    whole, merged = detector.observe(rows_of(table)).arrays(), spec.statistic.merged(parts).arrays()
    for name, array in whole.items():
        if spec is ACTION_MIX and name in {"weights", "surprises", "moments"}:  # plain float sums
            np.testing.assert_allclose(merged[name].astype(float), array.astype(float), rtol=1e-12)
        else:
            assert np.array_equal(merged[name], array), name
