"""The daemon with its real source, checkpoint and senders, but turned by the test: every measurement can be kept."""

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from alerts.signal import Signal
from monitor.batch import Rejected
from monitor.clocks import RealClock
from monitor.config_file import load_config
from monitor.observability.telemetry import Telemetry
from monitor.observability.watch import Watch
from monitor.sealed import Sealed
from monitor.service import Service, start
from tests.integration.replayed import Seen


def quiet_log() -> Any:
    """A logger that nobody reads."""
    return structlog.wrap_logger(structlog.PrintLogger(io.StringIO()), processors=[lambda *a: str(a)])


class Recorder(Watch):
    """The daemon's own observer, which also keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(Telemetry(), quiet_log(), RealClock(), "test")
        self.seen = Seen([], [], [])

    def sealed(self, sealed: Sealed) -> None:
        super().sealed(sealed)
        self.seen.sealed.append(sealed)

    def signalled(self, signal: Signal) -> None:
        super().signalled(signal)
        self.seen.signals.append(signal)

    def rejected(self, rejected: Sequence[Rejected]) -> None:
        super().rejected(rejected)
        self.seen.rejected.extend(rejected)


def started(config_path: Path, recorder: Recorder) -> Service:
    """As `policywatch run` starts it."""
    return start(load_config(config_path), config_path.parent, quiet_log(), Telemetry(), recorder)


def turn(service: Service, done: Callable[[], bool], within_s: float = 60.0) -> None:
    """Step until `done`."""
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline, f"not done within {within_s:g} s"
        service.daemon.step()


def run_to_the_end(config_path: Path) -> Seen:
    """Until everything is read and the silence has sealed what had begun."""
    recorder = Recorder()
    service = started(config_path, recorder)
    try:
        turn(service, lambda: service.daemon.idleness.flushed)
    finally:
        service.stop()
    return recorder.seen
