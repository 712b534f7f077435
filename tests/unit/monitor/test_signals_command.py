"""`policywatch signals list` asks the running daemon."""

from pathlib import Path

import pytest

from monitor.cli import main
from monitor.control.http_server import HttpServer, json_route
from monitor.exit_codes import FINE, UNREACHABLE

SIGNAL = {
    "id": "sig_1", "time": "2026-01-01T00:00:00.000Z", "deployment": "home", "policy": "v1", "kind": "fallback",
    "state": "firing", "rule": "reward", "reason": "v1 (full): the reward fell.", "dry_run": False,
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "watch.toml"
    path.write_text("[http]\nport = 1\n[deployments.home]\n")
    return path


def test_signals_of_the_running_daemon_are_listed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = HttpServer("127.0.0.1", 0, {"/api/v1/status": json_route(lambda: {"signals": [SIGNAL]})})
    server.start()
    try:
        assert (
            main(["signals", "list", "-c", str(config), "--address", f"http://127.0.0.1:{server.port}"])
            == FINE
        )
    finally:
        server.stop()
    said = capsys.readouterr().out
    assert "fallback firing" in said
    assert "the reward fell" in said


def test_a_daemon_that_does_not_answer_is_said_in_one_line(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["signals", "list", "-c", str(config)]) == UNREACHABLE
    assert capsys.readouterr().err.count("\n") == 1
