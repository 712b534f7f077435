"""From the Kafka append of a forbidden action to the webhook at the receiver, on a warm local broker.

`python -m tests.bench.violation_latency [N]` starts the broker of the tests, the daemon as a process of its own and a
receiver, sends N decisions outside the envelope, one at a time among ordinary traffic, and prints p50 and p99. The
clock starts when the broker has acknowledged the record.
"""

import random
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from tests.contracts.http_receiver import HttpReceiver, http_receiver
from tests.integration.running import TOPICS, Process, Site, make_baseline
from tests.integration.traffic import START_MS, decision, wire
from tests.kafka_broker import KafkaBroker

FORBIDDEN = 9
WARM_UP = 3  # the first signals of a process pay for imports, connections and the first save
BACKGROUND = 20  # ordinary decisions before each forbidden one
APART_MS = 1_000  # event time between violations; each is an incident of its own


def measure(count: int, site: Site, producer: KafkaProducer, receiver: HttpReceiver) -> list[float]:
    """Milliseconds from append to arrival, one number per violation."""
    site.webhook = receiver.url
    site.write(deployment='[deployments.shop.rules.constraint]\nkeep_firing = "1ms"')
    topic, rng = site.topics["decisions"], random.Random(5)
    with Process(site) as daemon:
        producer.send(topic, wire(decision(0, START_MS, rng))).get(30)
        daemon.await_positions({f"{topic}/0": 1})
        numbers = range(1, count + WARM_UP + 1)
        took_ms = [_one(number, topic, producer, receiver, rng) for number in numbers]
        assert daemon.stop()[0] == 0
    return took_ms[WARM_UP:]


def _one(
    number: int, topic: str, producer: KafkaProducer, receiver: HttpReceiver, rng: random.Random
) -> float:
    at_ms = START_MS + number * APART_MS
    for i in range(BACKGROUND):
        producer.send(topic, wire(decision(number * 1000 + i, at_ms - BACKGROUND + i, rng)))
    producer.flush(30)
    before = len(receiver.requests)
    forbidden = decision(number * 1000 + 999, at_ms, rng, action=FORBIDDEN)
    producer.send(topic, wire(forbidden)).get(30)
    appended = time.perf_counter()
    deadline = appended + 30
    while len(receiver.requests) == before:
        assert time.perf_counter() < deadline, "no webhook within 30 s"
        time.sleep(0.0005)
    return (time.perf_counter() - appended) * 1000


def main(count: int) -> None:
    """A broker, a site and a receiver of its own; prints the percentiles."""
    broker = KafkaBroker()
    try:
        broker.start()
        with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
            admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1) for name in TOPICS])
        with tempfile.TemporaryDirectory() as folder, http_receiver() as receiver:
            site = Site(
                Path(folder) / "site", broker.bootstrap, {name: name for name in TOPICS},
                make_baseline(Path(folder)),
            )  # fmt: skip
            producer = KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all", linger_ms=0)
            took_ms = sorted(measure(count, site, producer, receiver))
            producer.close(timeout=5)
    finally:
        broker.close()
    p50, p99 = took_ms[len(took_ms) // 2], took_ms[min(len(took_ms) - 1, int(len(took_ms) * 0.99))]
    print(f"violation to webhook, n = {count}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {took_ms[-1]:.1f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
