"""The daemon's loop over a source, a clock and a disk that the test controls."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from msgspec.structs import replace

from alerts.outbox_table import Enqueued
from alerts.signal import Signal
from monitor.assembly import build_core, build_pipeline, vocabulary_for
from monitor.batch import Kind
from monitor.clocks import Clocks
from monitor.config import Config
from monitor.config_file import parse_config
from monitor.control.inbox import Suspected
from monitor.daemon import REMIND_MS, Daemon, Positions
from monitor.dead_letter import DeadLetterFile
from monitor.idleness import Idleness
from monitor.observability.telemetry import Telemetry
from monitor.observability.watch import Watch
from monitor.persistence.checkpoint import Checkpoint
from monitor.persistence.state import restore
from monitor.pipeline import Pipeline
from monitor.sealed import Sealed
from monitor.source import Records
from monitor.vigil import Vigil
from tests.integration.traffic import START_MS, decision, wire
from tests.unit.alerts.build import entry, signal

TWO = {
    "deployments": {
        name: {"bucket": "1s", "window": "5s", "reward_horizon": "2s"} for name in ("first", "second")
    }
}
Counts = dict[tuple[str, int], int]


class CrashError(Exception):
    """A power cut."""


@dataclass
class Clock:
    """Every look takes `tick_ms`."""

    ms: float = 1.0
    tick_ms: float = 1.0
    boot: str = ""

    def now_ms(self) -> int:
        return int(self.elapsed_ms())

    def elapsed_ms(self) -> float:
        self.ms += self.tick_ms
        return self.ms


@dataclass
class Log:
    """A source of one partition, from a position on."""

    payloads: Sequence[bytes]
    at: int = 0
    rests: int = 0
    name: str = "decisions/0"

    def poll(self, timeout_ms: int) -> Sequence[Records]:
        begin, self.at = self.at, min(len(self.payloads), self.at + 30)
        if begin == self.at:
            return []
        return [
            Records(self.name, Kind.DECISION, range(begin, self.at), self.payloads[begin : self.at], self.at)
        ]

    def rest(self) -> None:
        self.rests += 1

    def partitions(self) -> Sequence[str]:
        return [self.name]

    def caught_up(self, partition: str) -> bool:
        return self.at == len(self.payloads)

    def commit(self, positions: Mapping[str, int]) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class Notes:
    """An observer that keeps the counts of sealed buckets; the rest is of no interest."""

    counts: Counts = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    def sealed(self, sealed: Sealed) -> None:
        self.counts[sealed.deployment, sealed.end_ms] = sealed.decisions
        self.order.append("sealed")

    def looped(self) -> None:
        self.order.append("looped")

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


class DyingCheckpoint(Checkpoint):
    """Dies right after so many saves."""

    saves_left = 10**9

    def save(self, *args: Any) -> Enqueued:
        done = super().save(*args)
        self.saves_left -= 1
        if self.saves_left == 0:
            raise CrashError
        return done


def payloads(seconds: int = 5) -> list[bytes]:
    rng = random.Random(3)
    times = range(START_MS, START_MS + seconds * 1_000, 50)
    return [
        wire(decision(i, ts, rng, deployment=("first", "second")[i % 2], state=...))
        for i, ts in enumerate(times)
    ]


def pipeline_of(config: Config) -> Pipeline:
    vocabulary = vocabulary_for(config, {})
    return build_pipeline(config, build_core(config, {}, vocabulary), vocabulary)


def daemon_on(folder: Path, notes: Notes, clock: Clock | None = None, saves: int = 10**9) -> Daemon:
    config = parse_config(TWO)
    pipeline, checkpoint = pipeline_of(config), DyingCheckpoint(folder)
    checkpoint.saves_left = saves
    saved = checkpoint.load()
    if saved is not None:
        assert restore(pipeline, saved.parts) == []
    source = Log(payloads(), pipeline.positions.get("decisions/0", 0))
    return Daemon(
        pipeline=pipeline, source=source, checkpoint=checkpoint, dead_letters=DeadLetterFile(folder / "dead"),
        clock=Clocks(clock or Clock()), observer=notes, routes=[], wake=lambda: None, idleness=Idleness(100, 200),
        save_every_ms=0,
    )  # fmt: skip


def run(daemon: Daemon) -> None:
    for _ in range(500):
        daemon.step()
        if daemon.idleness.flushed:
            return
    raise AssertionError("the log did not end")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Notes:
    notes = Notes()
    run(daemon_on(tmp_path_factory.mktemp("undisturbed"), notes))
    assert sum(notes.counts.values()) == len(payloads())
    return notes


@pytest.mark.parametrize("saves", range(1, 8))
def test_death_after_any_save_skips_no_bucket_of_any_deployment(
    tmp_path: Path, undisturbed: Notes, saves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two deployments are sealed at one moment: a state saved between the two would forget the second."""
    monkeypatch.setattr("monitor.daemon.SAVE_SHARE", 0)
    disturbed = Notes()
    with pytest.raises(CrashError):
        run(daemon_on(tmp_path / "b", disturbed, saves=saves))
    run(daemon_on(tmp_path / "b", disturbed))
    assert disturbed.counts == undisturbed.counts


