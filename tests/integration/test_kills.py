"""The real daemon against the real broker, killed at random moments: it ends as if nothing had happened."""

import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from kafka import KafkaProducer

from monitor.durations import rfc3339
from tests.contracts.http_receiver import HttpReceiver, Reply
from tests.integration.conftest import MakeSite
from tests.integration.in_process import run_to_the_end
from tests.integration.replayed import Seen
from tests.integration.running import Process, Site, read_topic, until
from tests.integration.test_restart import distinct
from tests.integration.traffic import DEPLOYMENT, Event, World, events, produce
from tests.kafka_broker import KafkaBroker
from tests.simulation.digest import State, differences, state_in

pytestmark = pytest.mark.kafka

SOURCE = 'max_poll_records = {poll}\nsession_timeout = "3s"\nidle_timeout = "{idle}"'
# Nobody acts on the signals here; what the closed loop sends again has a newer generation, so its bytes differ.
QUICK_TO_CLEAR = 'closed_loop = "1h"\n[deployments.shop.rules.reward]\nkeep_firing = "4s"'
STEADY = "5m"  # while a piece of the log is still to come it is not idle, however busy the machine
DAY = World(60, change_s=20, back_s=30)


def test_killed_three_times_it_ends_as_if_nothing_had_happened(
    make_site: MakeSite, producer: KafkaProducer, receiver: HttpReceiver, kafka_bootstrap: str, tmp_path: Path
) -> None:
    site = a_site(make_site, receiver, poll=100)
    made = events(DAY)
    pieces = [made[len(made) * at // 4 : len(made) * (at + 1) // 4] for at in range(4)]
    produce(producer, site.topics, [ahead(made)])
    for number, after_s in enumerate((0.05, 0.3, 0.0)):
        produce(producer, site.topics, pieces[number])
        killed(site, number, after_s)
    produce(producer, site.topics, pieces[-1])
    check(site, made, tmp_path, receiver, kafka_bootstrap)


@pytest.mark.slow
def test_killed_two_hundred_times_it_ends_as_if_nothing_had_happened(
    make_site: MakeSite, producer: KafkaProducer, receiver: HttpReceiver, kafka_bootstrap: str, tmp_path: Path
) -> None:
    """The log grows meanwhile, so that there is always something to die in; half-way the receiver is down."""
    site = a_site(make_site, receiver, poll=100)
    made, rng = events(World(400, change_s=100, back_s=250)), random.Random(5)
    produce(producer, site.topics, [ahead(made)])
    for number in range(200):
        begin, end = (len(made) * at // 201 for at in (number, number + 1))
        produce(producer, site.topics, made[begin:end])
        receiver.script = [Reply(status=503)] if 80 <= number < 120 else [Reply()]
        killed(site, number, rng.choice((0.0, 0.1, 0.3, 1.0)) * rng.random())
    produce(producer, site.topics, made[len(made) * 200 // 201 :])
    check(site, made, tmp_path, receiver, kafka_bootstrap)


@pytest.mark.slow
def test_broker_that_dies_and_comes_back_loses_nothing(
    make_site: MakeSite,
    producer: KafkaProducer,
    receiver: HttpReceiver,
    kafka_broker: KafkaBroker,
    tmp_path: Path,
) -> None:
    site = a_site(make_site, receiver, poll=60)
    made = events(DAY)
    produce(producer, site.topics, [ahead(made), *made])
    with Process(site, "through") as daemon:
        until(lambda: len(daemon.logged("bucket_sealed")) >= 8, what="eight buckets")
        kafka_broker.kill()
        time.sleep(3)
        kafka_broker.start()
        until(lambda: last_but_few(made) in ends(daemon), 90, "the last buckets")
        assert daemon.stop()[0] == 0
    check(site, made, tmp_path, receiver, kafka_broker.bootstrap)


def a_site(make_site: MakeSite, receiver: HttpReceiver, poll: int) -> Site:
    site = make_site()
    site.webhook = receiver.url
    site.write(SOURCE.format(poll=poll, idle=STEADY), QUICK_TO_CLEAR)
    return site


def killed(site: Site, number: int, after_s: float) -> None:
    """One life: from the start until a moment after it has something to do."""
    with Process(site, f"life-{number}") as daemon:
        until(lambda: daemon.logged("state_restored") or daemon.logged("state_started_empty"), what="a state")
        until(lambda: daemon.logged("bucket_sealed"), what="something to do")
        time.sleep(after_s)
        daemon.kill()
        assert "Traceback" not in daemon.text()


def check(site: Site, made: list[Event], folder: Path, receiver: HttpReceiver, bootstrap: str) -> None:
    """The same topics read by a daemon that nobody disturbs are what it is measured by."""
    site.write(SOURCE.format(poll=20_000, idle="300ms"), QUICK_TO_CLEAR)
    with Process(site, "last") as daemon:
        until(lambda: last_bucket(made) in ends(daemon), 90, "the last bucket")
        until(lambda: not waiting(daemon), 90, "deliveries")
        assert daemon.stop()[0] == 0
    sent = distinct(read_topic(bootstrap, site.topics["signals"]))
    calm = Site(folder / "calm", site.bootstrap, site.topics, site.baseline)
    calm.group += "-calm"
    calm.write(SOURCE.format(poll=20_000, idle="300ms"), QUICK_TO_CLEAR)
    expected = run_to_the_end(calm.path)
    assert {signal.state for signal in expected.signals} == {"firing", "resolved"}
    assert list(differences(state_of(site), state_of(calm))) == []
    assert sorted(sent) == sorted(expected.wire)
    assert arrived(receiver) == ids(expected)


def waiting(daemon: Process) -> list[str]:
    """The receivers that have not got every signal yet."""
    lines = daemon.get("/metrics")[1].splitlines()
    waits = [line for line in lines if line.startswith("policywatch_delivery_pending{")]
    assert waits, "nobody counts what waits"
    return [line for line in waits if float(line.rpartition(" ")[2]) > 0]


def ahead(made: Sequence[Event]) -> Event:
    """A metric of the log's last moment: a partition that was never heard would hold the others back."""
    return {"type": "metric", "deployment": DEPLOYMENT, "metric": "orders", "ts": made[-1]["ts"], "value": 1.0,
            "decision_id": "a metric has none"}  # fmt: skip


def last_but_few(made: list[Event]) -> str:
    """The end of a bucket that is sealed while the log may still go on."""
    return rfc3339((made[-1]["ts"] // 1_000 - 5) * 1_000)


def last_bucket(made: list[Event]) -> str:
    """The end of the last bucket that holds anything."""
    return rfc3339((max(event["ts"] for event in made) // 1_000 + 1) * 1_000)


def ends(daemon: Process) -> list[str]:
    return [line["end"] for line in daemon.logged("bucket_sealed")]


def state_of(site: Site) -> State:
    return state_in(site.state)


def ids(seen: Seen) -> set[str]:
    return set(seen.ids)


def arrived(receiver: HttpReceiver) -> set[str]:
    return {request.headers["webhook-id"] for request in receiver.requests}
