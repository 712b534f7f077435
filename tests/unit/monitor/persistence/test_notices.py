"""What is said again when the state file was set aside."""

from pathlib import Path

from alerts.desk_terms import Command, Terms
from alerts.signal import cloudevent
from monitor.persistence.checkpoint import Damage
from monitor.persistence.notices import say_damaged
from tests.unit.alerts.build import signal
from tests.unit.monitor.test_daemon import Notes, daemon_on

DAMAGE = Damage("a page is rotten", 1, "policywatch.sqlite3.damaged-1", 3, {"outbox": 2})


def test_safety_signals_that_fire_are_sent_once_more_with_a_life_that_no_receiver_refuses(
    tmp_path: Path,
) -> None:
    daemon = daemon_on(tmp_path, Notes())
    fires, page = (
        signal(deployment="first"),
        signal(id="sig_page", kind="page", rule="critic", deployment="first"),
    )
    waits = signal(id="sig_waits", rule="state", deployment="first")
    daemon.desk.use({"first": Terms(frozenset({"state"}), 600_000, "drop", 5_000)})
    daemon.desk.take([waits], daemon.moment())
    daemon.desk.opened.open |= {each.alert_key: cloudevent(each) for each in (fires, page)}
    say_damaged(daemon, DAMAGE)
    (again,) = daemon.again
    assert again.id == fires.id
    assert again.generation > fires.generation
    assert again.expires_at_ms != fires.expires_at_ms
    assert [each.rule for each in daemon.unsent] == ["state.damaged", "state.damaged"]  # one per deployment
    assert [record.what for record in daemon.desk.tray.records] == ["approval_asked", "sent_anew"]
    assert daemon.desk.obey(Command("approve", "ann", "", waits.id), daemon.moment()).status == 200
    daemon.leave()
