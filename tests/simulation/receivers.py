"""The receiving end: the example receiver of `deploy/`, behind HTTP that fails in every way it can."""

import importlib.util
import json
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Any, Self
from unittest.mock import patch

import urllib3
from standardwebhooks import WebhookVerificationError, webhooks

from tests.integration.running import SECRET
from tests.paths import ROOT
from tests.simulation.world import World

TROUBLES = ("none", "500", "503", "429", "410", "timeout", "refused", "dropped")


@cache
def example() -> Any:
    """`deploy/examples/receiver.py` as a module."""
    spec = importlib.util.spec_from_file_location("example_receiver", ROOT / "deploy/examples/receiver.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Heard:
    """One request that reached the receiver, and what it made of it."""

    ms: float
    id: str
    deployment: str
    generation: int
    body: bytes
    verdict: str


@dataclass
class Site:
    """One receiver; trouble: what happens to requests now. It lives through all deaths of the daemon."""

    name: str
    world: World
    rng: random.Random
    trouble: str = "none"
    heard: list[Heard] = field(default_factory=list)
    attempts: int = 0
    receiver: Any = field(default_factory=lambda: example().Receiver(SECRET))

    def answer(self, body: bytes, headers: Mapping[str, str]) -> "Response":
        """What the wire brings back, or the exception that urllib3 would raise."""
        self.world.moment()
        self.attempts += 1
        match self.trouble:
            case "timeout":
                raise urllib3.exceptions.ReadTimeoutError(POOL, "/", "timed out")
            case "refused":
                raise urllib3.exceptions.NewConnectionError(POOL, "refused")
            case "429" | "503" as status:
                return Response(int(status), {"Retry-After": str(self.rng.choice((1, 3, 20)))})
            case "500" | "410" as status:
                return Response(int(status))
        response = self._receive(body, headers)
        self.world.moment()  # the receiver has acted; dying here is the case that ids are for
        if self.trouble == "dropped" and self.rng.random() < 0.7:
            raise urllib3.exceptions.ProtocolError("connection dropped")
        return response

    def _receive(self, body: bytes, headers: Mapping[str, str]) -> "Response":
        with clock_of(self.world):
            try:
                verdict = self.receiver.receive(body, dict(headers))
            except WebhookVerificationError:
                return Response(401)
        data = json.loads(body)["data"]
        self.heard.append(
            Heard(self.world.ms, data["id"], data["deployment"], data["generation"], body, verdict)
        )
        return Response(200)


@dataclass(frozen=True)
class Response:
    """As much of urllib3's response as is read."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)

    def read(self, size: int) -> bytes:
        return b""

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Wire:
    """Stands where an `HttpPost` keeps its connection pool."""

    site: Site

    def urlopen(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], **rest: Any
    ) -> Response:
        return self.site.answer(body, headers)


POOL: Any = urllib3.HTTPConnectionPool("127.0.0.1", 1)


@contextmanager
def clock_of(world: World) -> Iterator[None]:
    """The receiver's own clock, which is true."""

    class Now(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(world.ms / 1000, tz or UTC)

    with patch.object(webhooks, "datetime", Now), patch.object(example(), "datetime", Now):
        yield
