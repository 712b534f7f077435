"""Commands over HTTP: strangers are turned away, and the main loop answers when the effect is saved."""

import json
import threading
from pathlib import Path
from typing import Any, Self

import pytest
import urllib3

from alerts.audit import verify
from alerts.desk_terms import Command, Reply
from alerts.outbox_table import Enqueued
from alerts.senders.sender import Secret
from monitor.cli import main
from monitor.control.commanding import ROUTE, commands_route, refusal
from monitor.control.http_server import HttpServer, Posted
from monitor.control.inbox import Asked, Inbox, Overdue
from tests.unit.monitor.test_daemon import Clock, Notes, daemon_on, run


def posted(client: str = "127.0.0.1", **headers: str) -> Posted:
    return Posted(client, {"content-type": "application/json", **headers}, b"{}")


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("new-token\nold-token\n")
    return path


@pytest.mark.parametrize(
    ("client", "authorization", "status"),
    [
        ("127.0.0.1", "Bearer new-token", None),
        ("10.0.0.9", "Bearer old-token", None),
        ("127.0.0.1", "", 401),
        ("127.0.0.1", "Bearer new-toke", 401),
        ("127.0.0.1", "Bearer ", 401),
        ("127.0.0.1", "Basic new-token", 401),
    ],
)
def test_with_a_token_only_the_token_counts(
    token: Path, client: str, authorization: str, status: int | None
) -> None:
    reply = refusal(posted(client, authorization=authorization), token)
    assert (None if reply is None else reply.status) == status


def test_without_a_token_only_this_machine_may_command() -> None:
    assert refusal(posted("127.0.0.1"), None) is None
    assert refusal(posted("::1"), None) is None
    stranger = refusal(posted("10.0.0.9"), None)
    assert stranger is not None
    assert stranger.status == 403


def test_a_token_that_cannot_be_read_lets_nobody_in(tmp_path: Path) -> None:
    reply = refusal(posted(authorization="Bearer "), tmp_path / "gone")
    assert reply is not None
    assert reply.status == 503


