"""From the append of a forbidden action to the webhook that says so: real broker, daemon, disk and HTTP."""

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from kafka import KafkaProducer

from tests.bench.broker import FEATURES, daemon, make_topics
from tests.bench.table import Row
from tests.bench.world import NAME
from tests.contracts.http_receiver import HttpReceiver, http_receiver
from tests.kafka_broker import BrokerUnavailableError, KafkaBroker

SAMPLES, WARM, WAIT_S = 50, 5, 5.0


def rows() -> Iterator[Row]:
    """p50 and p99 over violations of different policies; nothing where there is no Java."""
    try:
        broker = KafkaBroker()
        broker.start()
    except BrokerUnavailableError as error:
        yield Row("not measured", "", str(error))
        return
    try:
        with http_receiver() as receiver, tempfile.TemporaryDirectory() as folder:
            took = _measured(broker.bootstrap, Path(folder), receiver)
    finally:
        broker.close()
    if not took:
        yield Row("not measured", "", f"no webhook within {WAIT_S:g} s")
        return
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1e3
    yield Row(
        f"{len(took)} of {SAMPLES} violations",
        f"p99 is {p99 / p50:.1f} times p50",
        f"p50 {p50:.0f} ms, p99 {p99:.0f} ms",
    )


def _measured(bootstrap: str, folder: Path, receiver: HttpReceiver) -> list[float]:
    secret = folder / "secret"
    secret.write_text("whsec_" + "QUJD" * 8)
    more = (
        f'action_envelope.actions = ["0", "1"]\n[[webhooks]]\nurl = "{receiver.url}"\nallow_http = true\n'
        f'secret_file = "{secret}"\n'
    )
    producer: Any = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=0)
    make_topics(bootstrap)
    service = daemon(bootstrap, folder, more)
    found: list[float | None] = []
    sender = threading.Thread(target=_all, args=(producer, receiver, found), daemon=True)
    sender.start()
    try:
        while sender.is_alive():  # the daemon's database belongs to the thread that opened it
            service.daemon.step()
    finally:
        service.stop()
        producer.close()
    return [took for took in found[WARM:] if took is not None]


def _all(producer: Any, receiver: HttpReceiver, found: list[float | None]) -> None:
    for i in range(SAMPLES + WARM):
        found.append(_one(producer, receiver, i))
        if found[-1] is None and len(found) > WARM:
            return


def _one(producer: Any, receiver: HttpReceiver, i: int) -> float | None:
    decision = {
        "decision_id": f"v{i}", "deployment": NAME, "policy": f"v{i}", "ts": time.time_ns() // 1_000_000,
        "action": 7, "state": [0.0] * FEATURES,
    }  # fmt: skip
    receiver.arrived.clear()
    began = time.monotonic()
    producer.send("rl.decisions", msgspec.json.encode(decision))
    return time.monotonic() - began if receiver.arrived.wait(WAIT_S) else None
