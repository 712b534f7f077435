"""The demo's child processes as seen from the conductor: the serving layer and the daemon, both real processes."""

import contextlib
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Self

from monitor.demo.site import Site

_PATIENCE_S = 12.0  # the daemon promises to leave within 10 s
Line = dict[str, Any]


class Child:
    """One Python process; each JSON line of its output is handed to `heard`, all of its output goes to a file."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path, heard: Callable[[Line], None]) -> None:
        self.name, self.log = name, log
        self._popen = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._reader = threading.Thread(target=self._read, args=(heard,), name=name, daemon=True)
        self._reader.start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._popen.poll()

    def tell(self, order: str) -> None:
        """One line to its standard input; nothing where it has left."""
        pipe = self._popen.stdin
        assert pipe is not None
        try:
            pipe.write(order.encode() + b"\n")
            pipe.flush()
        except (BrokenPipeError, ValueError):
            return

    def stop(self) -> None:
        """End of its input, then SIGTERM, then the last means; harmless when repeated."""
        pipe = self._popen.stdin
        if pipe is not None and not pipe.closed:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._end()
        self._reader.join(1.0)

    def _end(self) -> None:
        if self._popen.poll() is None:
            self._popen.terminate()
        try:
            self._popen.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def _read(self, heard: Callable[[Line], None]) -> None:
        out: IO[bytes] | None = self._popen.stdout
        assert out is not None
        with self.log.open("wb") as log:
            for line in out:
                log.write(line)
                log.flush()
                said = _parsed(line)
                if said is not None:
                    heard(said)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def start_serving(
    site: Site, bootstrap: str, topics: dict[str, str], seed: int, api_version: str, heard: Callable[[Line], None],
    obeys: bool = True,
) -> Child:  # fmt: skip
    """The serving layer; with `obeys` it listens for webhooks."""
    arguments = ["monitor.demo.serving", "--bootstrap", bootstrap, "--topics", json.dumps(topics)]
    arguments += ["--seed", str(seed)]
    arguments += ["--api-version", api_version] if api_version else []
    arguments += ["--secret-file", str(site.secret)] if obeys else []
    return Child("serving", arguments, site.serving_log, heard)


def start_daemon(site: Site, heard: Callable[[Line], None]) -> Child:
    """`policywatch run`, as anybody would start it."""
    return Child("daemon", ["monitor.cli", "run", "-c", str(site.config)], site.daemon_log, heard)


def get_status(port: int) -> Line | None:
    """What the daemon answers to `/api/v1/status`; None while it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/status", timeout=1) as answer:
            status: Line = json.load(answer)
            return status
    except (OSError, ValueError):
        return None


def post_forged(port: int, body: bytes) -> int:
    """A webhook that nobody signed; the status that it is answered with."""
    headers = {"webhook-id": "forged", "webhook-timestamp": "0", "webhook-signature": "v1,Zm9yZ2Vk"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310 - our own loopback port
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _parsed(line: bytes) -> Line | None:
    if not line.startswith(b"{"):
        return None
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
