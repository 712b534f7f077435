"""Signals and outbox entries for tests: a plausible one, changed where the test says so."""

from dataclasses import replace
from typing import Any

from msgspec.structs import replace as changed

from alerts.outbox import OutboxEntry
from alerts.signal import Evidence, Signal, cloudevent, signal_id

NOW_MS = 1_714_564_800_000  # 2024-05-01T12:00:00Z

EVIDENCE = Evidence(
    statistic="reward_mean",
    value=0.412,
    threshold=0.498,
    n=12_345,
    window_start_ms=NOW_MS - 600_000,
    window_end_ms=NOW_MS,
    baseline="b2:77aa",
    culprits=("price", "hour"),
)


def signal(**changes: Any) -> Signal:
    base = Signal(
        id=signal_id("home-ranker", "v42", "full", "reward", "", 1, "firing"),
        time_ms=NOW_MS,
        deployment="home-ranker",
        policy="v42",
        kind="fallback",
        state="firing",
        rule="reward",
        reason="Mean reward 0.412 is below the trip line 0.498 (12,345 decisions).",
        to_policy="rules-v3",
        generation=7,
        expires_at_ms=NOW_MS + 3_600_000,
        evidence=EVIDENCE,
    )
    return changed(base, **changes)


def entry(of: Signal | None = None, receiver: str = "serving", **changes: Any) -> OutboxEntry:
    of = of or signal()
    base = OutboxEntry(
        seq=1,
        signal_id=of.id,
        receiver=receiver,
        deployment=of.deployment,
        alert_key=of.alert_key,
        payload=cloudevent(of),
        attempt=0,
        next_attempt_ms=NOW_MS,
        expires_ms=of.expires_at_ms,
        safety=of.safety,
        created_ms=NOW_MS,
    )
    return replace(base, **changes)
