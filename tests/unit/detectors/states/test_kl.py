import numpy as np
import pytest

from detectors.features.bins import ABOVE, BELOW, MISSING, bin_counts, fit_bins
from detectors.measurement import Verdict
from detectors.protocol import Baseline, Window
from detectors.states.kl import STATE_KL
from tests.unit.detectors.state_stream import (
    PLAN,
    autoregressive,
    baseline_of,
    breaches,
    last_look,
    looks,
    rows_of,
    states,
)


def stream(seed: int, n: int, d: int, rho: float = 0.0) -> np.ndarray:
    return autoregressive(np.random.default_rng(seed), n, d, rho)


def test_categorical_values_have_a_bin_each_and_continuous_ones_deciles() -> None:
    rows = np.stack([np.tile([0.0, 3.0], 50), np.arange(100.0)], axis=1)
    schema = fit_bins(rows)
    counts = bin_counts(schema, rows)
    assert counts[0, :2].tolist() == [50, 50]
    assert counts[1, :10].tolist() == [10] * 10


def test_values_outside_and_missing_ones_have_bins_of_their_own() -> None:
    schema = fit_bins(np.stack([np.tile([0.0, 3.0], 50), np.arange(100.0)], axis=1))
    strange = np.array([[1.0, -5.0], [np.nan, 500.0], [np.inf, np.nan]])
    counts = bin_counts(schema, strange)
    assert (counts[0, BELOW], counts[0, MISSING]) == (1, 2)
    assert (counts[1, BELOW], counts[1, ABOVE], counts[1, MISSING]) == (1, 1, 1)


def test_every_value_is_in_the_bin_that_a_search_finds_however_many_rows_come_at_once() -> None:
    """Deciles of few distinct values coincide, so that features have fewer bins; a categorical one is between."""
    rng = np.random.default_rng(4)
    sample = np.round(rng.normal(size=(500, 40)) * np.geomspace(0.3, 30, 40), 0)
    sample[:, 7] = rng.integers(0, 3, 500)
    schema = fit_bins(sample)
    live = np.round(rng.normal(size=(20_000, 40)) * np.geomspace(0.3, 60, 40), 0)
    for strange in (np.nan, np.inf, -np.inf):
        live[rng.random(live.shape) < 0.02] = strange
    counts = bin_counts(schema, live)
    assert np.array_equal(
        counts, sum(bin_counts(schema, live[start : start + 700]) for start in range(0, 20_000, 700))
    )
    for j in range(40):
        known, edges = live[np.isfinite(live[:, j]), j], schema["bin_edges"][j]
        edges = edges[np.isfinite(edges)]
        assert counts[j, MISSING] == len(live) - len(known)
        if len(edges):
            inside = known[(known >= edges[0]) & (known <= edges[-1])]
            at = np.maximum(np.searchsorted(edges, inside, side="left") - 1, 0)
            assert counts[j, : len(edges) - 1].tolist() == np.bincount(at, minlength=len(edges) - 1).tolist()
            assert (counts[j, BELOW], counts[j, ABOVE]) == (
                (known < edges[0]).sum(),
                (known > edges[-1]).sum(),
            )


def test_a_feature_that_was_always_missing_or_constant_is_no_trouble() -> None:
    rows = np.stack([np.full(3000, np.nan), np.full(3000, 2.0), stream(1, 3000, 1)[:, 0]], axis=1)
    found = last_look(STATE_KL, baseline_of(STATE_KL, states(rows)), states(rows[:600]))
    assert {m.verdict for m in found.values()} == {Verdict.OK}


@pytest.mark.parametrize(("d", "rho"), [(1, 0.0), (8, 0.0), (8, 0.9), (32, 0.5)])
def test_no_change_is_silent(d: int, rho: float) -> None:
    past, live = stream(1, 4000, d, rho), stream(2, 10_000, d, rho)
    assert breaches(STATE_KL, baseline_of(STATE_KL, states(past)), states(live), every=6) == []


@pytest.mark.parametrize("d", [1, 8, 32])
def test_half_a_deviation_in_one_feature_is_found_and_named(d: int) -> None:
    live = stream(2, 600, d)
    live[:, d - 1] += 0.5
    found = last_look(STATE_KL, baseline_of(STATE_KL, states(stream(1, 6000, d))), states(live))["kl_max"]
    assert found.verdict is Verdict.BREACH
    assert found.culprits[0].name == f"state[{d - 1}]"
    assert found.severity > 1


def test_a_small_shift_of_every_feature_is_found_in_the_sum() -> None:
    found = last_look(
        STATE_KL, baseline_of(STATE_KL, states(stream(1, 6000, 32))), states(stream(2, 600, 32) + 0.2)
    )
    assert found["kl_sum"].verdict is Verdict.BREACH


def test_autocorrelation_lengthens_the_line() -> None:
    lines = {}
    for rho in (0.0, 0.9):
        found = last_look(
            STATE_KL, baseline_of(STATE_KL, states(stream(1, 6000, 2, rho))), states(stream(2, 600, 2))
        )
        lines[rho] = found["kl_max"].threshold
    assert lines[0.9] > 2 * lines[0.0]


def test_a_short_reference_lengthens_the_line() -> None:
    lines = [
        last_look(STATE_KL, baseline_of(STATE_KL, states(stream(1, n, 2))), states(stream(2, 600, 2)))[
            "kl_max"
        ].threshold
        for n in (600, 20_000)
    ]
    assert lines[0] > 1.5 * lines[1]


