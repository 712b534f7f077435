"""Tests that remember: the fold can be cut anywhere, says who moved, and lets late or odd buckets be."""

import re
from dataclasses import replace

import numpy as np
import pytest

from detectors.actions.mix import ACTION_MIX
from detectors.charts.cusum import Bank
from detectors.features.moments import STATE_MOMENTS
from detectors.measurement import Verdict
from detectors.rows import BucketRows, no_decisions
from detectors.sequential.charted import Named, Test
from detectors.sequential.means import reward_test
from detectors.sequential.vectors import action_test, state_test
from tests.unit.detectors.reward_stream import instant_baseline
from tests.unit.detectors.streams import PLAN, baseline_of, decisions, rows

PER_BUCKET = 1e-4


def _states(rng: np.random.Generator, n: int, width: int = 4, root: float = 0.0) -> BucketRows:
    state = np.sqrt(1 - root**2) * rng.standard_normal((n, width)) + root * rng.standard_normal((n, 1))
    return rows(replace(decisions(n), state=state))


def _state_test(rng: np.random.Generator) -> Test:
    buckets = [_states(rng, 5) for _ in range(400)]
    sample = replace(no_decisions(), ts_ms=np.arange(2_000), state=rng.standard_normal((2_000, 4)))
    test = state_test(
        baseline_of(STATE_MOMENTS, buckets, PLAN, sample), PLAN, PER_BUCKET, ["a", "b", "c", "d"]
    )
    assert test is not None
    return test


def _fold(test: Test, seen: list[dict[str, np.ndarray]], state: np.ndarray | None = None) -> np.ndarray:
    state = test.begin() if state is None else state
    for bucket in seen:
        state, _ = test.fold(state, bucket, ["0", "1", "2"])
    return state


def test_correlation_that_appears_with_the_same_marginals_is_found() -> None:
    rng = np.random.default_rng(1)
    test = _state_test(rng)
    sample = replace(no_decisions(), ts_ms=np.arange(2_000), state=rng.standard_normal((2_000, 4)))
    detector = STATE_MOMENTS.build(baseline_of(STATE_MOMENTS, [_states(rng, 5)], PLAN, sample), PLAN)
    quiet = [detector.observe(_states(rng, 5)).arrays() for _ in range(30)]
    state = _fold(test, quiet)
    assert test.measurement(state, 5).verdict is Verdict.OK
    moved = [detector.observe(_states(rng, 5, root=0.85)).arrays() for _ in range(40)]
    assert test.measurement(_fold(test, moved, state), 5).verdict is Verdict.BREACH


def test_the_pair_of_features_that_became_correlated_is_named() -> None:
    rng = np.random.default_rng(3)
    test = _state_test(rng)
    sample = replace(no_decisions(), ts_ms=np.arange(2_000), state=rng.standard_normal((2_000, 4)))
    detector = STATE_MOMENTS.build(baseline_of(STATE_MOMENTS, [_states(rng, 5)], PLAN, sample), PLAN)
    state, found = test.begin(), None
    for _ in range(60):
        one = rng.standard_normal((5, 4))
        one[:, 3] = -0.8 * one[:, 1] + 0.6 * one[:, 3]
        seen = detector.observe(rows(replace(decisions(5), state=one))).arrays()
        state, _ = test.fold(state, seen, [])
        found = test.measurement(state, 5)
        if found.verdict is Verdict.BREACH:
            break
    assert found is not None
    assert [culprit.name for culprit in found.culprits] == ["b with d"]
    assert re.search(
        r"have become correlated, more than chance allows; b with d by about -0\.[3-9]", found.reason
    )


def test_the_length_of_rows_that_the_axes_were_not_learnt_from_is_as_expected() -> None:
    """1,000 rows of 24 features: white axes are 2.5 % shorter for their own rows, 12 standard errors of 100,000."""
    rng = np.random.default_rng(4)
    sample = replace(no_decisions(), ts_ms=np.arange(1_000), state=rng.standard_normal((1_000, 24)))
    baseline = baseline_of(STATE_MOMENTS, [_states(rng, 5, 24) for _ in range(200)], PLAN, sample)
    test = state_test(baseline, PLAN, PER_BUCKET, [])
    detector = STATE_MOMENTS.build(baseline, PLAN)
    assert test is not None
    reading = test.read(detector.observe(_states(rng, 100_000, 24)).arrays(), [])
    named = test.charts[0]
    assert isinstance(named, Named)
    bank = named.chart
    assert isinstance(bank, Bank)
    strayed = reading.sums[0][-1] / reading.events - bank.mean[-1]
    assert abs(strayed) < 4 * np.sqrt(2 * 24 / 100_000) + 0.005 * 24


