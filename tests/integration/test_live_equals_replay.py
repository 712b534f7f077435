"""The same log through Kafka, in any poll sizes, and through `replay`: the same bytes."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from kafka import KafkaProducer

from monitor.decoding.reasons import Reason
from tests.integration.conftest import MakeSite
from tests.integration.in_process import Recorder, run_to_the_end, started, turn
from tests.integration.replayed import Seen, replayed
from tests.integration.running import Site
from tests.integration.traffic import World, events, partition_of, produce
from tests.paths import ROOT

pytestmark = pytest.mark.kafka

SHORT = '[deployments.shop.rules.reward]\nkeep_firing = "4s"'
WORLD = World(40, change_s=8, back_s=12, per_s=20)


@pytest.mark.parametrize("partitions", [1, 3])
def test_random_poll_sizes_give_the_measurements_and_signals_of_a_replay(
    make_site: MakeSite, producer: KafkaProducer, tmp_path: Path, partitions: int
) -> None:
    """Read three times by groups of their own; the seeds of the poll sizes are the run's number."""
    site = make_site(partitions=partitions)
    made = events(WORLD)
    produce(producer, site.topics, made, partitions)
    site.write("", SHORT)
    expected = replayed(site.path, made, tmp_path)
    assert {signal.state for signal in expected.signals} == {"firing", "resolved"}
    for seed in range(2):
        assert_same(_live(site, seed, tmp_path), expected, f"seed {seed}")


def test_replay_of_the_topics_is_late_where_the_daemon_was(
    make_site: MakeSite, producer: KafkaProducer
) -> None:
    """The second partition is silent until the first is sealed; then it tells of the same time."""
    site = make_site(partitions=2)
    made = events(WORLD)
    early, late = ([e for e in made if partition_of(e, 2) == p] for p in (0, 1))
    recorder = Recorder()
    service = started(site.write('idle_timeout = "500ms"', SHORT), recorder)
    try:
        produce(producer, site.topics, early, 2)
        turn(service, lambda: service.daemon.idleness.flushed and recorder.status()["events"] == len(early))
        produce(producer, site.topics, late, 2)
        turn(service, lambda: service.daemon.idleness.flushed and recorder.status()["events"] == len(made))
    finally:
        service.stop()
    assert any(one.reason == Reason.LATE for one in recorder.seen.rejected)
    out = site.folder / "measurements.jsonl"
    arguments = ["replay", "-c", str(site.path), "--from-kafka", "--measurements", str(out), "--json"]
    subprocess.run([sys.executable, "-m", "monitor", *arguments], cwd=ROOT, check=True, capture_output=True)
    assert out.read_bytes().splitlines() == recorder.seen.lines


def _live(site: Site, seed: int, folder: Path) -> Seen:
    size = random.Random(seed).choice([1 + seed, 7, 83, 411, 20_000])
    again = Site(folder / f"run-{seed}", site.bootstrap, site.topics, site.baseline)
    again.group = f"{site.group}-{seed}"
    again.write(f'max_poll_records = {max(size, 5)}\nidle_timeout = "1500ms"', SHORT)
    return run_to_the_end(again.path)


def assert_same(seen: Seen, expected: Seen, what: str) -> None:
    assert seen.rejected == [], what
    assert seen.counts == expected.counts, what
    assert seen.lines == expected.lines, what
    assert seen.wire == expected.wire, what
