"""Every Prometheus metric by name, in one place; bounded labels, cached children."""

from collections.abc import Mapping, Sequence
from math import isnan

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from alerts.signal import Signal
from detectors.measurement import Measurement, Verdict
from monitor.batch import Rejected
from monitor.sealed import Sealed

MAX_SERIES = 5_000  # of measurements; further ones are counted, not exported
KEY = ("deployment", "policy", "stage")


class Telemetry:
    """The metrics of one process, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = self._counter("events_total", "Usable events read", "partition")
        self.rejected = self._counter("records_rejected_total", "Records that could not be used", "reason")
        self.dropped = self._counter("dead_letters_dropped_total", "Unusable records that could not be kept")
        self.position = self._gauge("partition_position", "Next offset to be read", "partition")
        self.lag = self._gauge("partition_lag_records", "Records not yet read", "partition")
        self.idle = self._gauge(
            "partition_idle", "1 while a partition is left out of the watermark", "partition"
        )
        self.watermark = self._gauge("watermark_seconds", "Event time below which everything is sealed")
        self.newest = self._gauge("newest_event_seconds", "Event time of the newest event")
        self.last_event = self._gauge("last_event_received_seconds", "Wall time at which the last event came")
        self.buckets = self._counter("buckets_sealed_total", "Buckets sealed", "deployment")
        self.decisions = self._counter(
            "decisions_counted_total", "Decisions counted in sealed buckets", "deployment"
        )
        self.pending = self._gauge("decisions_pending", "Decisions that wait for rewards", "deployment")
        self.measurement = self._gauge(
            "measurement", "Newest value", *KEY, "detector", "statistic", "subject"
        )
        self.threshold = self._gauge(
            "measurement_threshold", "Its line", *KEY, "detector", "statistic", "subject"
        )
        self.verdicts = self._gauge("verdicts", "Newest measurements by verdict", *KEY, "verdict")
        self.series_dropped = self._counter(
            "series_dropped_total", "Measurements not exported: too many series"
        )
        self.firing = self._gauge("alerts_firing", "1 while an alert fires", *KEY, "rule")
        self.signals = self._counter("signals_total", "Signals raised", "deployment", "kind", "state")
        self.attempts = self._counter("delivery_attempts_total", "Attempts to deliver", "receiver", "outcome")
        self.undelivered = self._gauge(
            "delivery_oldest_age_seconds", "Age of the oldest undelivered", "receiver"
        )
        self.overdue = self._counter(
            "safety_signals_overdue_total", "Safety signals undelivered after 60 s", "receiver"
        )
        self.save_seconds = self._histogram(
            "checkpoint_save_seconds", "Time to save state, positions and signals"
        )
        self.state_bytes = self._gauge("checkpoint_bytes", "Size of the saved state")
        self.loops = self._counter("loops_total", "Turns of the main loop")
        self.reloads = self._counter("config_reloads_total", "Reloads of the config", "outcome")
        self.build = self._gauge(
            "build_info", "1, with the version and the hash of the config", "version", "config"
        )
        self.baseline_short = self._gauge(
            "baseline_short", "1 if the baseline is shorter than the budget asks", "deployment"
        )
        self.sources = self._gauge("source_connected", "1 while the broker answers")
        self._exported: dict[tuple[str, ...], set[tuple[str, ...]]] = {}

    def record_sealed(self, sealed: Sealed) -> None:
        """Export one sealed bucket; what a key no longer measures disappears."""
        self.buckets.labels(sealed.deployment).inc()
        self.decisions.labels(sealed.deployment).inc(sealed.decisions)
        keys = {(sealed.deployment, *key): measurements for key, measurements in sealed.measured.items()}
        for gone in [key for key in self._exported if key[0] == sealed.deployment and key not in keys]:
            self._forget(gone)
        for key, measurements in keys.items():
            self._export(key, measurements)

    def record_signal(self, signal: Signal) -> None:
        """Count a signal and show whether its alert fires."""
        self.signals.labels(signal.deployment, signal.kind, signal.state).inc()
        self.firing.labels(signal.deployment, signal.policy, signal.subject, signal.rule).set(
            signal.state == "firing"
        )

    def record_rejected(self, rejected: Sequence[Rejected]) -> None:
        """Count by reason."""
        for one in rejected:
            self.rejected.labels(one.reason).inc()

    def _export(self, key: tuple[str, ...], measurements: Sequence[Measurement]) -> None:
        counts: Mapping[Verdict, int] = {v: sum(m.verdict is v for m in measurements) for v in Verdict}
        for verdict, count in counts.items():
            self.verdicts.labels(*key, verdict.value).set(count)
        shown: set[tuple[str, ...]] = set()
        room = MAX_SERIES - sum(len(names) for other, names in self._exported.items() if other != key)
        for m in measurements:
            name = (m.detector, m.statistic, m.subject)
            if len(shown) >= room:
                self.series_dropped.inc()
                continue
            shown.add(name)
            self.measurement.labels(*key, *name).set(m.value)
            if not isnan(m.threshold):
                self.threshold.labels(*key, *name).set(m.threshold)
        for gone in self._exported.get(key, set()) - shown:
            self._remove(key, gone)
        self._exported[key] = shown

    def _forget(self, key: tuple[str, ...]) -> None:
        for name in self._exported.pop(key):
            self._remove(key, name)
        for verdict in Verdict:
            _discard(self.verdicts, (*key, verdict.value))

    def _remove(self, key: tuple[str, ...], name: tuple[str, ...]) -> None:
        _discard(self.measurement, (*key, *name))
        _discard(self.threshold, (*key, *name))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"policywatch_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"policywatch_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"policywatch_{name}", text, registry=self.registry)


def _discard(gauge: Gauge, labels: tuple[str, ...]) -> None:
    try:
        gauge.remove(*labels)
    except KeyError:
        return
