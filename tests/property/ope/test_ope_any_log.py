"""No log, however odd, makes an evaluation raise, print what is not JSON, or call itself reliable for nothing."""

import json
import warnings

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detectors.ope import BanditLog, CostBudget, Options, TrajectoryLog, Verdict, evaluate

CLEAN = st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e-9, 1e12, -1e12])
PROBABLE = st.sampled_from([1e-12, 0.1, 0.5, 1.0])
numbers = st.sampled_from([CLEAN, st.just(1.0), CLEAN | st.sampled_from([np.nan, np.inf])])
probabilities = st.sampled_from([PROBABLE, st.just(1.0), PROBABLE | st.sampled_from([0.0, 2.0, np.nan])])


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 60), st.booleans(), st.booleans(), st.booleans())
def test_any_columns_give_an_evaluation_that_is_json(
    data: st.DataObject, n: int, critic: bool, clustered: bool, episodes: bool
) -> None:
    def column(kinds: st.SearchStrategy[st.SearchStrategy[float]]) -> NDArray[np.float64]:
        values = data.draw(kinds)
        return np.array(data.draw(st.lists(values, min_size=n, max_size=n)), dtype=np.float64)

    reward, propensity, p = column(numbers), column(probabilities), column(probabilities)
    q, v = (column(numbers), column(numbers)) if critic else (None, None)
    unit = np.arange(n, dtype=np.int64) // 7 if clustered else None
    costs, step = {"c": column(st.just(st.sampled_from([0.0, 1.0])))}, np.arange(n, dtype=np.int64) % 4
    log: BanditLog | TrajectoryLog = BanditLog(reward, propensity, p, q, v, unit, costs)
    if episodes:
        log = TrajectoryLog(
            np.arange(n, dtype=np.int64) // 4, step, reward, propensity, p, 0.9, q, v, costs=costs,
            ended=np.arange(n) % 8 == 3,
        )  # fmt: skip
    options = Options(resamples=49, costs={"c": CostBudget(0.5)}, min_ess=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluation = evaluate(log, options)
    json.dumps(evaluation.as_dict(), allow_nan=False)
    assert evaluation.reason
    if evaluation.n < 5:
        assert evaluation.verdict is not Verdict.RELIABLE
