"""After an outage the daemon reads its backlog before it says anything that may be over."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from alerts.audit import entries
from alerts.life import Alert, AlertState
from alerts.signal import Signal
from alerts.tray import Leaving
from monitor.daemon import LITTLE_LAG, LITTLE_MS, OUTAGE_MS, Daemon
from monitor.judging.watched import Watched
from tests.unit.alerts.build import signal
from tests.unit.monitor.test_daemon import Clock, Log, Notes, daemon_on, run

NOW_MS = 2_000_000_000_000.0


class Told(Notes):
    """Keeps what was raised."""

    def __init__(self) -> None:
        super().__init__()
        self.raised: list[Signal] = []

    def signalled(self, signal: Signal) -> None:
        self.raised.append(signal)


def stale() -> Signal:
    return replace(signal(), deployment="first", policy="v1", subject="full")


def catching_up(folder: Path, told: Told) -> Daemon:
    daemon = daemon_on(folder, told, Clock(ms=NOW_MS))
    daemon.catching_up = True
    daemon.unsent = [stale()]
    daemon.step()
    assert list(daemon.desk.backlog.held) == [stale().id]
    return daemon


def test_a_stale_fallback_whose_condition_is_over_is_dropped_recorded_and_paged(tmp_path: Path) -> None:
    told = Told()
    daemon = catching_up(tmp_path, told)
    run(daemon)
    assert not daemon.catching_up
    assert [(s.rule, s.kind) for s in told.raised] == [("reward", "fallback"), ("catch_up", "page")]
    assert [entry.record.what for entry in entries(daemon.checkpoint._conn)] == ["stale_dropped"]


def test_a_stale_fallback_that_still_fires_at_the_head_is_sent_anew(tmp_path: Path) -> None:
    daemon = catching_up(tmp_path, Told())
    watched = daemon.pipeline.core.watched[0]
    assert isinstance(watched, Watched)
    watched.judge.alerts["reward", "v1", "full"] = Alert(AlertState.FIRING, 1, 1)
    sent: list[Signal] = []
    take = daemon.checkpoint.save

    def save(parts: object, leaving: Leaving, *more: object) -> object:
        sent.extend(leaving.signals)
        return take(parts, leaving, *more)  # type: ignore[arg-type]

    monkey = pytest.MonkeyPatch()
    monkey.setattr(daemon.checkpoint, "save", save)
    run(daemon)
    monkey.undo()
    assert [s.id for s in sent] == [stale().id]
    assert sent[0].expires_at_ms is not None
    assert sent[0].expires_at_ms > NOW_MS


def test_a_broker_that_was_away_for_as_long_as_a_signal_lives_leaves_a_backlog(tmp_path: Path) -> None:
    clock = Clock(ms=NOW_MS)
    daemon = daemon_on(tmp_path, Told(), clock)
    daemon.step()
    clock.ms += OUTAGE_MS - 1_000
    daemon.step()
    assert not daemon.catching_up
    clock.ms += OUTAGE_MS
    daemon._answered()
    assert daemon.catching_up


def test_polls_that_bring_nothing_are_no_answer_of_a_broker_that_is_away(tmp_path: Path) -> None:
    clock = Clock(ms=NOW_MS)
    daemon = daemon_on(tmp_path, Told(), clock)
    daemon.step()
    log = daemon.source
    assert isinstance(log, Log)
    waiting, log.payloads = log.payloads, log.payloads[: log.at]
    for _ in range(3):
        clock.ms += OUTAGE_MS / 2
        daemon.step()
    assert not daemon.catching_up
    log.payloads = waiting
    daemon._read(0)
    assert daemon.catching_up


def test_little_that_is_left_is_read_before_a_backlog_counts_as_read(tmp_path: Path) -> None:
    clock = Clock(ms=NOW_MS)
    daemon = daemon_on(tmp_path, Told(), clock)
    assert not daemon._little_left(LITTLE_LAG)
    clock.ms += LITTLE_MS
    assert daemon._little_left(LITTLE_LAG)
    assert not daemon._little_left(LITTLE_LAG + 1)
    assert not daemon._little_left(0)
    clock.ms += LITTLE_MS
    assert daemon._little_left(0)
