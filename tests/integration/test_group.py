"""Several daemons in one consumer group, and one that is slow to evaluate."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer

from monitor.config import SourceConfig
from monitor.config_file import load_config
from monitor.core import Core
from monitor.sealed import Sealed
from monitor.service import reload
from tests.integration.conftest import MakeSite
from tests.integration.in_process import Recorder, quiet_log, started, turn
from tests.integration.running import Process, Site, until
from tests.integration.traffic import START_MS, World, events, partition_of, produce

pytestmark = pytest.mark.kafka

PARTITIONS = 4


def test_two_daemons_share_the_partitions_and_each_goes_on_where_it_was(
    make_site: MakeSite, producer: KafkaProducer, tmp_path: Path
) -> None:
    """Two daemons with two state folders in one group.

    Guaranteed: neither crashes; each partition is read by one of them; who gets a partition back goes on at its own
    position, not at the other's, so that it sees every record itself; a restarted daemon does not wait for
    partitions that the other reads now.

    Not guaranteed: that the two together say what one alone would. Each judges the share of the traffic that it
    reads, on its own, and both may signal; what happened on a partition while it was away is read afterwards, and
    counted as late where the bucket is sealed. One daemon per deployment is how it is meant to be run; a second one
    in the group is a stand-by with a memory of its own.
    """
    site = make_site(partitions=PARTITIONS)
    other = Site(tmp_path / "other", site.bootstrap, site.topics, site.baseline)
    other.group = site.group
    other.write()
    first_part, second_part, third_part = (
        events(World(6, seed=seed, start_ms=START_MS + 6_000 * seed, per_s=20)) for seed in range(3)
    )
    with Process(site, "a1") as a1:
        produce(producer, site.topics, first_part, PARTITIONS)
        until(lambda: a1.status()["events"] == len(first_part), what="the first part")
        with Process(other, "b") as b:
            until(
                lambda: b.logged("partition_idled") or b.status()["events"],
                what="partitions of the second daemon",
            )
            produce(producer, site.topics, second_part, PARTITIONS)
            until(lambda: _positions(a1, b) == _ends(site, first_part + second_part), what="the second part")
            assert _ends_of(b)
            assert a1.stop()[0] == 0
            with Process(site, "a2") as a2:
                until(
                    lambda: a2.logged("partition_idled") or a2.logged("bucket_sealed"),
                    what="the restarted one",
                )
                produce(producer, site.topics, third_part, PARTITIONS)
                every = first_part + second_part + third_part
                until(lambda: _positions(a2, b) == _ends(site, every), what="the third part")
                until(lambda: a2.logged("bucket_sealed"), what="the restarted one seals on")
                assert a2.running
                assert b.running
                assert b.stop()[0] == 0
                until(lambda: _ends_of(a2) == _ends(site, every), what="all partitions back at the first")
                assert a2.stop()[0] == 0
                for daemon in (a1, a2, b):
                    assert "Traceback" not in daemon.text()


def test_daemon_that_is_slow_to_evaluate_stays_in_its_group(
    make_site: MakeSite, producer: KafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealing takes longer than the session of the group; its partitions are never taken away, and nothing is lost."""
    site = make_site(partitions=2)
    site.write('idle_timeout = "1s"')
    seconds = 16
    made = events(World(seconds, per_s=10))
    produce(producer, site.topics, made, 2)
    advance, spent = Core.advance, []

    def slow(core: Core, watermark_ms: int | None) -> Iterator[Sealed]:
        for sealed in advance(core, watermark_ms):
            until_s = time.monotonic() + 1.2 * SourceConfig().session_timeout_ms / 1000 / seconds
            while time.monotonic() < until_s:  # busy, not asleep: the interpreter is held as by real work
                spent.append(sum(range(1000)))
            yield sealed

    monkeypatch.setattr(Core, "advance", slow)
    recorder = Recorder()
    service = started(site.path, recorder)
    revoked: list[object] = []
    try:
        turn(service, lambda: bool(service.daemon.source.partitions()))
        monkeypatch.setattr(type(service.positions), "revoked", lambda self, names: revoked.append(names))
        turn(service, lambda: service.daemon.idleness.flushed, 90)
        assert revoked == []
        assert len(service.daemon.source.partitions()) == 6
    finally:
        monkeypatch.undo()
        service.stop()
    assert sum(sealed.decisions for sealed in recorder.seen.sealed) == seconds * 10
    assert recorder.seen.rejected == []


def _positions(*daemons: Process) -> dict[str, int]:
    """The furthest position of each partition over the daemons."""
    furthest: dict[str, int] = {}
    for daemon in daemons:
        for name, at in _ends_of(daemon).items():
            furthest[name] = max(at, furthest.get(name, 0))
    return furthest


def _ends_of(daemon: Process) -> dict[str, int]:
    return {
        name: seen["position"] for name, seen in daemon.status()["partitions"].items() if seen["position"]
    }


def _ends(site: Site, made: list[dict[str, object]]) -> dict[str, int]:
    ends: dict[str, int] = {}
    for event in made:
        name = f"{site.topics[str(event['type']) + 's']}/{partition_of(event, PARTITIONS)}"
        ends[name] = ends.get(name, 0) + 1
    return ends


def test_reloaded_daemon_answers_the_group_with_the_positions_it_has_now(
    make_site: MakeSite, producer: KafkaProducer
) -> None:
    """A rebalance after a reload must not lead back to where the reload was."""
    site = make_site()
    first, second = (events(World(4, seed=s, start_ms=START_MS + 4_000 * s, per_s=20)) for s in (0, 1))
    recorder = Recorder()
    service = started(site.path, recorder)
    try:
        produce(producer, site.topics, first)
        turn(service, lambda: recorder.status()["events"] == len(first))
        config = load_config(site.write(deployment="dry_run = true"))
        service = reload(service, config, site.folder, quiet_log())
        produce(producer, site.topics, second)
        turn(service, lambda: recorder.status()["events"] == len(first) + len(second))
        name = f"{site.topics['decisions']}/0"
        assert service.positions.assigned([name]) == {name: (len(first) + len(second)) // 2}
    finally:
        service.stop()
