"""A chat channel behind a Slack-compatible incoming webhook; its URL is a secret and lives in a file."""

from collections.abc import Collection

import msgspec

from alerts.outbox import OutboxEntry, Outcome, Refused
from alerts.senders.http import DEADLINE_S, HttpPost, outcome_of
from alerts.senders.page_text import RUNBOOK, sections, shortened, title
from alerts.senders.sender import ALL_KINDS, Secret, secrets_in
from alerts.signal import Kind, Signal, SignalDecodeError, parse

HEADER_CHARS = 150
SECTION_CHARS = 2_900
INVALID = frozenset({400, 413, 422})


class ChatSender:
    """One channel; dry runs are shown, marked."""

    def __init__(
        self,
        name: str,
        url_file: Secret,
        *,
        kinds: Collection[Kind] = ALL_KINDS,
        dry_run: bool = True,
        runbook: str = RUNBOOK,
        allow_http: Collection[str] = (),
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.name = name
        self._post = HttpPost(secrets_in(url_file)[0], allow_http=allow_http, deadline_s=deadline_s)
        self._kinds = frozenset(kinds)
        self._dry_run = dry_run
        self._runbook = runbook

    def accepts(self, signal: Signal) -> bool:
        return signal.kind in self._kinds and (self._dry_run or not signal.dry_run)

    def send(self, entry: OutboxEntry, now_s: float) -> Outcome:
        try:
            signal = parse(entry.payload)
        except SignalDecodeError as error:
            return Refused(str(error), permanent=True)
        body = msgspec.json.encode(message(signal, self._runbook))
        return outcome_of(self._post(body, {"Content-Type": "application/json"}), now_s, INVALID)


def message(signal: Signal, runbook: str = RUNBOOK) -> dict[str, object]:
    """`text` is what a phone shows and what plain receivers read; the blocks are the page."""
    head = title(signal)
    blocks: list[object] = [
        {"type": "header", "text": {"type": "plain_text", "text": shortened(head, HEADER_CHARS)}}
    ]
    for heading, text in sections(signal, runbook):
        markdown = f"*{heading}*\n{shortened(escaped(text), SECTION_CHARS)}"
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": markdown}})
    return {"text": shortened(escaped(f"{head}: {signal.reason}"), SECTION_CHARS), "blocks": blocks}


def escaped(text: str) -> str:
    """Slack's three control characters, so that a feature named <!channel> rings nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
