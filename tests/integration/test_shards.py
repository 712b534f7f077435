"""Shards and a judge over a real broker: the signals of one daemon, whatever the number of shards, deaths included."""

import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import CoordinatorNotAvailableError

from monitor.config import Config
from monitor.config_file import load_config
from monitor.observability.telemetry import Telemetry
from monitor.sharding.merger import Merger
from monitor.sharding.service import start_judge, start_shard
from tests.conftest import MakeTopics
from tests.integration.in_process import Recorder, quiet_log
from tests.integration.replayed import Seen, replayed
from tests.integration.running import PATIENCE_S, TOPICS, Process, Site
from tests.integration.traffic import START_MS, Event, World, decision, events, produce

pytestmark = pytest.mark.kafka

PARTITIONS = 4
RULES = 'rules.constraint.keep_firing = "8s"'
SETTINGS = 'idle_timeout = "2s"\nlateness = "1s"\nsession_timeout = "6s"'


@pytest.fixture
def made() -> list[Event]:
    odd = decision(1, START_MS + 9_345, random.Random(5), decision_id="odd-1", action=7)
    return sorted([*events(World(40, change_s=14, back_s=28, per_s=30)), odd], key=lambda event: event["ts"])


class Turning:
    """A shard turned by a thread of its own: members of a group wait for each other while they join."""

    def __init__(self, config: Config) -> None:
        self._config, self._held = config, 0
        self._leave, self._saving, self._error = threading.Event(), True, ""
        self._thread = threading.Thread(target=self._turn)
        self._thread.start()

    def partitions(self) -> int:
        assert not self._error
        return self._held

    def stop(self) -> None:
        self._leave.set()
        self._thread.join()
        assert not self._error

    def kill(self) -> None:
        """Nothing is saved: what was told since the last save is told again."""
        self._saving = False
        self.stop()

    def _turn(self) -> None:
        try:
            service = start_shard(self._config, Path(), quiet_log(), Telemetry(), Recorder())
            while not self._leave.is_set():
                service.daemon.step()
                self._held = len(service.daemon.source.partitions())
            service.daemon.unsaved &= self._saving
            service.stop()
        except Exception as error:
            self._error = repr(error)


class Running:
    """A shard as its users run it: `policywatch run --role shard`, its config and state in a folder of its own."""

    def __init__(self, site: Site, number: int) -> None:
        self._mine = Site(site.folder / f"shard-{number}", site.bootstrap, site.topics, site.baseline)
        self._mine.write(SETTINGS, RULES)
        self._life = len(list(self._mine.folder.glob("*.log")))
        self.process = Process(self._mine, f"life-{self._life}", "shard")

    def partitions(self) -> int:
        assert self.process.running, self.process.text()[-2000:]
        return 0  # the broker knows

    def saved(self) -> bool:
        """Whether it has state on disk that a next life can go on from."""
        return (
            re.search(r"^policywatch_checkpoint_bytes [1-9]", self.process.get("/metrics")[1], re.MULTILINE)
            is not None
        )

    def stop(self) -> None:
        assert self.process.stop(PATIENCE_S)[0] == 0
        assert "Traceback" not in self.process.text()

    def kill(self) -> None:
        """SIGKILL: as a power cut."""
        self.process.kill()
        assert "Traceback" not in self.process.text()


class Shard(Protocol):
    """In this process or in one of its own."""

    def partitions(self) -> int: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


