"""The daemon that begins on a disk that is full: it says so and waits, and loses nothing for that."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from alerts.outbox import Disabled
from alerts.outbox_store import SqliteOutbox
from alerts.outbox_table import disabled_receivers
from alerts.tray import Leaving
from monitor.commands import run
from monitor.persistence.checkpoint import Checkpoint, StateNotSavedError
from tests.simulation.disk import FaultyDisk
from tests.unit.alerts.build import NOW_MS, signal

LOG = structlog.wrap_logger(structlog.PrintLogger(io.StringIO()))


class Hook:
    """A receiver that takes all."""

    name = "hook"

    def accepts(self, _: object) -> bool:
        return True


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FaultyDisk]:
    made = FaultyDisk(tmp_path / "disk")
    yield made
    made.forget()


def gone(disk: FaultyDisk) -> Checkpoint:
    """A state whose receiver wants nothing any more, which a start takes back."""
    checkpoint = Checkpoint(disk.folder)
    checkpoint.save({"shell": b"1"}, Leaving([signal()]), [Hook()], NOW_MS)
    outbox = SqliteOutbox.open(checkpoint.path)
    (entry,) = outbox.due("hook", NOW_MS).attempts
    outbox.settle(entry, Disabled("HTTP 410"), NOW_MS)
    outbox.close()
    return checkpoint


def test_write_of_a_start_that_the_disk_refuses_is_one_to_try_again(disk: FaultyDisk) -> None:
    checkpoint = gone(disk)
    disk.full = True
    with pytest.raises(StateNotSavedError, match="full"):
        checkpoint.enable(["hook"])
    disk.full = False
    assert disabled_receivers(checkpoint._conn) == {"hook": "HTTP 410"}
    checkpoint.enable(["hook"])
    assert disabled_receivers(checkpoint._conn) == {}
    checkpoint.close()


def test_start_is_tried_again_until_the_disk_takes_what_it_writes() -> None:
    waits: list[float] = []
    leave = SimpleNamespace(is_set=lambda: False, wait=waits.append)
    stopping: Any = SimpleNamespace(leave=leave)
    notes: list[tuple[str, str]] = []
    watch: Any = SimpleNamespace(note=lambda *said: notes.append(said), looped=lambda: None)
    config: Any = SimpleNamespace()
    service: Any = SimpleNamespace()
    telemetry: Any = None

    def begin(*_: object) -> Any:
        if len(waits) < 3:
            raise StateNotSavedError("database or disk is full")
        return service

    assert run._connected(config, Path(), LOG, telemetry, watch, stopping, begin) is service
    assert waits == [run.BACK_OFF_S[0]] * 3
    assert notes == [("state", "not saved: database or disk is full")] * 3
