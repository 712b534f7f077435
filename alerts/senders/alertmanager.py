"""Prometheus Alertmanager, API v2: told again while an alert fires (it forgets), told once when it ends."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from alerts.outbox import Delivered, OutboxEntry, Outcome, Refused, Retry
from alerts.senders.http import DEADLINE_S, HttpPost, outcome_of
from alerts.senders.page_text import RUNBOOK, link, sections, shortened, title
from alerts.senders.pagerduty import SEVERITY
from alerts.senders.sender import ALL_KINDS
from alerts.signal import VIOLATION, Kind, Signal, SignalDecodeError, parse, rfc3339

REFRESH_MS = 60_000
REFRESH_RETRY_MS = 10_000
KEEP_MS = 15 * 60_000
"""How long an alert outlives its last refresh: a restart of this daemon must not look like a recovery."""

MAX_FIRING = 1_000
ANNOTATION_CHARS = 4_096
INVALID = frozenset({400, 413, 422})


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert that Alertmanager must go on hearing of."""

    signal: Signal
    due_ms: int

    def wait_ms(self, now_ms: int) -> int:
        """0 when it is due, also where the wall clock has been set back since that was planned."""
        left_ms = self.due_ms - now_ms
        return left_ms if 0 < left_ms <= REFRESH_MS else 0


class AlertmanagerSender:
    """One Alertmanager; after a restart, `resume` gives back the alerts that were firing."""

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        kinds: Collection[Kind] = ALL_KINDS,
        dry_run: bool = False,
        labels: Mapping[str, str] | None = None,
        runbook: str = RUNBOOK,
        allow_http: Collection[str] = (),
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.name = name
        self._post = HttpPost(
            base_url.rstrip("/") + "/api/v2/alerts", allow_http=allow_http, deadline_s=deadline_s
        )
        self._kinds = frozenset(kinds)
        self._dry_run = dry_run
        self._labels = dict(labels or {})
        self._runbook = runbook
        self._firing: dict[str, Firing] = {}
        self._still: Collection[str] | None = None
        self.forgotten = 0

    def accepts(self, signal: Signal) -> bool:
        return signal.kind in self._kinds and (self._dry_run or not signal.dry_run)

    def send(self, entry: OutboxEntry, now_s: float) -> Outcome:
        try:
            signal = parse(entry.payload)
        except SignalDecodeError as error:
            return Refused(str(error), permanent=True)
        now_ms = int(now_s * 1000)
        outcome = self._tell([signal], now_ms)
        if isinstance(outcome, Delivered):
            self._remember(signal, now_ms)
        return outcome

    def resume(self, signals: Iterable[Signal], now_ms: int) -> None:
        """Go on refreshing these firing alerts, at once: nobody did while the daemon was away."""
        for signal in signals:
            if signal.state == "firing" and self.accepts(signal):
                self._keep(signal, now_ms)

    def keep(self, alert_keys: Collection[str]) -> None:
        """Of what was told, these fire still: the rest has ended, though its end may never have got through."""
        self._still = alert_keys

    def refresh_due(self, now_ms: int) -> int | None:
        """Milliseconds until some alert must be sent again (0: now); None when none fires."""
        if self._still is not None:
            still, self._still = self._still, None
            self._firing = {key: firing for key, firing in self._firing.items() if key in still}
        return min((firing.wait_ms(now_ms) for firing in self._firing.values()), default=None)

    def refresh(self, now_s: float) -> Outcome:
        """Send all alerts that are due again, in one request."""
        now_ms = int(now_s * 1000)
        due = [firing.signal for firing in self._firing.values() if not firing.wait_ms(now_ms)]
        if not due:
            return Delivered()
        outcome = self._tell(due, now_ms)
        again_ms = now_ms + (REFRESH_RETRY_MS if isinstance(outcome, Retry | Refused) else REFRESH_MS)
        for signal in due:
            self._firing[signal.alert_key] = Firing(signal, again_ms)
        return outcome

    def _tell(self, signals: Iterable[Signal], now_ms: int) -> Outcome:
        body = msgspec.json.encode([alert(s, now_ms, self._labels, self._runbook) for s in signals])
        answer = self._post(body, {"Content-Type": "application/json"})
        return outcome_of(answer, now_ms / 1000, INVALID)

    def _remember(self, signal: Signal, now_ms: int) -> None:
        if signal.state == "resolved":
            self._firing.pop(signal.alert_key, None)
        else:
            self._keep(signal, now_ms + REFRESH_MS)

    def _keep(self, signal: Signal, due_ms: int) -> None:
        self._firing.pop(signal.alert_key, None)
        self._firing[signal.alert_key] = Firing(signal, due_ms)
        while len(self._firing) > MAX_FIRING:
            del self._firing[next(iter(self._firing))]
            self.forgotten += 1


def alert(
    signal: Signal, now_ms: int, labels: Mapping[str, str], runbook: str = RUNBOOK
) -> dict[str, object]:
    """One alert of the API: what identifies it are its labels, so these are the same firing and resolved."""
    own = {
        "alertname": f"policywatch_{signal.rule}",
        "deployment": signal.deployment,
        "policy": signal.policy,
        "rule": signal.rule,
        "subject": signal.subject,
        "kind": signal.kind,
        "severity": SEVERITY[signal.kind],
    }
    if signal.hard:
        own["condition"] = VIOLATION
    if signal.dry_run:
        own["dry_run"] = "true"
    told: dict[str, object] = {
        "labels": {key: value for key, value in (dict(labels) | own).items() if value},
        "annotations": _annotations(signal, runbook),
    }
    # An end in the future would leave the alert firing until then: event time can be ahead of our clock.
    if signal.state == "resolved":
        return told | {"endsAt": rfc3339(min(signal.time_ms, now_ms))}
    return told | {"startsAt": rfc3339(min(signal.time_ms, now_ms)), "endsAt": rfc3339(now_ms + KEEP_MS)}


def _annotations(signal: Signal, runbook: str) -> dict[str, str]:
    told = {heading.lower().replace(" ", "_"): text for heading, text in sections(signal, runbook)}
    told |= {"summary": title(signal), "runbook_url": link(signal, runbook), "signal_id": signal.id}
    return {key: shortened(text, ANNOTATION_CHARS) for key, text in told.items()}
