"""`make soak`: the real daemon and broker for an hour at 1,000 events/s; memory and descriptors have to stay flat.

ARGS="--minutes 20 --rate 500" runs another; --warm-up says from when on the slope is taken. Prints a sample every ten
seconds, keeps them in --out, and ends with 1 unless memory grows by at most 1 MB an hour, with its whole interval, and
descriptors are as many in the end as after the warm-up.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from tests.contracts.http_receiver import HttpReceiver, http_receiver
from tests.integration.running import TOPICS, Process, Site, make_baseline
from tests.kafka_broker import KafkaBroker
from tests.paths import ROOT
from tests.soak.sample import Sample, sample
from tests.soak.slope import slope

EVERY_S = 10.0
MOST_MB_PER_HOUR = 1.0
SPARE_DESCRIPTORS = 3  # a connection that is being made anew
# What has been read goes after five minutes: the broker's disk stays small.
RETENTION = {"retention.ms": "300000", "segment.ms": "60000", "segment.bytes": str(16 << 20)}


class Feeder:
    """The feeding process and how much it has sent."""

    def __init__(self, site: Site, rate: int) -> None:
        self.sent = 0
        command = [sys.executable, "-m", "tests.soak.feeder", site.bootstrap]
        command += [site.topics["decisions"], site.topics["rewards"], str(rate)]
        self._popen = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        threading.Thread(target=self._count, daemon=True).start()

    def stop(self) -> None:
        self._popen.kill()
        self._popen.wait()

    def _count(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self.sent = int(line)


def main() -> int:
    """0 when all stayed flat."""
    parser = ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long")
    parser.add_argument("--rate", type=int, default=1_000, help="events a second, half of them decisions")
    parser.add_argument("--warm-up", type=float, default=10.0, help="minutes that do not count")
    parser.add_argument("--out", type=Path, help="a file for the samples, JSON lines")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, soaking(Path(folder), arguments.rate) as seen:
        samples = []
        for one in seen:
            samples.append(one)
            print(json.dumps(dataclasses.asdict(one)), flush=True)
            if arguments.out:
                with arguments.out.open("a") as out:
                    out.write(json.dumps(dataclasses.asdict(one)) + "\n")
            if one.at_s >= arguments.minutes * 60:
                break
    return judge(samples, arguments.warm_up * 60)


def judge(samples: Sequence[Sample], warm_up_s: float) -> int:
    """Says what was seen; 0 when it is flat."""
    counted = [one for one in samples if one.at_s >= warm_up_s]
    rss = slope([one.at_s for one in counted], [one.rss_mb for one in counted])
    verdict = rss.verdict(MOST_MB_PER_HOUR)
    before, after = counted[0].descriptors, counted[-1].descriptors
    print(
        f"resident memory {counted[0].rss_mb:.1f} -> {counted[-1].rss_mb:.1f} MB, "
        f"{rss.per_hour:+.2f} MB/h (95 %: {rss.lower:+.2f} to {rss.upper:+.2f}): {verdict}"
    )
    print(f"descriptors {before} -> {after}, threads {counted[0].threads} -> {counted[-1].threads}")
    print(
        f"state {counted[0].state_mb:.1f} -> {counted[-1].state_mb:.1f} MB, lag at most {max(o.lag for o in counted)}"
    )
    return int(verdict != "flat" or after > before + SPARE_DESCRIPTORS)


@contextmanager
def soaking(folder: Path, rate: int) -> Iterator[Iterator[Sample]]:
    """Broker, daemon, receiver and feeder; the samples come as time goes by."""
    broker = KafkaBroker()
    try:
        broker.start()
        with http_receiver() as receiver:
            site = soaked_site(folder, broker, receiver)
            with Process(site) as daemon:
                daemon.await_log("state_started_empty")
                feeder = Feeder(site, rate)
                try:
                    yield sampled(site, daemon, feeder)
                finally:
                    feeder.stop()
                print(
                    f"signals received: {len(receiver.requests)}; buckets {len(daemon.logged('bucket_sealed'))}"
                )
    finally:
        broker.close()


def soaked_site(folder: Path, broker: KafkaBroker, receiver: HttpReceiver) -> Site:
    """Topics that forget, delayed rewards, alerts that fire and resolve."""
    topics = {name: f"soak-{name}" for name in TOPICS}
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics([NewTopic(name, 1, 1, topic_configs=RETENTION) for name in topics.values()])
    admin.close()
    site = Site(folder / "site", broker.bootstrap, topics, make_baseline(folder / "baseline", 600))
    site.webhook = receiver.url
    path = site.write()
    text = path.read_text().replace('reward_horizon = "5s"', 'reward_horizon = "60s"')
    path.write_text(text.replace('window = "20s"', 'window = "60s"'))
    return site


def sampled(site: Site, daemon: Process, feeder: Feeder) -> Iterator[Sample]:
    """One every ten seconds, while the daemon lives."""
    begun = time.monotonic()
    for number in range(1, 1_000_000):
        time.sleep(max(0.0, begun + number * EVERY_S - time.monotonic()))
        assert daemon.running, f"the daemon left: {daemon.text()[-2000:]}"
        at_s = time.monotonic() - begun
        lag = sum(partition["lag"] or 0 for partition in daemon.status()["partitions"].values())
        yield sample(daemon.pid, site.state, at_s, lag, feeder.sent)


if __name__ == "__main__":
    sys.exit(main())
