"""Real logs: what must be silent, what must be found, at 1 false breach per 150 days and detector."""

from dataclasses import replace

import pytest

from detectors.actions.mix import ACTION_MIX
from detectors.measurement import Verdict
from detectors.protocol import Baseline, Spec
from detectors.states.kl import STATE_KL
from detectors.states.mmd import STATE_MMD
from detectors.states.quality import STATE_QUALITY
from detectors.statistic import stack
from tests.paths import shared_data
from tests.unit.detectors.state_stream import (
    PLAN,
    baseline_of,
    breaches,
    bucketed,
    logged,
    looked_at,
    looks,
    part,
)

ALL = pytest.mark.parametrize(
    "spec", [STATE_KL, STATE_MMD, STATE_QUALITY, ACTION_MIX], ids=lambda spec: spec.name
)
STATE = pytest.mark.parametrize("spec", [STATE_KL, STATE_MMD, STATE_QUALITY], ids=lambda spec: spec.name)
HOUR = 3_600_000
BATTERY = replace(PLAN, bucket_ms=HOUR, window_buckets=24, min_samples=20)


@ALL
def test_second_half_of_the_quiet_pendulum_is_silent_against_the_first(spec: Spec) -> None:
    log = logged(shared_data() / "pendulum-null.jsonl.gz")
    past = baseline_of(spec, part(log, slice(5500)), PLAN)
    assert breaches(spec, past, part(log, slice(5500, None)), PLAN, every=2) == []


@ALL
def test_quiet_pendulum_is_silent_against_itself(spec: Spec) -> None:
    log = logged(shared_data() / "pendulum-null.jsonl.gz")
    assert breaches(spec, baseline_of(spec, log, PLAN), log, PLAN, every=4) == []


@pytest.mark.parametrize("spec", [STATE_KL, STATE_MMD], ids=lambda spec: spec.name)
def test_heavier_pendulum_is_found_within_a_window_of_the_change(spec: Spec) -> None:
    past = baseline_of(spec, logged(shared_data() / "pendulum-null.jsonl.gz"), PLAN)
    live = logged(shared_data() / "pendulum-gravity.jsonl.gz")
    first = min(now for now, _ in breaches(spec, past, live, PLAN))
    assert 0 < first - 1_767_231_100_000 <= 600_000


@STATE
def test_users_state_is_silent_when_the_fashion_policy_changes(spec: Spec) -> None:
    plan = replace(PLAN, bucket_ms=HOUR, window_buckets=24)
    log = logged(shared_data() / "zozo-men-switch.jsonl.gz")
    assert breaches(spec, baseline_of(spec, part(log, slice(10_000)), plan), log, plan) == []


def test_action_mix_breaches_within_hours_of_the_switch_and_not_before() -> None:
    plan = replace(PLAN, bucket_ms=HOUR, window_buckets=24)
    log = logged(shared_data() / "zozo-men-switch.jsonl.gz")
    found = breaches(ACTION_MIX, baseline_of(ACTION_MIX, part(log, slice(10_000)), plan), log, plan)
    first = min(now for now, _ in found) - 1_575_158_463_979
    assert 0 < first <= 6 * HOUR
    assert any(m.statistic == "mix_kl" for _, m in found)


@ALL
def test_a_year_of_the_battery_is_silent_against_itself(spec: Spec) -> None:
    log = logged(shared_data() / "battery-null.jsonl.gz")
    schema = spec.fit(log, BATTERY)
    buckets = bucketed(spec, schema, log, BATTERY)
    past = Baseline(schema, stack([s for _, s in buckets]), [t for t, _ in buckets], HOUR)
    for days in (1, 7):
        plan = replace(BATTERY, window_buckets=24 * days)
        found = [m for _, each in looked_at(spec, past, buckets, plan, every=37) for m in each]
        assert [m for m in found if m.verdict is Verdict.BREACH] == []


def test_a_summer_baseline_does_not_cover_the_winter_and_quality_says_so_first() -> None:
    log = logged(shared_data() / "battery-null.jsonl.gz")
    first_breach = {}
    for spec in (STATE_KL, STATE_MMD, STATE_QUALITY):
        past = baseline_of(spec, part(log, slice(1008)), BATTERY)
        found = looks(spec, past, part(log, slice(1008, None)), BATTERY, every=12)
        first_breach[spec.name] = next(
            now for now, each in found if any(m.verdict is Verdict.BREACH for m in each)
        )
    assert min(first_breach, key=lambda name: first_breach[name]) == "state_quality"
