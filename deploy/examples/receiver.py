"""A serving layer's end of the webhook: verify, drop repeats, refuse what is old, apply the fallback.

Run it with `python receiver.py PORT SECRET_FILE`. A real one keeps `seen` and `newest` where it keeps `serving`.
"""

import sys
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from standardwebhooks import Webhook, WebhookVerificationError


class Receiver:
    """What this serving layer serves, by deployment, and which signals it has acted on."""

    def __init__(self, secret: str) -> None:
        self.webhook, self.lock = Webhook(secret), Lock()
        self.serving: dict[str, str] = {}
        self.newest: dict[str, int] = {}
        self.seen: dict[str, None] = {}

    def receive(self, body: bytes, headers: dict[str, str]) -> str:
        """Act on a signal at most once; raises WebhookVerificationError or ValueError unless it is genuine."""
        signal = self.webhook.verify(body, headers)["data"]
        with self.lock:
            verdict = self.judge(signal, datetime.now(UTC))
            if verdict == "applied":
                self.serving[signal["deployment"]] = signal["to_policy"]
            self.newest[signal["deployment"]] = max(signal["generation"], self.newest.get(signal["deployment"], 0))
            self.seen[signal["id"]] = None
            if len(self.seen) > 10_000:
                del self.seen[next(iter(self.seen))]
            return verdict

    def judge(self, signal: dict, now: datetime) -> str:
        if signal["id"] in self.seen:
            return "repeated"
        if signal["generation"] < self.newest.get(signal["deployment"], 0):
            return "old generation"
        if signal["expires_at"] and datetime.fromisoformat(signal["expires_at"]) <= now:
            return "expired"
        acts = signal["kind"] in ("fallback", "rollback") and signal["state"] == "firing"
        return "applied" if acts and signal["to_policy"] and not signal["dry_run"] else "noted"


def server(receiver: Receiver, port: int) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 20_000))
            try:
                status, answer = 200, receiver.receive(body, dict(self.headers))
            except (WebhookVerificationError, ValueError, KeyError, TypeError):
                status, answer = 401, "not a genuine signal"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer.encode())

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    server(Receiver(open(sys.argv[2]).readline().strip()), int(sys.argv[1])).serve_forever()
