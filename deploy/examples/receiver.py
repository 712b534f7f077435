"""A serving layer's end of the webhook: verify, drop repeats, refuse what is old, apply the fallback.

`python receiver.py PORT SECRET_FILE`. A real one keeps `seen` and `newest` where it keeps `serving`.
"""

import sys
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError


class Receiver:
    """What is served, and which signals have been acted on."""

    def __init__(self, secret: str) -> None:
        self.webhook, self.lock = Webhook(secret), Lock()
        self.serving: dict[str, str] = {}  # policy by deployment, until a person changes it back
        self.newest: dict[str, int] = {}  # generation by deployment
        self.seen: dict[str, None] = {}  # ids, oldest first

    def receive(self, body: bytes, headers: dict[str, str]) -> str:
        signal = self.webhook.verify(body, headers)["data"]
        with self.lock:
            verdict = self.judge(signal, self.newest.get(signal["deployment"], 0))
            if verdict == "applied":
                self.serving[signal["deployment"]] = signal["to_policy"]
            if verdict not in (
                "repeated",
                "old",
                "expired",
            ):  # sent again under its id, with a fresh life, it counts
                self.newest[signal["deployment"]] = signal["generation"]
                self.seen = dict.fromkeys([*self.seen, signal["id"]][-10_000:])
        return verdict

    def judge(self, signal: dict[str, Any], newest: int) -> str:
        if signal["id"] in self.seen:
            return "repeated"
        if signal["generation"] <= newest:
            return "old"
        if signal["expires_at"] and datetime.fromisoformat(signal["expires_at"]) <= datetime.now(UTC):
            return "expired"
        acts = signal["kind"] in ("fallback", "rollback") and signal["state"] == "firing"
        return "applied" if acts and signal["to_policy"] and not signal["dry_run"] else "noted"


class Handler(BaseHTTPRequestHandler):
    """The HTTP around it: 2xx says that the signal need not be sent again."""

    receiver: Receiver
    timeout = 5

    def do_POST(self) -> None:
        try:
            body = self.rfile.read(max(0, min(int(self.headers.get("Content-Length", 0)), 20_000)))
            status, answer = 200, self.receiver.receive(body, dict(self.headers))
        except (WebhookVerificationError, ValueError, LookupError, TypeError):
            status, answer = 401, "not a genuine signal"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(answer.encode())


if __name__ == "__main__":
    Handler.receiver = Receiver(Path(sys.argv[2]).read_text().split()[0])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
