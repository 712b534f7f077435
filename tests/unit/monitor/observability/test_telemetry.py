"""The exported metrics: bounded whatever is sent, gone when their key is gone, whole where a rule needs them."""

from dataclasses import replace
from math import nan
from typing import Any

import pytest

from alerts.closed_loop import Safe
from alerts.signal import Evidence, Signal
from detectors.measurement import Measurement, Verdict
from monitor.batch import Rejected
from monitor.decoding.reasons import Reason
from monitor.observability.inventory import Inventory
from monitor.observability.telemetry import MAX_SERIES, Telemetry
from monitor.sealed import Sealed
from tests.unit.alerts.build import signal

MEAN = Measurement("reward", "mean", "", 0.4, 100, Verdict.OK, threshold=0.3)
EWMA = Measurement("reward", "ewma", "", 0.5, 100, Verdict.OK)
SAFE = Safe("v42", "full", "reward", "fallback", 3_000)
LIMIT = 5_000


def sealed(*keys: tuple[str, str], measured: list[Measurement] | None = None, end_ms: int = 10_000) -> Sealed:
    found = [MEAN, EWMA] if measured is None else measured
    return Sealed("home", end_ms, 60_000, "b2:1", dict.fromkeys(keys, found), [], 7)


def inventory(**changed: Any) -> Inventory:
    held: dict[str, Any] = {
        "partitions": ("rl.decisions/0",), "lag": {"rl.decisions/0": 12}, "watermark_ms": 50_000, "newest_ms": 60_000,
        "bucket_ms": {"home": 10_000}, "pending": {"home": 3}, "orphans": 2, "approved": 1, "names_dropped": 0,
        "labels_dropped": {"policies": 0}, "dead_letters_dropped": 0, "outbox": {}, "firing": frozenset(),
    }  # fmt: skip
    return Inventory(**(held | changed))


def series(telemetry: Telemetry) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every exported sample by name and label values, in the order in which telemetry.py names them."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in telemetry.registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def names(telemetry: Telemetry) -> set[str]:
    return {name for name, _ in series(telemetry)}


def test_a_million_hostile_policy_ids_are_counted_not_exported() -> None:
    telemetry = Telemetry()
    for block in range(10):
        hostile = [(f"{block}-{i}", "full") for i in range(100_000)]
        telemetry.record_sealed(sealed(*hostile), now_ms=1_000)
    alerts = frozenset(("home", f"p{i}", "full", "reward") for i in range(10_000))
    telemetry.record_inventory(inventory(firing=alerts), 1_000)
    exported = series(telemetry)
    assert len(exported) <= LIMIT
    left_out = exported["policywatch_series_dropped_total", ()]
    assert left_out >= 1_000_000 * 6 - 10 * MAX_SERIES  # 4 verdicts and 2 values of each, but for what fits


def test_a_known_policy_keeps_its_series_in_a_flood_of_others() -> None:
    telemetry = Telemetry()
    telemetry.record_sealed(sealed(("v42", "full")), 1_000)
    flood = [(f"{i:05}", "full") for i in range(5_000)]  # names that sort before it
    telemetry.record_sealed(sealed(*flood, ("v42", "full")), 2_000)
    assert ("policywatch_measurement", ("home", "v42", "full", "reward", "mean", "")) in series(telemetry)


def test_series_of_a_key_that_is_gone_disappear_and_make_room() -> None:
    telemetry = Telemetry()
    telemetry.record_sealed(sealed(("v42", "full"), ("v43", "canary")), 1_000)
    telemetry.record_sealed(sealed(("v42", "full")), 2_000)
    left = series(telemetry)
    assert not [key for key in left if "v43" in key[1]]
    assert left["policywatch_measurement", ("home", "v42", "full", "reward", "mean", "")] == 0.4
    telemetry.record_sealed(sealed(), 3_000)
    assert not [key for key in series(telemetry) if "v42" in key[1]]
    assert len(telemetry._bounded) == 0


def test_a_deployment_says_nothing_about_the_keys_of_another() -> None:
    telemetry = Telemetry()
    telemetry.record_sealed(sealed(("v42", "full")), 1_000)
    telemetry.record_sealed(Sealed("away", 10_000, 60_000, "", {}, [], 0), 1_000)
    assert [key for key in series(telemetry) if "v42" in key[1]]


def test_a_line_that_is_no_longer_drawn_disappears() -> None:
    telemetry = Telemetry()
    telemetry.record_sealed(sealed(("v42", "full")), 1_000)
    assert "policywatch_measurement_threshold" in names(telemetry)
    bare = Measurement("reward", "mean", "", 0.4, 100, Verdict.UNKNOWN, threshold=nan)
    telemetry.record_sealed(sealed(("v42", "full"), measured=[bare]), 2_000)
    left = series(telemetry)
    assert "policywatch_measurement_threshold" not in {name for name, _ in left}
    assert left["policywatch_verdicts", ("home", "v42", "full", "unknown")] == 1


def test_an_alert_is_shown_while_it_fires_and_no_longer() -> None:
    telemetry = Telemetry()
    telemetry.record_inventory(inventory(firing=frozenset({("home", "v42", "full", "reward")})), 0)
    assert series(telemetry)["policywatch_alerts_firing", ("home", "v42", "full", "reward")] == 1
    telemetry.record_inventory(inventory(), 5_000)
    assert "policywatch_alerts_firing" not in names(telemetry)


