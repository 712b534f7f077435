"""A daemon that is stopped, or dies, in mid-stream and starts again says what an undisturbed one says."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from standardwebhooks import Webhook

from tests.contracts.http_receiver import HttpReceiver
from tests.integration.conftest import MakeSite
from tests.integration.replayed import replayed
from tests.integration.running import SECRET, Process, read_topic, until
from tests.integration.traffic import DEPLOYMENT, World, events, produce

pytestmark = pytest.mark.kafka

SLOW = "max_poll_records = 150"
STEADY = f'{SLOW}\nidle_timeout = "5m"'  # a log of which a piece is still to come is not idle, however busy the machine
QUICK_TO_CLEAR = '[deployments.shop.rules.reward]\nkeep_firing = "4s"'


def test_stopped_and_killed_in_mid_stream_it_ends_as_if_nothing_had_happened(
    make_site: MakeSite,
    producer: KafkaProducer,
    receiver: HttpReceiver,
    kafka_bootstrap: str,
    tmp_path: Path,
) -> None:
    """A signal may be sent again after a death between sending and noting it: then with the same id and bytes.

    Each daemon but the last is given a piece of the log, so that none can reach the end before it is stopped.
    """
    site = make_site()
    site.webhook = receiver.url
    site.write(STEADY, QUICK_TO_CLEAR)
    made = events(World(60, change_s=20, back_s=30))
    ahead = {"type": "metric", "deployment": DEPLOYMENT, "metric": "orders", "ts": made[-1]["ts"], "value": 1.0,
             "decision_id": "a metric has none"}  # fmt: skip
    expected = replayed(site.path, [*made, ahead], tmp_path)
    assert {signal.state for signal in expected.signals} == {"firing", "resolved"}
    produce(producer, site.topics, [ahead])  # a partition that was never heard would hold the others back
    first_piece, second_piece = len(made) * 5 // 12, len(made) * 10 // 12
    produce(producer, site.topics, made[:first_piece])
    counts: dict[str, int] = {}
    with Process(site, "first") as first:
        until(lambda: len(first.logged("bucket_sealed")) >= 12, what="twelve buckets")
        assert first.stop()[0] == 0
        counts |= _counts(first)
    produce(producer, site.topics, made[first_piece:second_piece])
    with Process(site, "second") as second:
        until(lambda: len(second.logged("bucket_sealed")) >= 15, what="fifteen more buckets")
        second.kill()
        counts |= _counts(second)
    assert len(counts) < len(expected.counts), "it was killed too late to be in mid-stream"
    site.write(SLOW, QUICK_TO_CLEAR)
    produce(producer, site.topics, made[second_piece:])
    with Process(site, "third") as third:
        last = expected.counts[-1][0]
        until(lambda: last in _counts(third), what="the last bucket")
        assert third.stop()[0] == 0
        counts |= _counts(third)
    assert sorted(counts.items()) == expected.counts
    assert distinct(read_topic(kafka_bootstrap, site.topics["signals"])) == expected.wire
    bodies = [request.body for request in receiver.requests]
    assert {Webhook(SECRET).verify(r.body, r.headers)["id"] for r in receiver.requests} == set(expected.ids)
    assert distinct(bodies) == expected.wire
    rejected = [line for run in (first, second, third) for line in run.logged("record_rejected")]
    assert rejected == []


def test_second_daemon_on_the_same_state_is_refused(make_site: MakeSite, producer: KafkaProducer) -> None:
    site = make_site(partitions=2)
    made = events(World(20))
    with Process(site, "first") as first:
        first.await_log("state_started_empty")
        produce(producer, site.topics, made[:800], 2)
        until(lambda: first.logged("bucket_sealed"), what="a bucket of the first")
        with Process(site, "second") as second:
            second.await_log("state_restored")
            produce(producer, site.topics, made[800:], 2)
            until(lambda: not (first.running and second.running), what="one of the two to stop")
            loser = second if first.running else first
            assert loser.wait(10) == 2
            assert "written by another daemon" in loser.text()
            assert "Traceback" not in loser.text()


def _counts(daemon: Process) -> dict[str, int]:
    return {line["end"]: line["decisions"] for line in daemon.logged("bucket_sealed")}


def distinct(records: list[bytes]) -> list[bytes]:
    """Repeats of one id are one, and must be the same bytes."""
    by_id: dict[str, bytes] = {}
    for record in records:
        assert by_id.setdefault(json.loads(record)["id"], record) == record
    return list(by_id.values())


def test_state_older_than_the_log_stops_the_daemon_in_plain_words(
    make_site: MakeSite, producer: KafkaProducer, kafka_bootstrap: str
) -> None:
    """Going on would skip records without a word; a person has to decide."""
    site = make_site()
    made = events(World(10))
    topic = site.topics["decisions"]
    produce(producer, site.topics, made[:200])
    with Process(site, "first") as first:
        until(lambda: first.status()["events"] == 200, what="the first events")
        assert first.stop()[0] == 0
    produce(producer, site.topics, made[200:])
    with closing(KafkaAdminClient(bootstrap_servers=kafka_bootstrap)) as admin:
        admin.delete_records({TopicPartition(topic, 0): 300})
    with Process(site, "second") as second:
        assert second.wait(40) == 3
        (said,) = second.logged("offsets_gone")
        assert f"{topic}/0" in said["reason"]
        assert "Traceback" not in second.text()
    with Process(site, "third") as third:
        assert third.wait(40) == 3
    (page,) = read_topic(kafka_bootstrap, site.topics["signals"])  # the third start says nothing new
    told = json.loads(page)["data"]
    assert (told["kind"], told["rule"], told["state"]) == ("hold", "blind.offsets_gone", "firing")
    assert f"{topic}/0" in told["reason"]
