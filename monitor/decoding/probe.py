"""The reserved decision that proves the way from producer to decoder: taken out before anything counts it."""

from collections.abc import Sequence

from monitor.decoding.decode_settings import DecodeCounts
from monitor.decoding.reasons import Faults, Reason
from monitor.decoding.wire import Decision

PROBE_DEPLOYMENT = "policywatch.probe"
PROBE_POLICY = "policywatch-probe"


def take_probes(
    rows: Sequence[Decision], at: Sequence[int], faults: Faults, counts: DecodeCounts
) -> set[int]:
    """Places of the probes among what was refused for its unknown deployment; each is counted, and the newest kept."""
    if not any(fault.reason is Reason.UNKNOWN_DEPLOYMENT for fault in faults.values()):
        return set()
    found = set()
    for place, row in zip(at, rows, strict=True):
        fault = faults.get(place)
        if (
            fault is not None
            and fault.reason is Reason.UNKNOWN_DEPLOYMENT
            and row.deployment == PROBE_DEPLOYMENT
        ):
            found.add(place)
            counts.probes += 1
            if isinstance(row.ts, int):
                counts.probe_ms = max(counts.probe_ms, row.ts)
    return found
