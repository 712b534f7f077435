"""The HTTP port: what it answers, and that no client can take it away from the others."""

import json
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from monitor.control.http_server import HttpServer, json_route, metrics_route, yes_no_route

GOOD: dict[str, tuple[bool, str]] = {
    "healthy": (True, "turns"),
    "ready": (False, "the source is not connected"),
}


def routes() -> dict[str, Any]:
    registry = CollectorRegistry()
    Counter("policywatch_loops_total", "Turns", registry=registry).inc(3)
    return {
        "/metrics": metrics_route(registry),
        "/-/healthy": yes_no_route(lambda: GOOD["healthy"]),
        "/-/ready": yes_no_route(lambda: GOOD["ready"]),
        "/api/v1/status": json_route(lambda: {"connected": True, "events": 4}),
        "/broken": json_route(lambda: {"value": float("nan")}),
    }


@pytest.fixture
def server() -> Iterator[HttpServer]:
    http = HttpServer("127.0.0.1", 0, routes(), max_clients=4, deadline_s=0.5)
    http.start()
    yield http
    http.stop()


def get(server: HttpServer, path: str, method: str = "GET") -> tuple[int, str, str]:
    client = HTTPConnection("127.0.0.1", server.port, timeout=3)
    try:
        client.request(method, path)
        answer = client.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()
    finally:
        client.close()


def connected(server: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=3)


def wait_for_answer(server: HttpServer, path: str) -> int:
    """The status, once there is room again."""
    until = time.monotonic() + 5
    while True:
        try:
            return get(server, path)[0]
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def test_metrics_are_in_the_text_format_of_prometheus(server: HttpServer) -> None:
    status, kind, body = get(server, "/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert "policywatch_loops_total 3.0" in body


def test_healthy_and_ready_say_yes_or_503_with_the_reason(server: HttpServer) -> None:
    assert get(server, "/-/healthy")[::2] == (200, "turns\n")
    assert get(server, "/-/ready")[::2] == (503, "the source is not connected\n")


def test_status_is_json_whatever_the_query(server: HttpServer) -> None:
    status, kind, body = get(server, "/api/v1/status?pretty=1")
    assert (status, kind, json.loads(body)) == (200, "application/json", {"connected": True, "events": 4})


def test_an_unknown_path_is_404_and_another_method_is_refused(server: HttpServer) -> None:
    assert get(server, "/")[0] == 404
    assert get(server, "/-/healthy", "POST")[0] == 501


def test_an_answer_that_cannot_be_written_is_500_without_a_traceback(
    server: HttpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert get(server, "/broken")[::2] == (500, "could not answer (ValueError)\n")
    assert capsys.readouterr().err == ""


def test_a_client_that_says_nothing_does_not_keep_others_waiting(server: HttpServer) -> None:
    with connected(server):
        began = time.monotonic()
        assert get(server, "/-/healthy")[0] == 200
        assert time.monotonic() - began < 0.4


def test_a_client_that_drips_is_cut_off_at_the_deadline(server: HttpServer) -> None:
    with connected(server) as slow:
        began = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT012 (the send that fails is one of many)
            while time.monotonic() - began < 5:
                slow.sendall(b"G")
                time.sleep(0.05)
        assert 0.4 < time.monotonic() - began < 3


def test_more_slow_clients_than_there_is_room_for_are_turned_away_and_the_port_recovers() -> None:
    http = HttpServer("127.0.0.1", 0, routes(), max_clients=4, deadline_s=3)
    http.start()
    crowd, held = [connected(http) for _ in range(12)], 0
    until = time.monotonic() + 2.5
    while held < 4 and time.monotonic() < until:
        held = max(held, len(http._server._since))
        time.sleep(0.01)
    assert held == 4
    assert wait_for_answer(http, "/-/healthy") == 200  # they have had their time
    for one in crowd:
        one.close()
    http.stop()


def test_leaving_does_not_wait_for_a_client_that_hangs() -> None:
    http = HttpServer("127.0.0.1", 0, routes(), deadline_s=30)
    http.start()
    with connected(http):
        time.sleep(0.2)
        began = time.monotonic()
        http.stop()
        assert time.monotonic() - began < 1


def test_a_server_that_was_never_started_can_be_stopped() -> None:
    HttpServer("127.0.0.1", 0, {}).stop()
