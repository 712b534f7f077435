"""A real HTTP server on loopback that answers as a test tells it, and keeps what it was sent."""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    silent_s: float = 0.0
    drip_s: float = 0.0
    hang_up: bool = False


class _Server(ThreadingHTTPServer):
    """Says nothing about clients that hang up: tests make them do so."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class HttpReceiver:
    """Replies are taken from the script, the last one for ever."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.script: list[Reply] = [Reply()]
        self.requests: list[Request] = []
        self.arrived = threading.Event()
        self.closing = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.serve(self)

            do_GET = do_POST  # noqa: N815 - the name that http.server looks for

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{port}" if tls is None else f"https://localhost:{port}"
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        headers = {key.lower(): value for key, value in handler.headers.items()}
        self.requests.append(Request(handler.path, headers, body))
        reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.arrived.set()
        with suppress(OSError):
            self._answer(handler, reply)

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        self.closing.wait(reply.silent_s)
        if reply.hang_up:
            handler.connection.close()
            return
        if reply.drip_s:
            self._drip(handler, reply.drip_s)
            return
        handler.send_response(reply.status)
        for key, value in reply.headers.items():
            handler.send_header(key, value)
        handler.send_header("Content-Length", str(len(reply.body)))
        handler.end_headers()
        handler.wfile.write(reply.body)

    def _drip(self, handler: BaseHTTPRequestHandler, for_s: float) -> None:
        """A header that never ends, one byte at a time: no single read ever times out."""
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        until = time.monotonic() + for_s
        while time.monotonic() < until and not self.closing.wait(0.02):
            handler.wfile.write(b"x")


@contextmanager
def http_receiver() -> Iterator[HttpReceiver]:
    receiver = HttpReceiver()
    try:
        yield receiver
    finally:
        receiver.close()