class Answering:
    """A main loop that answers what it is asked."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox, self.seen = inbox, list[Command]()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.loop, daemon=True)

    def loop(self) -> None:
        while not self.stopping.wait(0.005):
            for news in self.inbox.empty():
                if isinstance(news, Asked):
                    self.seen.append(news.command)
                    news.answer(Reply(200, "done", "x"))

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopping.set()
        self.thread.join()


def post(server: HttpServer, body: Any, path: str = ROUTE, **headers: str) -> tuple[int, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} | headers
    answer = urllib3.request(
        "POST", f"http://127.0.0.1:{server.port}{path}", body=raw, headers=sent, retries=False, timeout=5.0
    )
    return answer.status, answer.data


def serving(inbox: Inbox, token: Secret | None = None) -> HttpServer:
    server = HttpServer("127.0.0.1", 0, {}, posts={ROUTE: commands_route(inbox, token)})
    server.start()
    return server


def test_a_command_goes_to_the_main_loop_and_its_answer_comes_back() -> None:
    inbox = Inbox()
    server = serving(inbox)
    with Answering(inbox) as loop:
        status, data = post(
            server, {"do": "silence", "by": "ann", "why": "x", "matchers": {"rule": "critic"}, "for_ms": 5}
        )
    assert (status, json.loads(data)) == (200, {"status": 200, "text": "done", "id": "x"})
    assert loop.seen == [Command("silence", "ann", "x", "", {"rule": "critic"}, 5)]
    server.stop()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"not json", {}, 400),
        ({"do": "ack"}, {}, 400),
        ({"do": "ack", "by": "a", "more": 1}, {}, 400),
        (b"x" * 30_000, {}, 413),
        ({"do": "ack", "by": "a"}, {"Content-Type": "text/plain"}, 415),
    ],
)
def test_what_is_no_command_never_reaches_the_main_loop(
    body: Any, headers: dict[str, str], status: int
) -> None:
    inbox = Inbox()
    server = serving(inbox)
    assert post(server, body, **headers)[0] == status
    assert post(server, b"{}", path="/metrics")[0] == 501
    assert inbox.empty() == []
    server.stop()


def test_a_full_inbox_refuses_and_counts() -> None:
    inbox = Inbox(most=1)
    assert inbox.put(Overdue("s", "r", 1, "a"))
    assert inbox.ask(Command("ack", "ann"), 0.01).status == 503
    assert inbox.lost == 1
    assert Inbox().ask(Command("ack", "ann"), 0.01).status == 504


def test_a_command_is_answered_after_its_effect_and_its_record_are_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = daemon_on(tmp_path, Notes())
    run(daemon)
    asked = Asked(Command("silence", "ann", "deploying", "", {"rule": "critic"}, 60_000))
    daemon.inbox.put(asked)
    saves: list[bool] = []
    save = daemon.checkpoint.save

    def saving(*args: Any) -> Enqueued:
        saves.append(asked.answered.is_set())
        return save(*args)

    monkeypatch.setattr(daemon.checkpoint, "save", saving)
    daemon.step()
    assert saves == [False]
    assert asked.reply is not None
    assert asked.reply.status == 200
    daemon.stop()
    after = daemon_on(tmp_path, Notes(), Clock(ms=10_000_000.0))
    assert verify(after.checkpoint._conn)[0] == 1
    from monitor.persistence.state import CODEC

    saved = after.checkpoint.load()
    assert saved is not None
    after.desk.restore(CODEC.decode(saved.parts["desk"]))
    assert [s.by for s in after.desk.silencing.silences.values()] == ["ann"]


def config_file(tmp_path: Path, port: int, token: Path | None = None) -> Path:
    path = tmp_path / "c.toml"
    more = f'token_file = "{token}"' if token else ""
    lines = [
        f'[state]\npath = "{tmp_path}/state"', f"[http]\nport = {port}", more,
        '[deployments.home]\nfallback_policy = "r"',
    ]  # fmt: skip
    path.write_text("\n".join(lines))
    return path


def test_the_command_line_commands(tmp_path: Path, token: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inbox = Inbox()
    server = serving(inbox, token)
    config = str(config_file(tmp_path, server.port, token))
    with Answering(inbox) as loop:
        assert main(["signals", "approve", "sig_1", "-c", config, "--by", "ann"]) == 0
        silence = ["signals", "silence", "-c", config, "--match", "rule=critic", "--match", "policy=v1"]
        assert main([*silence, "--for", "2h", "--by", "ann", "--why", "x", "--json"]) == 0
        assert main([*silence, "--for", "soon", "--why", "x"]) == 2
    assert loop.seen == [
        Command("approve", "ann", "", "sig_1"),
        Command("silence", "ann", "x", "", {"rule": "critic", "policy": "v1"}, 7_200_000),
    ]
    assert capsys.readouterr().out.splitlines() == ["done  x", '{"status": 200, "text": "done", "id": "x"}']
    server.stop()


def test_the_audit_log_is_read_and_verified_without_a_daemon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = daemon_on(tmp_path / "state", Notes())
    daemon.inbox.put(Asked(Command("silence", "ann", "deploying", "", {"rule": "critic"}, 60_000)))
    daemon.step()
    daemon.stop()
    config = str(config_file(tmp_path, 1))
    assert main(["signals", "audit", "-c", config]) == 0
    assert "silenced by ann" in capsys.readouterr().out
    assert main(["signals", "audit", "--verify", "-c", config]) == 0
    assert "1 records, newest hash" in capsys.readouterr().out
    import sqlite3

    conn = sqlite3.connect(tmp_path / "state" / "policywatch.sqlite3", isolation_level=None)
    conn.execute("DROP TRIGGER audit_is_not_changed")
    conn.execute("UPDATE audit SET who = 'eve'")
    assert main(["signals", "audit", "--verify", "-c", config]) == 1
    assert "row 1 was changed" in capsys.readouterr().out
