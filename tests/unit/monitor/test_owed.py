"""A start while the broker is away: what was saved and not delivered before goes out, in its turn and once."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog

from alerts.tray import Leaving
from monitor.clocks import Clocks, RealClock
from monitor.commands import run
from monitor.config_file import parse_config
from monitor.kafka.kafka_source import SourceError
from monitor.observability.telemetry import Telemetry
from monitor.observability.watch import Watch
from monitor.owed import delivery_of_owed
from monitor.persistence.checkpoint import Checkpoint
from monitor.persistence.state import CODEC
from monitor.receivers import receivers_for
from tests.contracts.http_receiver import http_receiver
from tests.contracts.senders_suite import SECRET
from tests.unit.alerts.build import signal

LOG = structlog.wrap_logger(structlog.PrintLogger(), processors=[lambda *a: ""])


def test_a_fallback_that_had_not_arrived_is_delivered_while_the_broker_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    clock = Clocks(RealClock())
    with http_receiver() as serving:
        config = parse_config(
            {
                "state": {"path": str(tmp_path / "state")},
                "deployments": {"home-ranker": {"fallback_policy": "rules-v3"}},
                "webhooks": [{"url": serving.url, "secret_file": str(tmp_path / "secret")}],
            }
        )
        watch = Watch(Telemetry(), LOG, RealClock(), "")
        assert delivery_of_owed(config, LOG, watch) is None  # nothing was ever saved
        checkpoint = Checkpoint(Path(config.state_path))
        checkpoint.save(
            {"clock": CODEC.encode(clock.landmark().state())}, Leaving([signal(), signal(id="sig_2")]),
            receivers_for(config, LOG, None), clock.steady_ms(),
        )  # fmt: skip
        checkpoint.close()
        tries: list[int] = []

        def away(*_: Any) -> Any:
            tries.append(len(serving.requests))
            if len(tries) == 3:
                stopping.leave.set()
            raise SourceError("nobody there")

        stopping = run.Stopping()
        monkeypatch.setattr(run, "BACK_OFF_S", (0.7,))
        found = run._connected(config, tmp_path, LOG, Telemetry(), watch, stopping, away)
    assert found is None
    assert tries == [0, 2, 2]
    assert [json.loads(request.body)["id"] for request in serving.requests] == [signal().id, "sig_2"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("delivery-")]