def test_a_partition_that_went_to_another_member_disappears() -> None:
    telemetry = Telemetry()
    telemetry.record_inventory(inventory(), 0)
    assert series(telemetry)["policywatch_partition_lag_records", ("rl.decisions/0",)] == 12
    telemetry.record_inventory(inventory(partitions=(), lag={}), 5_000)
    assert "policywatch_partition_lag_records" not in names(telemetry)


def test_a_receiver_that_left_the_config_disappears() -> None:
    telemetry = Telemetry()
    telemetry.record_receivers({"webhook-1": 90_000, "log": 0})
    telemetry.record_inventory(inventory(outbox={("webhook-1", "pending"): 4}), 0)
    assert series(telemetry)["policywatch_delivery_pending", ("webhook-1",)] == 4
    telemetry.record_receivers({"log": 0})
    telemetry.record_inventory(inventory(), 0)
    left = series(telemetry)
    assert ("policywatch_delivery_oldest_age_seconds", ("webhook-1",)) not in left
    assert ("policywatch_delivery_pending", ("webhook-1",)) not in left
    assert left["policywatch_delivery_pending", ("log",)] == 0


def test_a_deployment_that_left_the_config_disappears_and_the_others_stay() -> None:
    telemetry = Telemetry()
    both = dict.fromkeys(("home", "shop"), 10000)
    for name in both:
        telemetry.baseline_short.labels(name).set(0)
        telemetry.record_sealed(replace(sealed(("v42", "full")), deployment=name, safe=(SAFE,)), 1_000)
        telemetry.record_signal(signal(deployment=name))
    telemetry.record_inventory(inventory(bucket_ms=both, pending=both, muted={"home": 0, "shop": 1}), 1_000)
    before = series(telemetry)
    telemetry.record_inventory(inventory(muted={"home": 0}), 6_000)
    left = series(telemetry)
    assert not [labels for _, labels in left if "shop" in labels]
    assert {key for key in before if "home" in key[1]} == {key for key in left if "home" in key[1]}
    telemetry.record_sealed(replace(sealed(("v42", "full")), deployment="shop"), 9_000)
    assert series(telemetry)["policywatch_buckets_sealed_total", ("shop",)] == 1


def test_watermark_lag_is_the_newest_event_minus_the_watermark() -> None:
    telemetry = Telemetry()
    telemetry.record_inventory(inventory(watermark_ms=50_000, newest_ms=62_500), 0)
    assert series(telemetry)["policywatch_watermark_lag_seconds", ()] == 12.5


def test_a_counter_of_the_pipeline_that_begins_anew_after_a_reload_does_not_fall() -> None:
    telemetry = Telemetry()
    for approved in (5, 9, 2):
        telemetry.record_inventory(inventory(approved=approved), 0)
    assert series(telemetry)["policywatch_actions_approved_total", ()] == 11


def test_the_clock_of_the_last_bucket_runs_from_the_start_even_when_none_is_ever_sealed() -> None:
    telemetry = Telemetry()
    for now_ms in (1_000, 6_000):
        telemetry.record_inventory(inventory(), now_ms)
    assert series(telemetry)["policywatch_last_bucket_sealed_seconds", ("home",)] == 1
    assert series(telemetry)["policywatch_buckets_sealed_total", ("home",)] == 0
    telemetry.record_sealed(sealed(("v42", "full")), 9_000)
    assert series(telemetry)["policywatch_last_bucket_sealed_seconds", ("home",)] == 9


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_exported_from_the_start_so_that_its_first_increase_is_seen(reason: Reason) -> None:
    telemetry = Telemetry()
    assert series(telemetry)["policywatch_records_rejected_total", (reason.value,)] == 0
    telemetry.record_rejected([Rejected(reason, "rl.decisions/0", 1, "", b"")])
    assert series(telemetry)["policywatch_records_rejected_total", (reason.value,)] == 1


def test_the_build_names_one_config_at_a_time() -> None:
    telemetry = Telemetry()
    telemetry.record_build("0.1.0", "aa")
    telemetry.record_build("0.1.0", "bb")
    assert [key[1] for key in series(telemetry) if key[0] == "policywatch_build_info"] == [("0.1.0", "bb")]


def test_a_refused_reload_is_shown_until_one_is_taken() -> None:
    telemetry = Telemetry()
    shown = []
    for taken in (False, True):
        telemetry.record_reload(taken=taken)
        shown.append(series(telemetry)["policywatch_config_reload_ok", ()])
    assert shown == [0, 1]


def test_signals_are_counted_by_kind_and_state_whatever_their_policy() -> None:
    telemetry = Telemetry()
    for i in range(1_000):
        telemetry.record_signal(Signal(
            id=f"sig_{i}", time_ms=0, deployment="home", policy=f"p{i}", kind="fallback", state="firing",
            rule="reward", reason="", generation=i, evidence=Evidence(statistic="reward.mean"),
        ))  # fmt: skip
    assert series(telemetry)["policywatch_signals_total", ("home", "fallback", "firing")] == 1_000
    assert len(series(telemetry)) < 200
