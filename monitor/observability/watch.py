"""What the outside sees of the running loop: metrics, log lines, status, readiness; written by the loop's thread."""

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from alerts.desk import Desk
from alerts.outbox import Ending, OutboxEntry, Outcome
from alerts.record import Record
from alerts.signal import Signal
from detectors.measurement import Verdict
from monitor.batch import Rejected
from monitor.clocks import Clock
from monitor.control.inbox import Finished, Inbox, Overdue, Suspected
from monitor.daemon import Daemon
from monitor.durations import rfc3339
from monitor.observability import systemd
from monitor.observability.inventory import Inventory, shard_inventory, take_inventory
from monitor.observability.telemetry import PROBES, Telemetry
from monitor.persistence.checkpoint import ROTTEN
from monitor.sealed import Sealed, number
from monitor.sharding.shard import Shard

UNSAVED_MS = 60_000  # events that nothing has saved for so long after a save was due: no progress
STALLED_MS = 60_000  # a loop that has not turned for so long is not healthy
ALERT = ("deployment", "policy", "stage", "rule")
INSPECT_MS = 5_000  # how often what the daemon holds is counted


class Watch:
    """Observer of the loop and of delivery; `status` is what `/api/v1/status` answers."""

    def __init__(self, telemetry: Telemetry, log: Any, clock: Clock, config_hash: str) -> None:
        self._telemetry, self._log, self._clock = telemetry, log, clock
        self._lock = threading.Lock()
        self._looped_ms = clock.elapsed_ms()
        self._inspected_ms = float("-inf")
        self._held: dict[str, Any] = {}
        self._connected = False
        self._unsaved_ms: float | None = None
        self._save_wait_ms = 0.0
        self._turns = self._turns_told = 0
        self._deployments: dict[str, Any] = {}
        self._partitions: dict[str, Any] = {}
        self._rejected: dict[str, int] = {}
        self._recent: list[dict[str, Any]] = []
        self._notes: dict[str, str] = {}
        self._config_hash = config_hash
        self._events = 0
        self._desk: dict[str, Any] = {}
        self._signalled = False
        self.inbox = Inbox()

    # the loop

    def fed(self, partition: str, events: int, position: int) -> None:
        """A poll was decoded and admitted."""
        self._telemetry.events.labels(partition).inc(events)
        self._telemetry.position.labels(partition).set(position)
        self._telemetry.idle.labels(partition).set(0)
        self._telemetry.last_event.set(self._clock.now_ms() / 1000)
        self._unsaved_ms = self._clock.elapsed_ms() if self._unsaved_ms is None else self._unsaved_ms
        with self._lock:
            self._events += events
            known = self._partitions.get(partition, {})
            self._partitions[partition] = {**known, "position": position, "idle": False}

    def rejected(self, rejected: Sequence[Rejected]) -> None:
        """Records were set aside: one log line per reason and poll."""
        self._telemetry.record_rejected(rejected)
        first: dict[str, Rejected] = {}
        counts: dict[str, int] = {}
        for one in rejected:
            first.setdefault(one.reason, one)
            counts[one.reason] = counts.get(one.reason, 0) + 1
        for reason, one in first.items():
            self._log.warning("record_rejected", reason=str(reason), count=counts[reason], partition=one.partition,
                              offset=one.offset, detail=one.detail)  # fmt: skip
        with self._lock:
            for reason, count in counts.items():
                self._rejected[str(reason)] = self._rejected.get(str(reason), 0) + count

    def sealed(self, sealed: Sealed) -> None:
        """A bucket was sealed: the metrics, the status and one log line that says everything."""
        self._telemetry.record_sealed(sealed, self._clock.now_ms())
        described = _described(sealed)
        for one in sealed.safe:
            self._log.info("serving_safe", deployment=sealed.deployment, policy=one.policy, stage=one.stage,
                           rule=one.rule, kind=one.kind, took_ms=one.took_ms)  # fmt: skip
        for signal in sealed.again:
            self._log.warning(
                "signal_resent", id=signal.id, deployment=signal.deployment, policy=signal.policy
            )
        with self._lock:
            self._deployments[sealed.deployment] = described
        self._log.info("bucket_sealed", deployment=sealed.deployment, end=described["sealed_until"],
                       decisions=sealed.decisions, keys=_summaries(sealed))  # fmt: skip

    def signalled(self, signal: Signal) -> None:
        """A signal was committed."""
        self._telemetry.record_signal(signal)
        self._signalled = True
        event = "alert_fired" if signal.state == "firing" else "alert_resolved"
        self._log.warning(event, id=signal.id, deployment=signal.deployment, policy=signal.policy, kind=signal.kind,
                          rule=signal.rule, reason=signal.reason, dry_run=signal.dry_run)  # fmt: skip
        with self._lock:
            self._recent = [*self._recent[-99:], _brief(signal)]

    def saved(self, took_ms: float, size: int) -> None:
        """State, positions and signals are on disk."""
        self._unsaved_ms = None
        self._telemetry.save_seconds.observe(took_ms / 1000)
        self._telemetry.last_saved.set(self._clock.now_ms() / 1000)
        self._telemetry.state_bytes.set(size)

    def idled(self, partition: str, position: int, clock_ms: int | None) -> None:
        """A partition was left out of the watermark; recorded, so that a replay can do the same."""
        self._telemetry.idle.labels(partition).set(1)
        self._log.info("partition_idled", partition=partition, position=position, clock_ms=clock_ms)
        with self._lock:
            known = self._partitions.get(partition, {})
            self._partitions[partition] = {**known, "position": position, "idle": True}

    def looped(self) -> None:
        """The main loop turned: healthy, and the watchdog is fed from here."""
        self._telemetry.loops.inc()
        self._turns += 1
        self._looped_ms = self._clock.elapsed_ms()
        systemd.notify("WATCHDOG=1")

    def inspect(self, daemon: Daemon | Shard) -> None:
        """Every few seconds: count what the daemon holds."""
        if self._clock.elapsed_ms() - self._inspected_ms < INSPECT_MS:
            return
        self._inspected_ms = self._clock.elapsed_ms()
        self._save_wait_ms = daemon.save_wait_ms
        found = shard_inventory(daemon) if isinstance(daemon, Shard) else take_inventory(daemon)
        self._telemetry.record_inventory(found, self._clock.now_ms())
        with self._lock:
            self._held = _held(found)
            self._deployments = {d: said for d, said in self._deployments.items() if d in found.bucket_ms}
            self._partitions = {
                p: {**known, "lag": found.lag.get(p)}
                for p, known in self._partitions.items()
                if p in found.partitions
            }

    def reloaded(self, version: str, config_hash: str) -> None:
        """Another config is in force."""
        self._telemetry.record_reload(taken=True)
        self._telemetry.record_build(version, config_hash)
        with self._lock:
            self._config_hash = config_hash
            self._notes.pop("config", None)

    def reload_refused(self, reason: str) -> None:
        """A config could not be used: the old one goes on."""
        self._telemetry.record_reload(taken=False)
        self.note("config", reason)

    def connected(self, yes: bool) -> None:
        """The broker answers, or does not."""
        self._connected = yes
        self._telemetry.sources.set(yes)

    def note(self, name: str, text: str) -> None:
        """Something a person should know of, shown in the status."""
        with self._lock:
            self._notes[name] = text

    def short_baseline(self, deployment: str, reason: str) -> None:
        """Whether thresholds had to be extrapolated beyond the baseline; "" says that they were not."""
        self._telemetry.baseline_short.labels(deployment).set(bool(reason))
        with self._lock:
            self._notes.pop(f"baseline of {deployment}", None)
        if reason:
            self.note(f"baseline of {deployment}", reason)

    def desk(self, desk: Desk, records: Sequence[Record]) -> None:
        """What is silenced, waits or is withheld, and what the audit log says since the last save."""
        for record in records:
            self._telemetry.audited.labels(record.what).inc()
            detail = {f"of_{name}": value for name, value in record.detail.items()}
            self._log.info("audit_recorded", what=record.what, who=record.who, **detail)
        self._telemetry.record_desk(desk)
        if records or self._signalled or not self._desk:  # a signal may end what was acknowledged
            with self._lock:
                self._desk = desk.view()
        self._signalled = False

    # delivery, from its threads

    def attempted(self, entry: OutboxEntry, outcome: Outcome, took_ms: int) -> None:
        """One attempt was made."""
        what = type(outcome).__name__.lower()
        self._telemetry.attempts.labels(entry.receiver, what).inc()
        self._log.info("signal_sent" if what == "delivered" else "signal_not_sent", receiver=entry.receiver,
                       id=entry.signal_id, outcome=what, took_ms=took_ms, attempt=entry.attempt,
                       reason=getattr(outcome, "reason", ""))  # fmt: skip

    def ended(self, entry: OutboxEntry, ending: Ending) -> None:
        """An entry left the outbox."""
        if ending != "delivered":
            self._log.warning("signal_ended", receiver=entry.receiver, id=entry.signal_id, ending=ending)
        if entry.safety or ending == "expired":
            self.inbox.put(Finished(entry.signal_id, entry.receiver, ending, entry.safety))

    def watched(self, oldest_age_ms: Mapping[str, int]) -> None:
        """How long each receiver has been owed its oldest entry."""
        self._telemetry.record_receivers(oldest_age_ms)

    def safety_overdue(self, entry: OutboxEntry, age_ms: int) -> None:
        """A fallback or rollback has not arrived."""
        self._telemetry.overdue.labels(entry.receiver).inc()
        self._log.error("safety_signal_overdue", receiver=entry.receiver, id=entry.signal_id, age_ms=age_ms)
        self.inbox.put(Overdue(entry.signal_id, entry.receiver, age_ms, entry.alert_key))

    def faulted(self, receiver: str, error: Exception) -> None:
        """Delivery met a fault of its own and goes on."""
        self._telemetry.delivery_faults.labels(receiver).inc()
        self._log.error("delivery_faulted", receiver=receiver, error=repr(error))
        if isinstance(error, ROTTEN) and not isinstance(error, sqlite3.OperationalError):
            self.inbox.put(Suspected(repr(error)))

    # signs of life, from their threads

    def alive(self) -> tuple[bool, str]:
        """Whether the loop has made progress since the last time this was asked: turned, connected, saved."""
        turned, self._turns_told = self._turns > self._turns_told, self._turns
        if not turned:
            return False, "the main loop has not turned"
        if not self._connected:
            return False, "the source is not connected"
        since_ms = self._unsaved_ms
        if since_ms is not None and self._clock.elapsed_ms() - since_ms > UNSAVED_MS + self._save_wait_ms:
            return False, "nothing could be saved"
        return True, ""

    def beat(self, what: str, reason: str) -> None:
        """A heartbeat was sent, failed or was withheld."""
        self._telemetry.heartbeats.labels(what).inc()
        if reason:
            self._log.warning("heartbeat_missed", outcome=what, reason=reason)

    def probed(self, sent: bool, reason: str) -> None:
        """A probe was handed to the broker's client, or could not be."""
        self._telemetry.probes_sent.labels(PROBES[0] if sent else PROBES[1]).inc()
        if reason:
            self._log.warning("probe_failed", reason=reason)

    # answers, from the HTTP threads

    def healthy(self) -> tuple[bool, str]:
        """Whether the main loop turns."""
        still_ms = self._clock.elapsed_ms() - self._looped_ms
        return still_ms < STALLED_MS, f"main loop turned {still_ms / 1000:.1f} s ago"

    def ready(self) -> tuple[bool, str]:
        """Whether the source is connected and the loop turns."""
        good, text = self.healthy()
        return good and self._connected, text if self._connected else "the source is not connected"

    def status(self) -> dict[str, Any]:
        """Everything a person asks first."""
        with self._lock:
            return {
                "connected": self._connected,
                "config": self._config_hash,
                "events": self._events,
                "deployments": dict(self._deployments),
                "partitions": dict(self._partitions),
                "held": dict(self._held),
                "rejected": dict(self._rejected),
                "notes": dict(self._notes),
                "signals": list(self._recent),
                "desk": dict(self._desk),
            }


