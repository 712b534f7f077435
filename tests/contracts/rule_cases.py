"""For every alert of the daemon a series with which it fires and one with which it must not, as promtool has them.

Series stand at one-minute steps: `0+1x60` counts up by one, `_` is a gap, `0x60` stays 0.
"""

from dataclasses import dataclass

Series = dict[str, str]
INSTANCE = 'instance="w:9464"'
JOB = f'job="policywatch", {INSTANCE}'


@dataclass(frozen=True)
class Case:
    """firing, quiet: series -> values. at: minutes after which both are looked at. labels: of the alert that fires."""

    firing: Series
    quiet: Series
    at: int
    labels: dict[str, str]


def m(name: str, labels: str = "") -> str:
    """A series of the daemon."""
    return f"policywatch_{name}{{{JOB}{', ' if labels else ''}{labels}}}"


JOBBED = {"job": "policywatch", "instance": "w:9464"}
ONE = {"instance": "w:9464"}
EVENTS = {m("events_total", 'partition="d/0"'): "0+600x120"}
RECEIVER = 'receiver="webhook-1"'
TO = {**JOBBED, "receiver": "webhook-1"}
DEPLOYMENT = 'deployment="home"'
KEY = f'{DEPLOYMENT}, policy="v42", stage="full"'


def rejected(reason: str, values: str) -> Series:
    return {m("records_rejected_total", f'reason="{reason}"'): values}


def verdicts(ok: str, unknown: str) -> Series:
    return {
        m("verdicts", f'{KEY}, verdict="ok"'): ok,
        m("verdicts", f'{KEY}, verdict="breach"'): "0x120",
        m("verdicts", f'{KEY}, verdict="unknown"'): unknown,
    }


def saves(slow: str) -> Series:
    """10 saves a minute; `slow` of them take between 1 and 2 s."""
    buckets = {"0.1": "0+10x120", "1.0": "0+10x120", "2.0": "0+10x120", "+Inf": "0+10x120"}
    if slow:
        buckets |= {"0.1": slow, "1.0": slow}
    return {m("checkpoint_save_seconds_bucket", f'le="{le}"'): values for le, values in buckets.items()}


