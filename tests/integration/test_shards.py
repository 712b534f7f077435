"""Shards and a judge over a real broker: the signals of one daemon, whatever the number of shards, deaths included."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from kafka import KafkaProducer

from monitor.config import Config
from monitor.config_file import load_config
from monitor.sharding.merger import Merger
from monitor.sharding.service import start_judge, start_shard
from monitor.telemetry import Telemetry
from tests.conftest import MakeTopics
from tests.integration.in_process import Recorder, quiet_log
from tests.integration.replayed import Seen, replayed
from tests.integration.running import TOPICS, Site
from tests.integration.traffic import START_MS, Event, World, decision, events, produce

pytestmark = pytest.mark.kafka

PARTITIONS = 4
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


@dataclass
class Fleet:
    """Shards with a folder each and one judge, which is turned by hand."""

    site: Site
    shards: dict[int, Turning] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recorder = Recorder()
        config = self._config("judge")
        self.judge = start_judge(config, self.site.folder, quiet_log(), Telemetry(), self.recorder)

    def start(self, number: int) -> None:
        self.shards[number] = Turning(self._config(f"shard-{number}"))

    def turn(self, done: Callable[[], bool], within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not done():
            held = {number: shard.partitions() for number, shard in self.shards.items()}
            assert time.monotonic() < deadline, f"not done within {within_s:g} s: {held}"
            self.judge.daemon.step()

    def whole(self) -> bool:
        """Every partition is read by somebody."""
        return sum(shard.partitions() for shard in self.shards.values()) == 3 * PARTITIONS

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

    def _config(self, name: str) -> Config:
        return replace(load_config(self.site.path), state_path=str(self.site.folder / name))


@pytest.fixture
def cluster(
    tmp_path: Path, kafka_bootstrap: str, make_topics: MakeTopics, baseline: Path
) -> Callable[[str], Site]:
    def make(name: str) -> Site:
        topics = make_topics(*TOPICS, partitions=PARTITIONS) | make_topics("buckets")
        site = Site(tmp_path / name, kafka_bootstrap, topics, baseline)
        site.write(SETTINGS, 'rules.constraint.keep_firing = "8s"')
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
    alone = replayed(site.path, made, site.folder)
    assert {"reward", "constraint"} <= {signal.rule for signal in alone.signals}
    for shards, mine in seen.items():
        assert mine.rejected == [], shards
        assert mine.counts == alone.counts, shards
        assert sorted(mine.ids) == sorted(alone.ids), shards
        assert sorted(mine.wire) == sorted(seen[1].wire), shards
        assert mine.lines == seen[1].lines, shards
