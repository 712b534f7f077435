"""Every Prometheus metric by name, in one place; labels from outside are bounded, the rest is a closed set."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import isnan
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from alerts.desk import Desk
from alerts.rules import Kind
from alerts.signal import Signal, State
from detectors.measurement import Measurement, Verdict
from monitor.batch import Rejected
from monitor.decoding.reasons import Reason
from monitor.observability.bounded_series import BoundedSeries, Series
from monitor.observability.inventory import Inventory
from monitor.sealed import Sealed

MAX_SERIES = 4_000  # of measurements, verdicts and alerts together; further ones are counted, not exported
KEY = ("deployment", "policy", "stage")
STATISTIC = ("detector", "statistic", "subject")
ENDINGS = ("delivered", "expired", "superseded", "refused", "exhausted", "dropped")
RELOADS = ("taken", "refused")
HEARTBEATS = ("sent", "failed", "withheld")
PROBES = ("sent", "failed")
SAFE_BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
SAVE_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Telemetry:
    """The metrics of one process, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._source()
        self._state()
        self._findings()
        self._delivery()
        self._process()
        self._bounded = BoundedSeries(MAX_SERIES)
        self._partitions: set[str] = set()
        self._begun: set[str] = set()
        self.probing_since_ms = 0
        self._totals: dict[Counter, float] = {}

    def _source(self) -> None:
        self.sources = self._gauge("source_connected", "1 while the broker answers")
        self.events = self._counter("events_total", "Usable events read", "partition")
        self.rejected = self._counter("records_rejected_total", "Records that could not be used", "reason")
        self.dropped = self._counter("dead_letters_dropped_total", "Unusable records that could not be kept")
        self.position = self._gauge("partition_position", "Next offset to be read", "partition")
        self.lag = self._gauge("partition_lag_records", "Records not yet read", "partition")
        self.idle = self._gauge(
            "partition_idle", "1 while a partition is left out of the watermark", "partition"
        )
        self.last_event = self._gauge("last_event_received_seconds", "Wall time at which the last event came")
        self.approved = self._counter(
            "actions_approved_total", "Forbidden actions that a person had approved"
        )
        self.names_dropped = self._counter(
            "names_dropped_total", "Values of costs, components, segments, candidates beyond the names kept"
        )
        self.labels_dropped = self._counter(
            "labels_dropped_total", "Rows counted as (other): too many different names", "table"
        )
        for reason in Reason:  # a counter that begins at its first event has no increase that could be seen
            self.rejected.labels(reason.value)

    def _state(self) -> None:
        self.newest = self._gauge("newest_event_seconds", "Event time of the newest event")
        self.watermark = self._gauge("watermark_seconds", "Event time below which no more events are awaited")
        self.watermark_lag = self._gauge("watermark_lag_seconds", "Newest event time minus the watermark")
        self.buckets = self._counter("buckets_sealed_total", "Buckets sealed", "deployment")
        self.bucket = self._gauge("bucket_seconds", "Length of a bucket", "deployment")
        self.sealed_until = self._gauge(
            "sealed_until_seconds", "Event time of the end of the newest sealed bucket", "deployment"
        )
        self.last_sealed = self._gauge(
            "last_bucket_sealed_seconds",
            "Wall time at which the last bucket was sealed, or the start",
            "deployment",
        )
        self.decisions = self._counter(
            "decisions_counted_total", "Decisions counted in sealed buckets", "deployment"
        )
        self.pending = self._gauge("decisions_pending", "Decisions that wait for rewards", "deployment")
        self.orphans = self._gauge("rewards_orphaned", "Rewards that wait for their decision")
        self.save_seconds = self._histogram(
            "checkpoint_save_seconds", "Time to save state, positions and signals", SAVE_BUCKETS
        )
        self.last_saved = self._gauge("last_checkpoint_saved_seconds", "Wall time of the last save")
        self.state_bytes = self._gauge("checkpoint_bytes", "Size of the saved state")

    def _findings(self) -> None:
        self.measurement = self._gauge("measurement", "Newest value", *KEY, *STATISTIC)
        self.threshold = self._gauge("measurement_threshold", "Its line", *KEY, *STATISTIC)
        self.verdicts = self._gauge("verdicts", "Newest measurements by verdict", *KEY, "verdict")
        self.firing = self._gauge("alerts_firing", "1 while an alert fires", *KEY, "rule")
        self.series_dropped = self._counter("series_dropped_total", "Values not exported: too many series")
        self.signals = self._counter("signals_total", "Signals raised", "deployment", "kind", "state")

        self.muted = self._gauge(
            "alerts_muted", "Alerts that fire and whose page waits behind their cause", "deployment"
        )
        self.loops_open = self._gauge(
            "actions_unserved",
            "Fallbacks and rollbacks that decisions do not show to be served yet",
            "deployment",
        )
        self.time_to_safe = self._histogram(
            "time_to_safe_seconds",
            "Event time from a fallback or rollback to the last decision of what it stopped",
            SAFE_BUCKETS,
            "deployment",
            "kind",
        )

        self.silences = self._gauge("silences_active", "Silences in force")
        self.silenced = self._counter("signals_silenced_total", "Pages that a silence stopped")
        self.approvals = self._gauge("approvals_waiting", "Fallbacks and rollbacks that wait for a person")
        self.held_back = self._gauge("signals_held_back", "Signals of a backlog that wait for its end")
        self.audited = self._counter(
            "audit_records_total", "Records of the audit log since the start", "what"
        )

    def _delivery(self) -> None:
        self.attempts = self._counter("delivery_attempts_total", "Attempts to deliver", "receiver", "outcome")
        self.waiting = self._gauge("delivery_pending", "Signals not yet delivered", "receiver")
        self.undelivered = self._gauge(
            "delivery_oldest_age_seconds", "Age of the oldest undelivered", "receiver"
        )
        self.ended = self._counter(
            "delivery_ended_total", "Signals that left the outbox, since the state file was made",
            "receiver", "ending",
        )  # fmt: skip
        self.overdue = self._counter(
            "safety_signals_overdue_total", "Safety signals undelivered after 60 s", "receiver"
        )
        self.delivery_faults = self._counter("delivery_faults_total", "Faults of delivery itself", "receiver")
        self._receivers: set[str] = set()

    def _process(self) -> None:
        self.heartbeats = self._counter(
            "heartbeats_total", "Calls of the dead-man's switch, made or withheld", "outcome"
        )
        self.probes_sent = self._counter(
            "probes_sent_total", "Probes written to the decisions topic", "outcome"
        )
        self.probes_seen = self._counter("probes_received_total", "Probes that came through to the decoder")
        self.probe_age = self._gauge(
            "probe_age_seconds", "Time since the newest probe that came through was made; 0 without probes"
        )
        for outcome in HEARTBEATS:
            self.heartbeats.labels(outcome)
        for outcome in PROBES:
            self.probes_sent.labels(outcome)
        self.loops = self._counter("loops_total", "Turns of the main loop")
        self.reloads = self._counter("config_reloads_total", "Reloads of the config", "outcome")
        self.reload_ok = self._gauge("config_reload_ok", "0 after a reload was refused, until one is taken")
        self.build = self._gauge(
            "build_info", "1, with the version and the hash of the config", "version", "config"
        )
        self.baseline_short = self._gauge(
            "baseline_short", "1 if the baseline is shorter than the budget asks", "deployment"
        )
        self.reload_ok.set(1)
        for outcome in RELOADS:
            self.reloads.labels(outcome)

    # what the loop reports

    def record_build(self, version: str, config: str) -> None:
        """The version that runs and the hash of the config in force."""
        self.build.clear()
        self.build.labels(version, config).set(1)

    def record_reload(self, taken: bool) -> None:
        """A reload was asked for."""
        self.reloads.labels(RELOADS[0] if taken else RELOADS[1]).inc()
        self.reload_ok.set(taken)

    def record_sealed(self, sealed: Sealed, now_ms: int) -> None:
        """Export one sealed bucket; what a key no longer measures disappears."""
        self.buckets.labels(sealed.deployment).inc()
        self._begun.add(sealed.deployment)
        self.last_sealed.labels(sealed.deployment).set(now_ms / 1000)
        self.sealed_until.labels(sealed.deployment).set(sealed.end_ms / 1000)
        self.decisions.labels(sealed.deployment).inc(sealed.decisions)
        self.loops_open.labels(sealed.deployment).set(sealed.loops_open)
        for one in sealed.safe:
            self.time_to_safe.labels(sealed.deployment, one.kind).observe(one.took_ms / 1000)
        left_out = 0
        shown = self._keys_shown(sealed.deployment)
        for gone in [key for key in shown if key not in sealed.measured]:
            self._bounded.forget(("key", sealed.deployment, *gone))
        for key, found in sealed.measured.items():
            if self._bounded.room > 0 or key in shown:
                name = (sealed.deployment, *key)
                left_out += self._bounded.show(("key", *name), self._measured(name, found))
            else:
                left_out += len(Verdict) + len(found)
        self.series_dropped.inc(left_out)

    def record_desk(self, desk: Desk) -> None:
        """What is withheld, and by whom."""
        self.silences.set(len(desk.silencing.silences))
        self.approvals.set(len(desk.approvals.waiting))
        self.held_back.set(len(desk.backlog.held))
        self._follow(self.silenced, desk.silencing.silenced)

    def record_signal(self, signal: Signal) -> None:
        """Count a signal."""
        self.signals.labels(signal.deployment, signal.kind, signal.state).inc()

    def record_rejected(self, rejected: Sequence[Rejected]) -> None:
        """Count by reason."""
        for one in rejected:
            self.rejected.labels(one.reason).inc()

    def record_receivers(self, oldest_age_ms: Mapping[str, int]) -> None:
        """Every receiver and how long it has been owed its oldest signal; a receiver that is gone disappears."""
        for gone in self._receivers - oldest_age_ms.keys():
            _discard(self.undelivered, gone)
            _discard(self.waiting, gone)
        for receiver, age_ms in oldest_age_ms.items():
            self.undelivered.labels(receiver).set(age_ms / 1000)
            self.overdue.labels(receiver)
            self.delivery_faults.labels(receiver)
        self._receivers = set(oldest_age_ms)

    def record_inventory(self, found: Inventory, now_ms: int) -> None:
        """What the daemon holds."""
        self._record_source(found)
        self._forget_deployments(self._begun - found.bucket_ms.keys())
        self.orphans.set(found.orphans)
        for deployment, bucket_ms in found.bucket_ms.items():
            self.bucket.labels(deployment).set(bucket_ms / 1000)
            self.pending.labels(deployment).set(found.pending[deployment])
            self.buckets.labels(deployment)
            if deployment not in self._begun:
                self._begun.add(deployment)
                self.last_sealed.labels(deployment).set(now_ms / 1000)
        if found.newest_ms is not None:
            self.newest.set(found.newest_ms / 1000)
        if found.watermark_ms is not None and found.newest_ms is not None:
            self.watermark.set(found.watermark_ms / 1000)
            self.watermark_lag.set((found.newest_ms - found.watermark_ms) / 1000)
        firing: dict[Series, float] = {(self.firing, alert): 1.0 for alert in sorted(found.firing)}
        self.series_dropped.inc(self._bounded.show("firing", firing))
        self._record_outbox(found.outbox)
        for deployment, alerts in found.muted.items():
            self.muted.labels(deployment).set(alerts)
        self._follow(self.probes_seen, found.probes)
        if self.probing_since_ms:
            since_ms = max(found.probe_ms, self.probing_since_ms)
            self.probe_age.set(max(0, now_ms - since_ms) / 1000)

    def begin_probing(self, now_ms: int) -> None:
        """Probes are sent from now on: until one has come through, its age counts from here."""
        self.probing_since_ms = now_ms

    def _forget_deployments(self, gone: AbstractSet[str]) -> None:
        """A deployment that left the config takes its series along, or an alert would ask after it for ever."""
        for name in gone:
            for metric in (self.buckets, self.bucket, self.sealed_until, self.last_sealed, self.decisions, self.pending,
                           self.muted, self.loops_open, self.baseline_short):  # fmt: skip
                _discard(metric, name)
            for kind in Kind:
                _discard(self.time_to_safe, name, kind)
                for state in get_args(State):
                    _discard(self.signals, name, kind, state)
            for key in self._keys_shown(name):
                self._bounded.forget(("key", name, *key))
        self._begun -= gone

    def _record_source(self, found: Inventory) -> None:
        for gone in self._partitions - set(found.partitions):
            for gauge in (self.position, self.lag, self.idle):
                _discard(gauge, gone)
        self._partitions = set(found.partitions)
        for partition, records in found.lag.items():
            self.lag.labels(partition).set(records)
        self._follow(self.approved, found.approved)
        self._follow(self.names_dropped, found.names_dropped)
        self._follow(self.dropped, found.dead_letters_dropped)
        for table, rows in found.labels_dropped.items():
            self._follow(self.labels_dropped.labels(table), rows)

    def _record_outbox(self, outbox: Mapping[tuple[str, str], int]) -> None:
        for receiver in self._receivers:
            self.waiting.labels(receiver).set(outbox.get((receiver, "pending"), 0))
            for ending in ENDINGS:
                self._follow(self.ended.labels(receiver, ending), outbox.get((receiver, ending), 0))

    def _follow(self, counter: Counter, total: float) -> None:
        """A counter of what somebody else counts; a total that has become smaller began anew, as after a reload."""
        before = self._totals.get(counter, 0.0)
        counter.inc(total - before if total >= before else total)
        self._totals[counter] = total

    def _keys_shown(self, deployment: str) -> set[tuple[str, str]]:
        groups = (group for group in self._bounded.groups() if isinstance(group, tuple))
        return {(policy, stage) for _, name, policy, stage in groups if name == deployment}

    def _measured(self, key: tuple[str, ...], found: Sequence[Measurement]) -> dict[Series, float]:
        values: dict[Series, float] = {
            (self.verdicts, (*key, verdict.value)): float(sum(m.verdict is verdict for m in found))
            for verdict in Verdict
        }
        for m in found:
            labels = (*key, m.detector, m.statistic, m.subject)
            values[self.measurement, labels] = m.value
            if not isnan(m.threshold):
                values[self.threshold, labels] = m.threshold
        return values

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"policywatch_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"policywatch_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"policywatch_{name}", text, labels, buckets=buckets, registry=self.registry)


def _discard(metric: Gauge | Counter | Histogram, *labels: str) -> None:
    try:
        metric.remove(*labels)
    except KeyError:
        return
