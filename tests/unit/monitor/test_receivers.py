"""The receivers of a config, as routes of the outbox."""

from pathlib import Path

import pytest
from msgspec.structs import replace as changed

from alerts.outbox_store import SqliteOutbox
from alerts.tray import Leaving
from monitor.persistence.checkpoint import Checkpoint
from monitor.receivers import Receiver, receivers_for
from tests.contracts.senders_suite import SECRET
from tests.unit.alerts.build import NOW_MS, signal
from tests.unit.monitor.configs import config


@pytest.fixture
def receivers(tmp_path: Path) -> list[Receiver]:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "chat").write_text("https://chat.example.org/hook")
    return receivers_for(
        config(
            pagerduty=[{"routing_key_file": str(tmp_path / "secret"), "deployments": ["home"]}],
            webhooks=[{"url": "https://serving.example.org/", "secret_file": str(tmp_path / "secret")}],
            alertmanager=[{"url": "https://alerts.example.org"}],
            chat=[{"url_file": str(tmp_path / "chat")}],
        ),
        None,
        None,
    )


@pytest.mark.parametrize(("deployment", "told"), [("home", ["pagerduty-1"]), ("away", [])])
def test_an_acknowledgement_goes_to_the_pager_that_has_the_signal_and_to_nobody_else(
    tmp_path: Path, receivers: list[Receiver], deployment: str, told: list[str]
) -> None:
    seen = changed(signal(), deployment=deployment)
    checkpoint = Checkpoint(tmp_path / "state")
    checkpoint.save({}, Leaving(seen=[seen]), receivers, NOW_MS)
    store = SqliteOutbox.open(checkpoint.path)
    waiting = [entry for one in receivers for entry in store.pending(one.name)]
    store.close()
    assert [entry.receiver for entry in waiting] == told
    assert {entry.signal_id for entry in waiting} <= {seen.acknowledgement}
