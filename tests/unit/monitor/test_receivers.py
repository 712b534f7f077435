"""The receivers of a config, as routes of the outbox."""

from pathlib import Path

import pytest
from msgspec.structs import replace as changed

from alerts.outbox import Delivered
from alerts.outbox_store import SqliteOutbox
from alerts.senders.alertmanager import REFRESH_MS, AlertmanagerSender
from alerts.tray import Leaving
from monitor.persistence.checkpoint import Checkpoint
from monitor.receivers import Receiver, receivers_for
from tests.contracts.http_receiver import http_receiver
from tests.contracts.senders_suite import SECRET
from tests.unit.alerts.build import NOW_MS, entry, signal
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


def test_one_that_forgets_goes_on_with_what_fires_of_its_own_deployments_and_with_nothing_that_is_over() -> (
    None
):
    """Its end may have expired while the receiver was down: without this it was repeated for ever."""
    mine, other = signal(), signal(deployment="away")
    with http_receiver() as there:
        sender = AlertmanagerSender("am", there.url)
        receiver = Receiver(sender, ("home-ranker",))
        receiver.resume([mine, other], NOW_MS)
        assert sender.refresh_due(NOW_MS) == 0
        assert sender.refresh(NOW_MS / 1000) == Delivered()
        assert there.requests[0].body.count(b"startsAt") == 1
        assert sender.send(entry(signal(policy="v43")), NOW_MS / 1000) == Delivered()
        receiver.keep(frozenset({mine.alert_key, other.alert_key}))
        later_ms = NOW_MS + REFRESH_MS
        assert sender.refresh_due(later_ms) == 0
        sender.refresh(later_ms / 1000)
        assert b"v43" not in there.requests[-1].body
        receiver.keep(frozenset())
        assert sender.refresh_due(later_ms) is None
