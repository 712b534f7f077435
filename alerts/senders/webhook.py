"""A serving layer's webhook, signed as Standard Webhooks 1.0.0 says; the library signs."""

import base64
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace
from standardwebhooks import Webhook

from alerts.outbox import OutboxEntry, Outcome, Refused, Retry
from alerts.senders.http import DEADLINE_S, HttpPost, outcome_of
from alerts.senders.page_text import shortened
from alerts.senders.sender import ALL_KINDS, ReceiverConfigError, Secret, secrets_in
from alerts.signal import CONTENT_TYPE, Kind, Signal, cloudevent, parse

MAX_BODY_BYTES = 20_000
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 8, 64  # the specification recommends 24 to 64; shorter ones are in use
SHORT_REASON_CHARS = 1_000


class WebhookSender:
    """Posts the signal's own bytes; a 4xx may be a receiver's bad release, so it too is tried again."""

    def __init__(
        self,
        name: str,
        url: str,
        secret_file: Secret,
        *,
        kinds: Collection[Kind] = ALL_KINDS,
        dry_run: bool = True,
        allow_http: Collection[str] = (),
        deadline_s: float = DEADLINE_S,
        ca_file: Path | None = None,
    ) -> None:
        self.name = name
        self._post = HttpPost(url, allow_http=allow_http, deadline_s=deadline_s, ca_file=ca_file)
        self._secret_file = secret_file
        self._kinds = frozenset(kinds)
        self._dry_run = dry_run
        signers(secret_file)

    def accepts(self, signal: Signal) -> bool:
        """Kinds as configured; a dry run goes out too, marked `dry_run`, unless configured away."""
        return signal.kind in self._kinds and (self._dry_run or not signal.dry_run)

    def send(self, entry: OutboxEntry, now_s: float) -> Outcome:
        """The same id and body on every attempt, a fresh timestamp, one signature per secret."""
        try:
            keys = signers(self._secret_file)
        except (OSError, ReceiverConfigError) as error:
            return Retry(None, f"webhook secret not usable ({type(error).__name__})")
        body = fitted(entry.payload)
        if body is None:
            return Refused(f"larger than {MAX_BODY_BYTES} bytes without culprits", permanent=True)
        moment = datetime.fromtimestamp(int(now_s), UTC)
        headers = {
            "Content-Type": CONTENT_TYPE,
            "webhook-id": entry.signal_id,
            "webhook-timestamp": str(int(now_s)),
            "webhook-signature": " ".join(key.sign(entry.signal_id, moment, body.decode()) for key in keys),
        }
        return outcome_of(self._post(body, headers), now_s)


def signers(secret_file: Secret) -> tuple[Webhook, ...]:
    """One signer per secret of the file, newest first; raises ReceiverConfigError, the secret unnamed."""
    return tuple(_signer(secret, line) for line, secret in enumerate(secrets_in(secret_file), 1))


def fitted(payload: bytes) -> bytes | None:
    """The payload within 20 KB: culprits go first, the least before; then the reason is cut; else None."""
    if len(payload) <= MAX_BODY_BYTES:
        return payload
    signal = parse(payload)
    culprits = signal.evidence.culprits
    while culprits:
        culprits = culprits[: len(culprits) // 2]
        body = cloudevent(replace(signal, evidence=replace(signal.evidence, culprits=culprits)))
        if len(body) <= MAX_BODY_BYTES:
            return body
    bare = replace(signal, evidence=replace(signal.evidence, culprits=()))
    body = cloudevent(replace(bare, reason=shortened(signal.reason, SHORT_REASON_CHARS)))
    return body if len(body) <= MAX_BODY_BYTES else None


def _signer(secret: str, line: int) -> Webhook:
    try:
        size = len(base64.b64decode(secret.removeprefix("whsec_") + "=="))
    except ValueError:
        raise ReceiverConfigError(f"secret {line} is not base64 (whsec_...)") from None
    if not MIN_SECRET_BYTES <= size <= MAX_SECRET_BYTES:
        raise ReceiverConfigError(
            f"secret {line} has {size} bytes: it must have {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES}"
        )
    return Webhook(secret)