@dataclass
class Fleet:
    """Shards with a folder each and one judge, which is turned by hand."""

    site: Site
    shards: dict[int, "Shard"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recorder = Recorder()
        config = self._config("judge")
        self.judge = start_judge(config, self.site.folder, quiet_log(), Telemetry(), self.recorder)

    def start(self, number: int) -> None:
        self.shards[number] = Turning(self._config(f"shard-{number}"))

    def start_process(self, number: int) -> None:
        self.shards[number] = Running(self.site, number)

    def turn(self, done: Callable[[], bool], within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not done():
            held = {number: shard.partitions() for number, shard in self.shards.items()}
            assert time.monotonic() < deadline, f"not done within {within_s:g} s: {held}"
            self.judge.daemon.step()

    def whole(self) -> bool:
        """Every partition is read by somebody."""
        return sum(shard.partitions() for shard in self.shards.values()) == 3 * PARTITIONS

    def joined(self, admin: KafkaAdminClient) -> bool:
        """Every shard is a member of the group, and the group has settled."""
        try:
            found = admin.describe_groups([self.site.group])[self.site.group]
        except CoordinatorNotAvailableError:
            return False
        return found["group_state"] == "Stable" and len(found["members"]) == len(self.shards)

    def saved(self) -> bool:
        """Every shard of a process of its own has state on disk."""
        return all(shard.saved() for shard in self.shards.values() if isinstance(shard, Running))

    def restored(self, number: int) -> bool:
        """Whether a shard's process goes on from what one before it saved."""
        shard = self.shards[number]
        assert isinstance(shard, Running)
        return bool(shard.process.logged("state_restored"))

    def begun(self) -> bool:
        """Some lane has told of half of the log's first half."""
        merger = self.judge.daemon.pipeline
        assert isinstance(merger, Merger)
        return any(ms and ms > START_MS + 10_000 for ms, _ in merger.progress.values())

    def at_the_end(self) -> bool:
        """Every lane is silent and told so, and the judge has heard it."""
        merger = self.judge.daemon.pipeline
        assert isinstance(merger, Merger)
        furthest = max((ms for ms, _ in merger.progress.values() if ms), default=0)
        silent = all(idle for _, idle in merger.progress.values()) and furthest > START_MS + 40_000
        return set(merger.progress) == set(merger.expected) and silent and merger.judged_ms == furthest

    def stop(self) -> Seen:
        for shard in self.shards.values():
            shard.stop()
        self.judge.stop()
        return self.recorder.seen

    def clear(self) -> None:
        """Leaves no process behind, whatever went wrong."""
        for shard in self.shards.values():
            if isinstance(shard, Running) and shard.process.running:
                shard.process.kill()

    def _config(self, name: str) -> Config:
        return replace(load_config(self.site.path), state_path=str(self.site.folder / name))


@pytest.fixture
def cluster(
    tmp_path: Path, kafka_bootstrap: str, make_topics: MakeTopics, baseline: Path
) -> Callable[[str], Site]:
    def make(name: str) -> Site:
        topics = make_topics(*TOPICS, partitions=PARTITIONS) | make_topics("buckets")
        site = Site(tmp_path / name, kafka_bootstrap, topics, baseline)
        site.write(SETTINGS, RULES)
        return site

    return make


def test_one_two_and_four_shards_give_the_signals_of_one_daemon(
    cluster: Callable[[str], Site], made: list[Event], producer: KafkaProducer
) -> None:
    """Both of two shards are killed and restarted in the middle; what they tell again counts once."""
    seen, half = {}, len(made) // 2
    for shards in (2, 1, 4):
        site = cluster(f"shards-{shards}")
        fleet = Fleet(site)
        for number in range(shards):
            fleet.start(number)
        fleet.turn(fleet.whole)
        produce(producer, site.topics, made[:half], PARTITIONS)
        fleet.turn(fleet.begun)
        produce(producer, site.topics, made[half:], PARTITIONS)
        if shards == 2:
            for number in (0, 1):
                fleet.shards[number].kill()
                fleet.start(number)
        fleet.turn(fleet.at_the_end)
        seen[shards] = fleet.stop()
    check(seen, replayed(site.path, made, site.folder))


@pytest.mark.parametrize("fleets", [(2,), pytest.param((1, 2, 4), marks=pytest.mark.slow)], ids=str)
def test_processes_that_are_killed_and_come_back_give_the_signals_of_one_daemon(
    fleets: tuple[int, ...],
    cluster: Callable[[str], Site],
    made: list[Event],
    producer: KafkaProducer,
    kafka_bootstrap: str,
) -> None:
    """Half of the shards, or the only one, die by SIGKILL with work in hand, after they have saved something."""
    seen, half = {}, len(made) // 2
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    for shards in fleets:
        site = cluster(f"processes-{shards}")
        fleet = Fleet(site)
        try:
            for number in range(shards):
                fleet.start_process(number)
            fleet.turn(lambda fleet=fleet: fleet.joined(admin))  # type: ignore[misc]
            produce(producer, site.topics, made[:half], PARTITIONS)
            fleet.turn(lambda fleet=fleet: fleet.begun() and fleet.saved())  # type: ignore[misc]
            produce(producer, site.topics, made[half:], PARTITIONS)
            assert not fleet.at_the_end()
            for number in range((shards + 1) // 2):
                fleet.shards[number].kill()
                fleet.start_process(number)
            fleet.turn(fleet.at_the_end, 120)
            seen[shards] = fleet.stop()
            assert [fleet.restored(number) for number in range(shards)] == [
                number < (shards + 1) // 2 for number in range(shards)
            ]
        finally:
            fleet.clear()
    admin.close()
    check(seen, replayed(site.path, made, site.folder))


def check(seen: dict[int, Seen], alone: Seen) -> None:
    """The signals of one daemon, and the same measurements whatever the number of shards."""
    first = seen[min(seen)]
    assert {"reward", "constraint"} <= {signal.rule for signal in alone.signals}
    for shards, mine in seen.items():
        assert mine.rejected == [], shards
        assert mine.counts == alone.counts, shards
        assert sorted(mine.ids) == sorted(alone.ids), shards
        assert sorted(mine.wire) == sorted(first.wire), shards
        assert mine.lines == first.lines, shards