def test_going_missing_is_said_as_the_cause() -> None:
    live = stream(2, 600, 3)
    live[::3, 1] = np.nan
    found = last_look(STATE_KL, baseline_of(STATE_KL, states(stream(1, 6000, 3))), states(live))["kl_max"]
    assert "state[1]" in found.reason
    assert "going missing" in found.reason


def test_breaching_features_are_measured_by_name_but_no_more_than_five() -> None:
    past = baseline_of(STATE_KL, states(stream(1, 6000, 12)))
    *_, (_, found) = looks(STATE_KL, past, states(stream(2, 600, 12) + 2))
    assert [m.statistic for m in found] == ["kl_max", "kl_sum"] + ["kl"] * 5


@pytest.mark.parametrize(
    ("baseline", "why"),
    [
        (None, "no baseline"),
        (Baseline(STATE_KL.fit(states(stream(1, 50, 2)), PLAN), {}, (), 10_000), "0 buckets"),
    ],
)
def test_without_a_reference_it_is_unknown(baseline: Baseline | None, why: str) -> None:
    detector = STATE_KL.build(baseline, PLAN)
    total = detector.observe(rows_of(states(stream(1, 50, 2))))
    for found in detector.measure(Window(total, [total], [0], 10_000)):
        assert found.verdict is Verdict.UNKNOWN
        assert why in found.reason


def test_few_rows_absent_states_and_a_window_that_just_began_are_unknown() -> None:
    detector = STATE_KL.build(baseline_of(STATE_KL, states(stream(1, 3000, 2))), PLAN)
    few = detector.observe(rows_of(states(stream(2, 10, 2))))
    absent = detector.observe(rows_of(states(np.full((500, 2), np.nan))))
    other = detector.observe(rows_of(states(stream(2, 500, 3))))
    many = detector.observe(rows_of(states(stream(2, 500, 2))))
    for total, now, why in (
        (few, 600_000, "10 states"),
        (absent, 600_000, "0 states"),
        (other, 600_000, "0 states"),
        (many, 60_000, "10% filled"),
    ):
        found = detector.measure(Window(total, [total], [0], now))
        assert {m.verdict for m in found} == {Verdict.UNKNOWN}
        assert why in found[0].reason


def test_measuring_is_the_same_however_the_window_was_split() -> None:
    past, live = baseline_of(STATE_KL, states(stream(1, 3000, 4))), stream(2, 600, 4)
    detector = STATE_KL.build(past, PLAN)
    whole = detector.observe(rows_of(states(live)))
    split = STATE_KL.statistic.merged(
        [detector.observe(rows_of(states(live[i : i + 7]))) for i in range(0, 600, 7)]
    )
    assert detector.measure(Window(whole, [whole], [0], 600_000)) == detector.measure(
        Window(split, [split], [0], 600_000)
    )


@pytest.mark.parametrize("feature", [0, 1])
def test_a_category_that_grows_and_a_constant_that_moves_are_named(feature: int) -> None:
    generator = np.random.default_rng(3)

    def rows(n: int) -> np.ndarray:
        return np.stack(
            [
                generator.choice([0.0, 1.0, 2.0], n, p=[0.6, 0.3, 0.1]),
                np.full(n, 5.0),
                generator.normal(size=n),
            ],
            axis=1,
        )

    past, live = baseline_of(STATE_KL, states(rows(6000))), rows(600)
    assert last_look(STATE_KL, past, states(live))["kl_max"].verdict is Verdict.OK
    live[::4, feature] = [2.0, 6.0][feature]
    found = last_look(STATE_KL, past, states(live))["kl_max"]
    assert found.verdict is Verdict.BREACH
    assert [culprit.name for culprit in found.culprits] == [f"state[{feature}]"]


def test_of_the_features_named_once_the_line_is_passed_at_most_a_tenth_did_not_move() -> None:
    """32 features, 4 moved by .3, 60 windows: mean share falsely named <= .1, with 3 standard errors of .02 above."""
    generator = np.random.default_rng(4)
    past = baseline_of(STATE_KL, states(generator.normal(size=(20_000, 32))))
    detector = STATE_KL.build(past, PLAN)
    moved = {f"state[{j}]" for j in range(4)}
    false, found, tripped = 0.0, 0, 0
    for _ in range(60):
        live = generator.normal(size=(600, 32)) + np.r_[np.full(4, 0.3), np.zeros(28)]
        total = detector.observe(rows_of(states(live)))
        worst, *_ = detector.measure(Window(total, [total], [0], 600_000))
        if worst.verdict is Verdict.BREACH:
            named = {culprit.name for culprit in worst.culprits}
            tripped += 1
            false += len(named - moved) / max(len(named), 1)
            found += len(named & moved)
    assert tripped > 50
    assert false / tripped <= 0.16
    assert found / tripped > 3


def test_many_small_shifts_trip_the_sum_which_says_that_no_feature_stands_out() -> None:
    generator = np.random.default_rng(0)
    past = baseline_of(STATE_KL, states(generator.normal(size=(6000, 64))))
    live = states(generator.normal(size=(600, 64)) + 0.08)
    found = last_look(STATE_KL, past, live)
    assert found["kl_max"].verdict is Verdict.OK
    assert found["kl_sum"].verdict is Verdict.BREACH
    assert found["kl_sum"].culprits == ()
    assert "no single one" in found["kl_sum"].reason