def test_a_fold_that_is_cut_and_gone_on_with_is_the_same() -> None:
    rng = np.random.default_rng(2)
    test = _state_test(rng)
    sample = replace(no_decisions(), ts_ms=np.arange(200), state=rng.standard_normal((200, 4)))
    detector = STATE_MOMENTS.build(baseline_of(STATE_MOMENTS, [_states(rng, 5)], PLAN, sample), PLAN)
    seen = [detector.observe(_states(rng, 5)).arrays() for _ in range(20)]
    assert np.array_equal(_fold(test, seen), _fold(test, seen[12:], _fold(test, seen[:12]).copy()))


def test_the_action_that_grew_is_named() -> None:
    rng = np.random.default_rng(3)

    def bucket(shares: list[float]) -> BucketRows:
        return rows(decisions(10, action=rng.choice(3, 10, p=shares)))

    quiet = [bucket([0.5, 0.3, 0.2]) for _ in range(400)]
    baseline = replace(baseline_of(ACTION_MIX, quiet), labels=("0", "1", "2"))
    test = action_test(baseline, PLAN, PER_BUCKET)
    assert test is not None
    detector = ACTION_MIX.build(None, PLAN)
    moved = [detector.observe(bucket([0.3, 0.3, 0.4])).arrays() for _ in range(60)]
    state, found = test.begin(), []
    for bucket_of_ten in moved:
        state = _fold(test, [bucket_of_ten], state)
        found.append(test.measurement(state, 10))
    first = next(one for one in found if one.verdict is Verdict.BREACH)
    assert first.culprits[0].name in {"0", "2"}


@pytest.mark.parametrize(("shift", "breach"), [(0.0, False), (-0.5, True), (0.5, False)])
def test_only_a_fall_of_the_reward_is_a_fall(shift: float, breach: bool) -> None:
    rng = np.random.default_rng(4)
    test = reward_test(instant_baseline(PLAN, rng.standard_normal(4_000), 5), PLAN, PER_BUCKET)
    assert test is not None
    live = instant_baseline(PLAN, rng.standard_normal(400) + shift, 5)
    seen = [{name: values[i] for name, values in live.series.items()} for i in range(80)]
    state, verdicts = test.begin(), []
    for bucket in seen:
        state = _fold(test, [bucket], state)
        verdicts.append(test.measurement(state, 5).verdict)
    assert (Verdict.BREACH in verdicts) is breach


def test_a_reason_says_what_moved_by_how_much_and_since_when() -> None:
    rng = np.random.default_rng(5)
    test = reward_test(instant_baseline(PLAN, rng.standard_normal(4_000) + 1.2, 5), PLAN, PER_BUCKET)
    assert test is not None
    live = instant_baseline(PLAN, rng.standard_normal(1_000) + 0.7, 5)
    state = test.begin()
    for i in range(200):
        bucket = {name: values[i] for name, values in live.series.items()}
        state, _ = test.fold(state, bucket, (), 1_767_225_600_000.0 + i * 10_000)
        if (found := test.measurement(state, 5)).verdict is Verdict.BREACH:
            break
    said = re.fullmatch(
        r"the mean reward has been ([\d.]+) ± ([\d.]+) below its baseline 1\.\d+ \(([\d.]+) ± [\d.]+ sd\)"
        r" since 2026-01-01 00:\d\d:\d\d UTC \(about (\d+) events\)",
        found.reason,
    )
    assert said is not None, found.reason
    by, error, in_sd, events = (float(part) for part in said.groups())
    assert abs(by - 0.5) < 4 * error
    assert in_sd == pytest.approx(by, rel=0.1)
    assert error == pytest.approx(events**-0.5, rel=0.6)


def test_propensities_that_no_longer_fit_the_actions_are_named_although_the_mix_stays() -> None:
    rng = np.random.default_rng(6)
    shares = np.array([0.6, 0.3, 0.1])

    def bucket(logged: np.ndarray) -> BucketRows:
        taken = rng.choice(3, 10, p=shares)
        return rows(replace(decisions(10, action=taken), propensity=logged[taken]))

    baseline = baseline_of(ACTION_MIX, [bucket(shares) for _ in range(400)])
    test = action_test(replace(baseline, labels=("0", "1", "2")), PLAN, PER_BUCKET)
    assert test is not None
    detector = ACTION_MIX.build(None, PLAN)
    state, reasons = test.begin(), []
    for _ in range(300):
        seen = detector.observe(bucket(np.array([0.65, 0.31, 0.04]))).arrays()
        state, _ = test.fold(state, seen, ("0", "1", "2"))
        reasons.append(test.measurement(state, 10).reason)
    first = next(reason for reason in reasons if reason)
    assert first.startswith(
        "the logged propensities do not fit the actions taken: the mean of 1 / propensity"
    )
    assert "above its baseline 2.9" in first