def _described(sealed: Sealed) -> dict[str, Any]:
    return {
        "sealed_until": rfc3339(sealed.end_ms),
        "baseline": sealed.baseline,
        "keys": [
            {
                "policy": policy,
                "stage": stage,
                "measurements": [
                    {"detector": m.detector, "statistic": m.statistic, "subject": m.subject, "value": number(m.value),
                     "error": number(m.error), "threshold": number(m.threshold), "n": m.n, "verdict": m.verdict.value,
                     "reason": m.reason}
                    for m in measurements
                ],
            }
            for (policy, stage), measurements in sealed.measured.items()
        ],
    }  # fmt: skip


def _held(found: Inventory) -> dict[str, Any]:
    return {
        "watermark": None if found.watermark_ms is None else rfc3339(found.watermark_ms),
        "newest_event": None if found.newest_ms is None else rfc3339(found.newest_ms),
        "decisions_pending": dict(found.pending),
        "rewards_orphaned": found.orphans,
        "actions_unserved": [dict(loop) for loop in found.loops],
        "labels_dropped": dict(found.labels_dropped),
        "alerts_firing": [dict(zip(ALERT, alert, strict=True)) for alert in sorted(found.firing)],
    }


def _summaries(sealed: Sealed) -> list[dict[str, Any]]:
    return [
        {
            "policy": policy,
            "stage": stage,
            **{verdict.value: sum(m.verdict is verdict for m in found) for verdict in Verdict},
            "breaches": [f"{m.detector}.{m.statistic}" for m in found if m.verdict is Verdict.BREACH],
        }
        for (policy, stage), found in sealed.measured.items()
    ]


def _brief(signal: Signal) -> dict[str, Any]:
    return {"id": signal.id, "time": rfc3339(signal.time_ms), "deployment": signal.deployment, "policy": signal.policy,
            "kind": signal.kind, "state": signal.state, "rule": signal.rule, "reason": signal.reason,
            "dry_run": signal.dry_run}  # fmt: skip
