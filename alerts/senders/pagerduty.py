"""PagerDuty, Events API v2: trigger, acknowledge, resolve under one dedup key per alert."""

from collections.abc import Collection
from typing import Any, Literal

import msgspec

from alerts.outbox import OutboxEntry, Outcome, Refused, Retry
from alerts.senders.http import DEADLINE_S, HttpPost, outcome_of
from alerts.senders.page_text import RUNBOOK, link, sections, shortened, title
from alerts.senders.sender import PAGER_KINDS, ReceiverConfigError, Secret, secrets_in
from alerts.signal import Kind, Signal, SignalDecodeError, parse, rfc3339

Action = Literal["trigger", "acknowledge", "resolve"]

BASE_URL = "https://events.pagerduty.com"
SUMMARY_CHARS = 1_024
DETAIL_CHARS = 4_096
CULPRITS = 20
INVALID = frozenset({400, 413, 422})
"""The event itself is wrong: PagerDuty says not to send it again."""

SEVERITY: dict[Kind, str] = {
    "fallback": "critical",
    "rollback": "critical",
    "hold": "error",
    "page": "error",
    "retrain": "warning",
    "promote": "info",
}


class PagerDutySender:
    """One integration key; a dry run pages nobody unless configured to."""

    def __init__(
        self,
        name: str,
        routing_key_file: Secret,
        *,
        kinds: Collection[Kind] = PAGER_KINDS,
        dry_run: bool = False,
        base_url: str = BASE_URL,
        runbook: str = RUNBOOK,
        allow_http: Collection[str] = (),
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.name = name
        self._post = HttpPost(
            base_url.rstrip("/") + "/v2/enqueue", allow_http=allow_http, deadline_s=deadline_s
        )
        self._key_file = routing_key_file
        self._kinds = frozenset(kinds)
        self._dry_run = dry_run
        self._runbook = runbook
        secrets_in(routing_key_file)

    def accepts(self, signal: Signal) -> bool:
        return signal.kind in self._kinds and (self._dry_run or not signal.dry_run)

    def send(self, entry: OutboxEntry, now_s: float) -> Outcome:
        try:
            signal = parse(entry.payload)
        except SignalDecodeError as error:
            return Refused(str(error), permanent=True)
        return self._enqueue(signal, _action(entry, signal), now_s)

    def acknowledges(self, signal: Signal) -> bool:
        """Whoever has acknowledged the alert here need not be called from there."""
        return self.accepts(signal)

    def _enqueue(self, signal: Signal, action: Action, now_s: float) -> Outcome:
        try:
            routing_key = secrets_in(self._key_file)[0]
        except (OSError, ReceiverConfigError) as error:
            return Retry(None, f"routing key not usable ({type(error).__name__})")
        body = msgspec.json.encode(event(signal, action, routing_key, self._runbook))
        return outcome_of(self._post(body, {"Content-Type": "application/json"}), now_s, INVALID)


def _action(entry: OutboxEntry, signal: Signal) -> Action:
    if entry.signal_id == signal.acknowledgement:
        return "acknowledge"
    return "trigger" if signal.state == "firing" else "resolve"


def event(signal: Signal, action: Action, routing_key: str, runbook: str = RUNBOOK) -> dict[str, Any]:
    """The request: everything for a trigger; key and action alone are what the others need."""
    head = {"routing_key": routing_key, "event_action": action, "dedup_key": signal.alert_key}
    if action != "trigger":
        return head
    url = link(signal, runbook)
    links = [{"href": url, "text": "Runbook"}] if url.startswith("https://") else []
    return head | {"client": "policywatch", "links": links, "payload": _payload(signal, runbook)}


def _payload(signal: Signal, runbook: str) -> dict[str, Any]:
    details = {heading: shortened(text, DETAIL_CHARS) for heading, text in sections(signal, runbook)}
    return {
        "summary": shortened(f"{title(signal)}: {signal.reason}", SUMMARY_CHARS),
        "source": signal.deployment,
        "severity": SEVERITY[signal.kind],
        "timestamp": rfc3339(signal.time_ms),
        "component": signal.policy,
        "group": signal.deployment,
        "class": signal.rule,
        "custom_details": details
        | {
            "signal_id": signal.id,
            "dry_run": signal.dry_run,
            "culprits": [shortened(name, 200) for name in signal.evidence.culprits[:CULPRITS]],
        },
    }
