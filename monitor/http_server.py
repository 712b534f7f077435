"""One HTTP port: metrics, health, readiness and status; loopback unless the config says otherwise."""

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

Reply = tuple[int, str, bytes]
Route = Callable[[], Reply]


class HttpServer:
    """Serves GET routes from a thread; each answers from what the main loop last published."""

    def __init__(self, host: str, port: int, routes: Mapping[str, Route]) -> None:
        self._server = ThreadingHTTPServer((host, port), _handler(dict(routes)))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on (useful with port 0)."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        if self._thread.ident is not None:
            self._server.shutdown()
        self._server.server_close()


def metrics_route(registry: CollectorRegistry) -> Route:
    """The Prometheus text format."""
    return lambda: (200, CONTENT_TYPE_LATEST, generate_latest(registry))


def json_route(answer: Callable[[], Any]) -> Route:
    """Any value as JSON."""
    return lambda: (200, "application/json", json.dumps(answer(), allow_nan=False).encode() + b"\n")


def yes_no_route(answer: Callable[[], tuple[bool, str]]) -> Route:
    """200 or 503 with a reason."""

    def route() -> Reply:
        good, reason = answer()
        return (200 if good else 503), "text/plain; charset=utf-8", reason.encode() + b"\n"

    return route


def _handler(routes: dict[str, Route]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "policywatch"
        sys_version = ""
        timeout = 10

        def do_GET(self) -> None:
            route = routes.get(self.path.split("?", 1)[0])
            status, kind, body = route() if route else (404, "text/plain", b"not found\n")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are not events of ours."""

    return Handler
