"""A daemon whose partitions fall silent and come back late, and a replay of the same log: the same bytes."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.signal import Signal
from monitor.batch import Kind, Rejected
from monitor.clocks import Clocks
from monitor.config_file import load_config
from monitor.daemon import Daemon
from monitor.dead_letter import DeadLetterFile
from monitor.decoding.reasons import Reason
from monitor.idleness import Idleness
from monitor.persistence.checkpoint import FILE_NAME, Checkpoint
from monitor.persistence.returns import KEPT, Return, append, forget_from, returns_of
from monitor.replaying import Observer, replay
from monitor.sealed import Sealed
from monitor.source import Records
from tests.integration.replayed import Seen, pipeline_of
from tests.integration.running import TOPICS, Site, make_baseline
from tests.integration.traffic import World, events, partition_of, wire
from tests.unit.monitor.test_daemon import Clock, Notes

WORLD = World(40, change_s=8, back_s=12, per_s=20)
RULE = 'min_samples = 10\n[deployments.shop.rules.reward]\nkeep_firing = "4s"'
IDLE_MS = 300


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("silences")
    made = Site(folder / "site", "none:1", dict.fromkeys(TOPICS, "none"), make_baseline(folder))
    made.write("", RULE)
    return made


def logs_of(partitions: int) -> dict[str, list[bytes]]:
    logs: dict[str, list[bytes]] = {
        f"{kind}/{p}": [] for kind in ("decision", "reward") for p in range(partitions)
    }
    for event in events(WORLD):
        logs[f"{event['type']}/{partition_of(event, partitions)}"].append(wire(event))
    return logs


def records(logs: Mapping[str, list[bytes]], name: str, begin: int, end: int) -> Records:
    kind = Kind.DECISION if name.startswith("decision") else Kind.REWARD
    return Records(name, kind, range(begin, end), logs[name][begin:end], end)


@dataclass
class Growing:
    """A broker whose partitions grow by fits and starts: each is produced to for a while, then not for a while."""

    logs: Mapping[str, list[bytes]]
    rng: random.Random
    grown: dict[str, int] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    quiet: dict[str, int] = field(default_factory=dict)

    def poll(self, timeout_ms: int) -> Sequence[Records]:
        polled = []
        for name, log in self.logs.items():
            begin, end = self.read.get(name, 0), self.grown.get(name, 0)
            if self.quiet.get(name, 0) > 0:
                self.quiet[name] -= 1
            elif self.rng.random() < 0.1:
                self.quiet[name] = self.rng.randint(1, 30)
            else:
                end = self.grown[name] = min(len(log), end + self.rng.randint(1, 80))
            if end > begin:
                self.read[name] = end
                polled.append(records(self.logs, name, begin, end))
        return polled

    def rest(self) -> None: ...

    def partitions(self) -> Sequence[str]:
        return list(self.logs)

    def caught_up(self, partition: str) -> bool:
        return self.read.get(partition, 0) == self.grown.get(partition, 0)

    def whole(self) -> bool:
        return all(self.read.get(name, 0) == len(log) for name, log in self.logs.items())

    def commit(self, positions: Mapping[str, int]) -> None: ...

    def close(self) -> None: ...


class Kept:
    """The same partitions as a log that has ended."""

    def __init__(self, logs: Mapping[str, list[bytes]], block: int) -> None:
        self._logs, self._block, self._at = logs, block, dict.fromkeys(logs, 0)

    def open(self) -> list[str]:
        return list(self._at)

    def read(self, partition: str) -> Records | None:
        begin, end = self._at[partition], min(self._at[partition] + self._block, len(self._logs[partition]))
        if begin == end:
            self.leave(partition)
            return None
        self._at[partition] = end
        return records(self._logs, partition, begin, end)

    def leave(self, partition: str) -> None:
        del self._at[partition]


class Hearing(Notes):
    """Everything that the daemon said."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen([], [], [])

    def sealed(self, sealed: Sealed) -> None:
        self.seen.sealed.append(sealed)

    def signalled(self, signal: Signal) -> None:
        self.seen.signals.append(signal)

    def rejected(self, rejected: Sequence[Rejected]) -> None:
        self.seen.rejected.extend(rejected)


def live(site: Site, folder: Path, source: Growing) -> Seen:
    notes = Hearing()
    daemon = Daemon(
        pipeline=pipeline_of(load_config(site.path), site.path.parent), source=source,
        checkpoint=Checkpoint(folder), dead_letters=DeadLetterFile(folder / "dead"), clock=Clocks(Clock(tick_ms=20.0)),
        observer=notes, routes=[], wake=lambda: None, idleness=Idleness(IDLE_MS, 1_000), save_every_ms=60_000,
    )  # fmt: skip
    for _ in range(5_000):
        daemon.step()
        if source.whole() and daemon.idleness.flushed:
            break
    assert source.whole()
    daemon.stop()
    return notes.seen


def again(site: Site, logs: Mapping[str, list[bytes]], block: int, returns: Sequence[Return]) -> Seen:
    seen = Seen([], [], [])
    pipeline = pipeline_of(load_config(site.path), site.path.parent)
    observer = Observer(seen.sealed.append, seen.signals.append, seen.rejected.extend)
    replay(pipeline, Kept(logs, block), observer, returns=returns)
    return seen


def said(seen: Seen) -> tuple[object, ...]:
    """But for rewards whose decision is waited for still: only a log that has ended gives them up."""
    ended = [one for one in seen.rejected if one.reason != Reason.UNKNOWN_DECISION]
    reasons = sorted((str(one.reason), one.partition, one.offset) for one in ended)
    return seen.lines, sorted(seen.wire), reasons


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), partitions=st.integers(1, 3), block=st.sampled_from([1, 50, 5_000]))
def test_a_replay_repeats_the_silences_of_the_daemon(
    site: Site, tmp_path_factory: pytest.TempPathFactory, seed: int, partitions: int, block: int
) -> None:
    folder, logs = tmp_path_factory.mktemp("state"), logs_of(partitions)
    seen = live(site, folder, Growing(logs, random.Random(seed)))
    assert said(again(site, logs, block, returns_of(folder / FILE_NAME))) == said(seen)


def test_without_what_was_noted_the_replay_of_a_silence_differs(site: Site, tmp_path: Path) -> None:
    """The world of the property is one in which silences matter: events were late because of them."""
    logs = logs_of(2)
    seen = live(site, tmp_path, Growing(logs, random.Random(4)))
    assert any(one.reason == Reason.LATE for one in seen.rejected)
    assert said(again(site, logs, 50, ())) != said(seen)


def test_what_was_noted_is_bounded_and_forgotten_with_the_state_that_noted_it(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    noted = [Return("d/0", at, at) for at in range(KEPT + 5)]
    checkpoint._conn.execute("BEGIN")
    append(checkpoint._conn, noted)
    checkpoint._conn.execute("COMMIT")
    assert sorted(returns_of(tmp_path / FILE_NAME), key=lambda one: one.offset) == noted[5:]
    forget_from(checkpoint._conn, {"d/0": 7, "d/1": 0})
    assert [one.offset for one in returns_of(tmp_path / FILE_NAME)] == [5, 6]
    checkpoint.close()
    assert returns_of(tmp_path / "none") == []
