"""From the append that ends a bucket to its verdicts, at three rates: real broker, real time, buckets of a second."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from monitor.sealed import Sealed
from monitor.service import Service
from tests.bench.broker import daemon, make_topics
from tests.bench.table import Row
from tests.kafka_broker import BrokerUnavailableError, KafkaBroker
from tests.paths import ROOT

RATES = (1_000, 5_000, 20_000)
LATENESS_MS = 1_000
WARM_S, SECONDS = 5, 20
LIVE = 'bucket = "1s"\nwindow = "1m"\n'


def rows() -> Iterator[Row]:
    """p50 and p99 per rate; nothing where there is no Java."""
    for rate in RATES:
        try:
            broker = KafkaBroker()
            broker.start()
        except BrokerUnavailableError as error:
            yield Row("not measured", "", str(error))
            return
        try:
            with tempfile.TemporaryDirectory() as folder:
                took_ms, share = _measured(broker.bootstrap, Path(folder), rate)
        finally:
            broker.close()
        p50, p99 = np.quantile(took_ms, [0.5, 0.99])
        yield Row(
            f"{rate:,} events/s, {len(took_ms)} buckets",
            f"{share:.2f} of a core",
            f"p50 {p50:,.0f} ms, p99 {p99:,.0f} ms",
        )


def _measured(bootstrap: str, folder: Path, rate: int) -> tuple[list[float], float]:
    """Milliseconds per bucket from its end (and the lateness) to its verdicts; CPU seconds per second."""
    make_topics(bootstrap)
    service = daemon(bootstrap, folder, LIVE, source=f'lateness = "{LATENESS_MS}ms"\n')
    took_ms: list[float] = []
    _on_sealed(service, lambda sealed: took_ms.append(time.time() * 1e3 - sealed.end_ms - LATENESS_MS))
    command = [sys.executable, "-m", "tests.bench.feed", bootstrap, str(rate), str(WARM_S + SECONDS)]
    feeder = subprocess.Popen(command, cwd=ROOT)
    try:
        until = time.monotonic() + WARM_S
        while time.monotonic() < until:
            service.daemon.step()
        took_ms.clear()
        began, cpu = time.monotonic(), time.process_time()
        while feeder.poll() is None:
            service.daemon.step()
        return took_ms, (time.process_time() - cpu) / (time.monotonic() - began)
    finally:
        feeder.kill()
        feeder.wait()
        service.stop()


def _on_sealed(service: Service, told: object) -> None:
    """Hear of every sealed bucket besides the daemon's own observer."""
    assert callable(told)
    watch = service.daemon.observer
    heard = watch.sealed

    def both(sealed: Sealed) -> None:
        heard(sealed)
        told(sealed)

    watch.sealed = both  # type: ignore[method-assign]
