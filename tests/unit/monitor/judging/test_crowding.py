"""Hostile policy names: the busy policies stay judged, series and memory stay bounded, retired ones go away."""

from detectors.measurement import Verdict
from monitor.judging.watched import RETIRED_AFTER_WINDOWS, Watched
from monitor.observability.telemetry import Telemetry
from monitor.persistence.state import snapshot
from tests.unit.monitor.worlds import World, decision, metric, reward, small

LIMIT = 10


def world(limit: int = LIMIT) -> World:
    home = {"bucket": "10s", "window": "1m", "reward_horizon": "30s", "max_policies": limit}
    return World(small(deployments__home=home))


def traffic(second: float, n: int = 40, policy: str = "v1") -> list[dict[str, object]]:
    return [decision(f"{policy}-{second}-{i}", second + i * 9 / n, policy=policy) for i in range(n)]


def flood(second: float, n: int) -> list[dict[str, object]]:
    return [decision(f"x{second}-{i}", second + 5, policy=f"hostile-{second}-{i}") for i in range(n)]


def test_200_000_hostile_policy_names_leave_the_real_one_judged_and_memory_flat() -> None:
    made, telemetry, sizes = world(), Telemetry(), []
    for bucket in range(10):
        made.feed(*traffic(bucket * 10), *flood(bucket * 10, 20_000))
        for sealed in made.sealed:
            telemetry.record_sealed(sealed, 1_000)
            assert len(sealed.measured) <= LIMIT
            assert ("v1", "full") in sealed.measured
        for table in (made.sealed, made.signals, made.rejected):
            table.clear()
        sizes.append(sum(map(len, snapshot(made.pipeline).values())))
    watched = made.pipeline.core.watched[0]
    assert isinstance(watched, Watched)
    series = sum(1 for family in telemetry.registry.collect() for _ in family.samples)
    assert series < 5_000
    assert len(made.pipeline.vocabulary.policies.names) <= 5_001
    assert watched.crowded_out > 4_900  # the names told apart; the rest counts as (other)
    assert len(watched.windows.buckets) <= LIMIT
    # a horizon of pending decisions is all that grows at first; from then on the state is as large as it was
    assert sizes[-1] < 1.02 * sizes[5]


def test_a_new_policy_that_serves_displaces_a_quiet_one_and_all_fit_below_the_limit() -> None:
    made = world()
    made.feed(*traffic(0), *flood(0, 9))
    made.feed(*traffic(10))
    assert len(made.sealed[-1].measured) == LIMIT
    made.feed(*traffic(20), *traffic(20, policy="v2"))
    made.feed(*traffic(30), *traffic(30, policy="v2"))
    names = {policy for policy, _ in made.sealed[-1].measured}
    assert {"v1", "v2"} <= names
    assert len(names) == LIMIT


def test_metrics_that_belong_to_no_policy_stay() -> None:
    home = {"bucket": "10s", "window": "1m", "reward_horizon": "30s", "max_policies": 2, "metrics": ["sales"]}
    made = World(small(deployments__home=home))
    made.feed(*traffic(0), *flood(0, 50), metric("sales", 8, 1.0))
    made.feed(*traffic(10), *flood(10, 50), metric("sales", 18, 1.0))
    assert set(made.sealed[-1].measured) == {("*", "full"), ("v1", "full")}


def test_a_reward_for_a_policy_without_room_brings_no_window_back() -> None:
    made = world(2)
    made.feed(*traffic(0), *traffic(0, 20, "v2"), decision("lonely", 1, policy="v3"))
    made.feed(*traffic(10), reward("lonely", 11))
    made.feed(*traffic(20))
    assert {policy for policy, _ in made.sealed[-1].measured} == {"v1", "v2"}
    assert made.last("reward", "mean").verdict is Verdict.UNKNOWN


def test_the_series_of_a_retired_policy_go_away() -> None:
    made, telemetry = world(), Telemetry()
    made.feed(*traffic(0), *traffic(0, policy="old"))
    for bucket in range(1, 12):
        made.feed(*traffic(bucket * 10))
    for sealed in made.sealed[:2]:
        telemetry.record_sealed(sealed, 1_000)
    assert 'policy="old"' in exported(telemetry)
    for sealed in made.sealed[2:]:
        telemetry.record_sealed(sealed, 1_000)
    assert 'policy="old"' not in exported(telemetry)
    assert 'policy="v1"' in exported(telemetry)


def test_a_policy_that_obeyed_its_fallback_and_is_forgotten_ends_its_alert_for_those_who_were_told() -> None:
    home = {"bucket": "10s", "window": "1m", "reward_horizon": "30s", "fallback_policy": "rules",
            "costs": {"harm": {"budget": 0.01, "per": "decision"}}}  # fmt: skip
    made = World(small(deployments__home=home))
    made.feed(*traffic(0), *[{**row, "costs": {"harm": 1.0}} for row in traffic(0, policy="bad")])
    for second in range(10, (RETIRED_AFTER_WINDOWS + 2) * 60, 10):
        made.feed(*traffic(second, 4, "rules"))
    told = [(s.rule, s.policy, s.kind, s.state) for s in made.signals]
    assert told == [
        ("constraint", "bad", "fallback", "firing"),
        ("constraint", "bad", "fallback", "resolved"),
    ]
    assert "It has made no decision for 2.4 h." in made.signals[1].reason
    (watched,) = made.pipeline.core.watched.values()
    assert isinstance(watched, Watched)
    assert (watched.judge.alerts, watched.judge.told, watched.loops.open) == ({}, {}, {})


def exported(telemetry: Telemetry) -> str:
    from prometheus_client import generate_latest

    return generate_latest(telemetry.registry).decode()
