import numpy as np
import pytest
from scipy import stats

from detectors.arrays import F64
from detectors.inference.rare_counts import log_chance_of_none, most_expected
from detectors.measurement import Measurement, Verdict
from detectors.protocol import Window
from detectors.states.quality import STATE_QUALITY
from tests.unit.detectors.state_stream import (
    PLAN,
    autoregressive,
    baseline_of,
    breaches,
    last_look,
    rows_of,
    states,
)


def stream(seed: int, n: int, d: int = 4) -> F64:
    return autoregressive(np.random.default_rng(seed), n, d, 0.5)


def looked(past: F64, live: F64) -> dict[str, Measurement]:
    return last_look(STATE_QUALITY, baseline_of(STATE_QUALITY, states(past)), states(live))


def test_line_after_a_clean_baseline_is_the_geometric_tail() -> None:
    # after no event in 900 rows, P(more than k in 100) = .1^(k + 1)
    assert most_expected(1.5e-3, np.array([0.0]), 100, 900, np.array([1.0])) == [2.0]
    assert log_chance_of_none(np.array([9.0]), 100, 900, np.array([1.0])) == pytest.approx(9 * np.log(0.9))


def test_line_of_a_long_baseline_is_poissons() -> None:
    line = most_expected(1e-3, np.array([20_000.0]), 1000, 1_000_000, np.array([1.0]))
    assert line == pytest.approx(stats.poisson.isf(1e-3, 20), abs=1)


def test_no_change_is_silent() -> None:
    past, live = stream(1, 6000), stream(2, 20_000)
    past[np.random.default_rng(5).random(past.shape) < 0.01] = np.nan
    live[np.random.default_rng(6).random(live.shape) < 0.01] = np.nan
    assert breaches(STATE_QUALITY, baseline_of(STATE_QUALITY, states(past)), states(live), every=5) == []


def test_what_lies_beyond_the_extremes_of_many_features_is_no_lack_of_support() -> None:
    # 10 windows at a level below 1e-3 each: one beyond its line is a chance of less than 1 in 100.
    found = [looked(stream(i, 4_000, 16), stream(100 + i, 600, 16))["support"] for i in range(10)]
    assert [m.verdict for m in found] == [Verdict.OK] * 10


def test_a_feature_that_goes_missing_is_named() -> None:
    live = stream(2, 600)
    live[::10, 2] = np.nan
    found = looked(stream(1, 6000), live)
    assert found["missing_share"].verdict is Verdict.BREACH
    assert found["missing_share"].value == pytest.approx(0.1)
    assert [c.name for c in found["missing_share"].culprits] == ["state[2]"]
    assert found["stuck"].verdict is Verdict.OK


def test_a_feature_that_is_stuck_is_named() -> None:
    live = stream(2, 600)
    live[:, 1] = 0.123
    found = looked(stream(1, 6000), live)["stuck"]
    assert found.verdict is Verdict.BREACH
    assert found.culprits[0].name == "state[1]"


def test_a_feature_that_has_just_stuck_is_named_long_before_it_fills_the_window() -> None:
    live = stream(2, 600)
    live[-30:, 1] = 0.123
    found = looked(stream(1, 6000), live)["stuck"]
    assert found.verdict is Verdict.BREACH
    assert [c.name for c in found.culprits] == ["state[1]"]
    assert "over 30 decisions" in found.reason


def test_a_rest_no_longer_than_twice_the_baselines_longest_is_not_stuck() -> None:
    past, live = stream(1, 6000), stream(2, 600)
    past[1000:1040, 1] = 0.5
    live[-60:, 1] = 0.123
    assert looked(past, live)["stuck"].verdict is Verdict.OK


def test_a_feature_that_rests_for_whole_windows_in_the_baseline_is_not_stuck() -> None:
    past = stream(1, 12_000)
    past[:4000, 1] = 0.0
    live = stream(2, 600)
    live[:, 1] = 0.0
    assert looked(past, live)["stuck"].verdict is Verdict.OK


def test_a_rare_flag_that_happens_not_to_rise_is_not_stuck() -> None:
    past, live = stream(1, 6000), stream(2, 600)
    past[:, 1] = np.arange(6000) % 700 == 650
    live[:, 1] = 0.0
    assert looked(past, live)["stuck"].verdict is Verdict.OK


def test_out_of_range_is_named_and_counts_as_traffic_without_support() -> None:
    live = stream(2, 600)
    live[::5, 0] = 50.0
    found = looked(stream(1, 6000), live)
    assert found["outside_share"].culprits[0].name == "state[0]"
    assert found["support"].verdict is Verdict.BREACH
    assert found["support"].value == pytest.approx(0.2, abs=0.02)


def test_without_baseline_it_is_unknown() -> None:
    bare = STATE_QUALITY.build(None, PLAN)
    total = bare.observe(rows_of(states(stream(1, 50))))
    found = bare.measure(Window(total, [total], [0], 600_000))
    assert [m.statistic for m in found] == ["missing_share", "outside_share", "support", "stuck"]
    assert {(m.verdict, m.reason) for m in found} == {(Verdict.UNKNOWN, "no baseline")}
