"""Partitions that fall silent and speak again all at once, while the daemon runs or while it is away."""

import pytest
from kafka import KafkaProducer

from monitor.service import Service
from tests.integration.conftest import MakeSite
from tests.integration.in_process import Recorder, started, turn
from tests.integration.traffic import START_MS, World, events, produce

pytestmark = pytest.mark.kafka

PARTITIONS = 3
PARTS = [events(World(8, seed=seed, start_ms=START_MS + 20_000 * seed, per_s=20)) for seed in range(3)]


def test_burst_after_a_silence_or_a_stop_is_late_in_no_partition(
    make_site: MakeSite, producer: KafkaProducer
) -> None:
    """Whoever is polled first must not carry time past the others, which have as much to say."""
    site = make_site(partitions=PARTITIONS)
    site.write('idle_timeout = "700ms"\nmax_poll_records = 60')
    recorder = Recorder()
    service = started(site.path, recorder)
    try:
        produce(producer, site.topics, PARTS[0], PARTITIONS)
        _until_read(service, recorder, 1)
        produce(producer, site.topics, PARTS[1], PARTITIONS)
        _until_read(service, recorder, 2)
    finally:
        service.stop()
    produce(producer, site.topics, PARTS[2], PARTITIONS)
    service = started(site.path, recorder)
    try:
        _until_read(service, recorder, 3)
    finally:
        service.stop()


def _until_read(service: Service, recorder: Recorder, parts: int) -> None:
    wanted = sum(len(part) for part in PARTS[:parts])
    turn(service, lambda: recorder.status()["events"] == wanted and service.daemon.idleness.flushed)
    assert recorder.seen.rejected == []
    assert sum(sealed.decisions for sealed in recorder.seen.sealed) == wanted // 2
