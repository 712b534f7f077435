"""The serving layer's end of the webhook: the example receiver that users copy, run as it stands."""

from collections.abc import Callable
from http.server import ThreadingHTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Thread
from typing import Any

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "receiver.py"
_MOST_TOLD = 2_000  # characters of a refused request that are told

Tell = Callable[[dict[str, Any]], None]


class DeskError(Exception):
    """The example receiver is not beside the package; not retriable."""


class WebhookDesk:
    """Listens on loopback; `serving` is what the receiver says is to be served, `tell` hears of every request."""

    def __init__(self, secret: str, tell: Tell) -> None:
        example = _load(EXAMPLE)
        self._receiver = example.Receiver(secret)
        self._tell = tell
        handler = type("DeskHandler", (example.Handler,), {"receiver": self, "log_message": _silent})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="webhooks", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    @property
    def serving(self) -> dict[str, str]:
        """Policy by deployment, as far as signals have changed it."""
        return dict(self._receiver.serving)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def receive(self, body: bytes, headers: dict[str, str]) -> str:
        """Called by the example's handler: its own receiver decides, and what it decided is told."""
        try:
            verdict = str(self._receiver.receive(body, headers))
        except Exception as error:
            self._tell({"event": "refused", "why": f"{type(error).__name__}: {error}"[:_MOST_TOLD]})
            raise
        self._tell({"event": "signal", "verdict": verdict, "body": body.decode()})
        return verdict


def _load(path: Path) -> Any:
    spec = spec_from_file_location("policywatch_example_receiver", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise DeskError(f"{path} is missing; the demo runs from a clone of the repository")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _silent(handler: Any, *said: Any) -> None:
    """Requests are told, not logged."""