def test_sealing_that_takes_long_is_cut_so_that_the_loop_turns(tmp_path: Path) -> None:
    """Signals, the watchdog and the group are looked at between; nothing is read until sealing has caught up."""
    notes = Notes()
    daemon = daemon_on(tmp_path, notes, Clock(tick_ms=200.0))
    run(daemon)
    assert sum(notes.counts.values()) == len(payloads())
    assert isinstance(daemon.source, Log)
    assert daemon.source.rests > 0
    longest = max(len(turn.split()) for turn in " ".join(notes.order).split("looped"))
    assert longest <= 6


def test_time_spent_evaluating_is_no_silence() -> None:
    """A loop that took a minute has listened for as long as a poll takes."""
    idleness = Idleness(10_000, 1_000)
    assert not idleness.falls_idle("p/0", 0.0, lambda name: True)
    assert not idleness.falls_idle("p/0", 9_999.0, lambda name: True)
    assert idleness.falls_idle("p/0", 10_000.0, lambda name: True)


def test_partition_that_is_not_read_to_its_end_is_not_silent() -> None:
    idleness = Idleness(10, 1_000)
    idleness.heard("p/0", 0.0)
    assert not idleness.falls_idle("p/0", 20.0, lambda name: False)
    assert not idleness.falls_idle("p/0", 25.0, lambda name: True)
    assert idleness.falls_idle("p/0", 30.0, lambda name: True)


def test_a_partition_that_comes_back_stands_where_it_was_heard_last(tmp_path: Path) -> None:
    """With nothing more to say it would otherwise hold time back until it falls idle."""
    daemon = daemon_on(tmp_path, Notes())
    run(daemon)
    positions, watermark = Positions(daemon.pipeline, daemon.idleness), daemon.pipeline.watermark
    heard_ms = watermark.clocks["decisions/0"]
    positions.revoked(["decisions/0"])
    assert watermark.clocks == {}
    positions.assigned(["decisions/0", "decisions/1"])
    assert heard_ms is not None
    assert watermark.clocks == {"decisions/0": heard_ms, "decisions/1": None}


def test_assignment_forgets_partitions_that_the_state_knows_and_others_read_now() -> None:
    pipeline = pipeline_of(parse_config(TWO))
    pipeline.watermark.clocks = {"d/0": 5_000, "d/1": 1_000}
    positions = Positions(pipeline, Idleness(10, 1_000))
    pipeline.positions |= {"d/0": 7, "d/1": 3}
    assert positions.assigned(["d/0"]) == {"d/0": 7}
    assert pipeline.watermark.clocks == {"d/0": 5_000}
    assert pipeline.watermark.now_ms == 4_000


def test_what_a_delivery_suspects_is_looked_at_in_the_next_turn(tmp_path: Path) -> None:
    daemon = daemon_on(tmp_path, Notes())
    asked: list[str] = []
    daemon.checkpoint.examine = lambda: asked.append("examined")  # type: ignore[method-assign]
    daemon.step()
    assert asked == []
    daemon.inbox.put(Suspected("malformed"))
    daemon.step()
    assert asked == ["examined"]


def test_receivers_that_forget_are_told_what_fires_before_anything_new_can_reach_them(tmp_path: Path) -> None:
    daemon = daemon_on(tmp_path, Notes())
    order: list[object] = []
    daemon.remind = order.append
    daemon.wake = lambda: order.append("sent")
    fired = replace(signal(), deployment="first", expires_at_ms=2**42)
    daemon.unsent = [fired]
    daemon.save()
    assert order == [frozenset({fired.alert_key}), "sent"]
    daemon.unsent = [replace(fired, state="resolved")]
    daemon.save()
    assert order[2:] == [frozenset(), "sent"]
    for _ in range(3):
        daemon._hear()
    assert order[4:] == []
    daemon.reminded_ms -= REMIND_MS
    daemon._hear()
    assert order[4:] == [frozenset()]


def test_a_page_that_expired_on_its_way_comes_from_delivery_to_the_desk_and_out_again(tmp_path: Path) -> None:
    daemon = daemon_on(tmp_path, Notes())
    watch = Watch(Telemetry(), structlog.get_logger(), daemon.clock, "")
    daemon.inbox = watch.inbox
    late = replace(signal(), deployment="first", kind="page", rule="blind.lag", subject="")
    daemon.vigil = Vigil({}, {}, 0, alerts={("first", "blind.lag"): 1})
    daemon.unsent = [late]
    daemon.save()
    for ending in ("superseded", "expired"):
        watch.ended(entry(late), ending)
    daemon._hear()
    assert [(again.signal.id, again.receiver) for again in daemon.desk.tray.again] == [
        (late.id, entry().receiver)
    ]


def test_a_safety_signal_that_had_to_make_room_in_the_outbox_is_paged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver that is down while thousand policies fall back: it was counted, and nobody was told."""

    class Dead:
        name = "webhook-1"

        def accepts(self, of: Signal) -> bool:
            return of.safety

    monkeypatch.setattr("alerts.outbox_table.enqueue.__defaults__", (2,))
    daemon = daemon_on(tmp_path, Notes())
    daemon.observer = Watch(Telemetry(), structlog.get_logger(), daemon.clock, "")
    daemon.inbox, daemon.routes = daemon.observer.inbox, [Dead()]
    fired = [
        replace(signal(), deployment="first", policy=f"v{i}", id=f"sig_{i}", generation=i) for i in range(3)
    ]
    daemon.unsent = fired
    daemon.save()
    daemon._hear()
    (told,) = daemon.desk.leaving().signals
    assert (told.rule, told.policy, told.subject) == ("delivery.expired", "v0", "webhook-1")
    assert "never arrived at webhook-1 (dropped); it is not sent any more" in told.reason