CASES: dict[str, Case] = {
    "PolicywatchDead": Case(
        {f"up{{{JOB}}}": "1x5 0x10"}, {f"up{{{JOB}}}": "1x5 0 1x9"}, 8, {**JOBBED},
    ),
    "PolicywatchStalled": Case(
        {m("loops_total"): "0+600x5 3000x10", m("source_connected"): "1x30"},
        {m("loops_total"): "0+2x30", m("source_connected"): "1x30"}, 10, JOBBED,
    ),
    "PolicywatchRestarting": Case(
        {f"process_start_time_seconds{{{JOB}}}": "0x2 100x2 200x2 300x10"},
        {f"process_start_time_seconds{{{JOB}}}": "0x2 100x20"}, 10, JOBBED,
    ),
    "PolicywatchNotReady": Case(
        {m("source_connected"): "1x3 0x20"}, {m("source_connected"): "1x3 0 1x20"}, 8, JOBBED,
    ),
    "PolicywatchLagging": Case(  # 600 a minute are read, 1,210 are 121 s
        {**EVENTS, m("partition_lag_records", 'partition="d/0"'): "1210x60"},
        {**EVENTS, m("partition_lag_records", 'partition="d/0"'): "1190x60"}, 20, ONE,
    ),
    "PolicywatchNoEvents": Case(
        {m("last_event_received_seconds"): "120x60"}, {m("last_event_received_seconds"): "120+60x60"}, 20, JOBBED,
    ),
    "PolicywatchNeverSawAnEvent": Case(
        {m("last_event_received_seconds"): "0x60"}, {m("last_event_received_seconds"): "0x10 600x50"}, 20, JOBBED,
    ),
    "PolicywatchWatermarkStuck": Case(
        {**EVENTS, m("watermark_seconds"): "5000x60"}, {**EVENTS, m("watermark_seconds"): "5000+60x60"}, 30, JOBBED,
    ),
    "PolicywatchNoBuckets": Case(
        {**EVENTS, m("last_bucket_sealed_seconds", DEPLOYMENT): "60x60", m("bucket_seconds", DEPLOYMENT): "60x60"},
        {**EVENTS, m("last_bucket_sealed_seconds", DEPLOYMENT): "60x60", m("bucket_seconds", DEPLOYMENT): "3600x60"},
        20, {**JOBBED, "deployment": "home"},
    ),
    "PolicywatchBlind": Case(
        verdicts("0x120", "5x120"), verdicts("1x120", "4x120"), 70,
        {**ONE, "deployment": "home", "policy": "v42", "stage": "full"},
    ),
    "PolicywatchDeadLetters": Case(
        {**EVENTS, **rejected("bad_json", "0+7x60"), **rejected("duplicate", "0+90x60")},
        {**EVENTS, **rejected("bad_json", "0+5x60"), **rejected("duplicate", "0+90x60")}, 30, ONE,
    ),
    "PolicywatchDeadLettersLost": Case(
        {m("dead_letters_dropped_total"): "0x10 5x60"}, {m("dead_letters_dropped_total"): "5x60"}, 15, JOBBED,
    ),
    "PolicywatchSafetySignalOverdue": Case(
        {m("safety_signals_overdue_total", RECEIVER): "0x10 1x60"},
        {m("safety_signals_overdue_total", RECEIVER): "1x60"}, 12, TO,
    ),
    "PolicywatchUndelivered": Case(
        {m("delivery_oldest_age_seconds", RECEIVER): "0+60x60"},
        {m("delivery_oldest_age_seconds", RECEIVER): "0+60x4 0x60"}, 10, TO,
    ),
    "PolicywatchDeliveryFaults": Case(
        {m("delivery_faults_total", RECEIVER): "0+1x60"},
        {m("delivery_faults_total", RECEIVER): "0x5 2x60"}, 10, TO,
    ),
    "PolicywatchCheckpointSlow": Case(saves("0+8x120"), saves("0+10x120"), 20, ONE),
    "PolicywatchCheckpointOld": Case(
        {**EVENTS, m("last_checkpoint_saved_seconds"): "60x60"},
        {m("events_total", 'partition="d/0"'): "600x60", m("last_checkpoint_saved_seconds"): "60x60"}, 15, JOBBED,
    ),
    "PolicywatchConfigRefused": Case(
        {m("config_reload_ok"): "1x3 0x10"}, {m("config_reload_ok"): "0x3 1x10"}, 8, JOBBED,
    ),
    "PolicywatchBaselineShort": Case(
        {m("baseline_short", DEPLOYMENT): "1x30"}, {m("baseline_short", DEPLOYMENT): "1x5 0x25"}, 20,
        {**JOBBED, "deployment": "home"},
    ),
    "PolicywatchProbeLost": Case(
        {m("probe_age_seconds"): "0+60x30"}, {m("probe_age_seconds"): "20x30"}, 12, JOBBED,
    ),
    "PolicywatchHeartbeatMissed": Case(
        {m("heartbeats_total", 'outcome="failed"'): "0+1x60", m("heartbeats_total", 'outcome="sent"'): "0x60"},
        {m("heartbeats_total", 'outcome="failed"'): "0x30 2x30", m("heartbeats_total", 'outcome="sent"'): "0+1x60"},
        20, ONE,
    ),
    "PolicywatchSeriesDropped": Case(
        {m("series_dropped_total"): "0+9x60"}, {m("series_dropped_total"): "9x60"}, 30, JOBBED,
    ),
    "PolicywatchNamesDropped": Case(
        {m("labels_dropped_total", 'table="policies"'): "0+3x60", m("names_dropped_total"): "0x60"},
        {m("labels_dropped_total", 'table="policies"'): "3x60", m("names_dropped_total"): "1x60"}, 30, ONE,
    ),
    "PolicywatchOrphans": Case(
        {m("rewards_orphaned"): "500001x60"}, {m("rewards_orphaned"): "499999x60"}, 10, JOBBED,
    ),
}  # fmt: skip
