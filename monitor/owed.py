"""While the broker cannot be reached at a start: what the outbox owes from the life before goes out all the same."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from alerts.delivery import Delivery
from alerts.outbox_store import SqliteOutbox
from monitor.clocks import Clocks, RealClock
from monitor.config import Config
from monitor.observability.watch import Watch
from monitor.persistence.checkpoint import FILE_NAME, CheckpointError
from monitor.persistence.quarantine import opened
from monitor.receivers import receivers_for
from monitor.service import landmark


def delivery_of_owed(config: Config, log: Any, watch: Watch) -> Callable[[], Delivery] | None:
    """Makes a delivery to every receiver but the broker; None where there is no state yet, or none that can be read."""
    folder = Path(config.state_path)
    if not (folder / FILE_NAME).exists():
        return None
    machine = RealClock()
    try:
        checkpoint, saved = opened(folder, machine.now_ms())
    except CheckpointError:
        return None  # who begins says so
    with closing(checkpoint):
        clock = Clocks(machine, landmark(checkpoint, saved))
    senders = [receiver.sender for receiver in receivers_for(config, log, None)]
    return lambda: Delivery(senders, lambda: SqliteOutbox.open(checkpoint.path), clock, watch)
