"""One HTTP port: metrics, health, readiness, status and commands; loopback unless the config says otherwise."""

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

Answer = tuple[int, str, bytes]
Route = Callable[[], Answer]


@dataclass(frozen=True, slots=True)
class Posted:
    """A POST; header names in lower case."""

    client: str
    headers: Mapping[str, str]
    body: bytes


Post = Callable[[Posted], Answer]

MAX_CLIENTS = 32  # a thread each; further ones are turned away
MAX_BODY_BYTES = 20_000
DEADLINE_S = 10.0  # for the whole of a request and its answer, against clients that drip


class HttpServer:
    """Serves GET routes from a thread; each answers from what the main loop last published."""

    def __init__(
        self,
        host: str,
        port: int,
        routes: Mapping[str, Route],
        max_clients: int = MAX_CLIENTS,
        deadline_s: float = DEADLINE_S,
        posts: Mapping[str, Post] | None = None,
    ) -> None:
        self._server = _Server((host, port), dict(routes), max_clients, deadline_s, dict(posts or {}))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="http", daemon=True
        )

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

    def route() -> Answer:
        good, reason = answer()
        return (200 if good else 503), "text/plain; charset=utf-8", reason.encode() + b"\n"

    return route


class _Server(ThreadingHTTPServer):
    """At most so many clients at once, each for so long."""

    daemon_threads = True
    block_on_close = False  # a client that hangs does not hold up leaving

    def __init__(
        self,
        address: tuple[str, int],
        routes: dict[str, Route],
        max_clients: int,
        deadline_s: float,
        posts: dict[str, Post],
    ) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self._max_clients, self._deadline_s = max_clients, deadline_s
        self._since: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__(address, _handler(routes, deadline_s, posts))

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._since) >= self._max_clients
            if not full:
                self._since[request] = time.monotonic()
        if full:
            super().shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._since.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Between two requests: cut off those who have had their time."""
        before = time.monotonic() - self._deadline_s
        with self._lock:
            for request in [request for request, since in self._since.items() if since < before]:
                _cut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event of ours."""


def _cut(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _handler(
    routes: dict[str, Route], deadline_s: float, posts: dict[str, Post]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "policywatch"
        sys_version = ""
        timeout = deadline_s

        def do_GET(self) -> None:
            self.say(_answer(routes.get(self.path.split("?", 1)[0])))

        def do_POST(self) -> None:
            if self.path not in posts:
                self.close_connection = True
                self.send_error(501)
                return
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
                self.close_connection = True
                self.say((413, "text/plain; charset=utf-8", b"a body of at most 20 kB is needed\n"))
                return
            body = self.rfile.read(int(length))
            headers = {name.lower(): value for name, value in self.headers.items()}
            post, posted = posts[self.path], Posted(self.client_address[0], headers, body)
            self.say(_answer(lambda: post(posted)))

        def say(self, answer: Answer) -> None:
            status, kind, body = answer
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are not events of ours."""

    return Handler


def _answer(route: Route | None) -> Answer:
    if route is None:
        return 404, "text/plain; charset=utf-8", b"not found\n"
    try:
        return route()
    except Exception as error:
        return 500, "text/plain; charset=utf-8", f"could not answer ({type(error).__name__})\n".encode()
