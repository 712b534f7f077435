"""A daemon that dies while alerts fire: Alertmanager is told of them again at once, or it would take them for over."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from alerts.senders.alertmanager import KEEP_MS, AlertmanagerSender
from tests.integration.traffic import START_MS
from tests.simulation.faults import Fault
from tests.simulation.history import Run
from tests.simulation.logs import LONG
from tests.simulation.process import Process
from tests.simulation.receivers import Response
from tests.simulation.world import World

DEATHS_MS = (80_000, 250_000, 670_000)
AT_ONCE_MS = 6_000  # a restart of the simulated daemon takes up to 5 s


@dataclass
class Alertmanager:
    """What it was told: when, of which alert, firing or not."""

    world: World
    told: list[tuple[float, str, bool]] = field(default_factory=list)

    def urlopen(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], **rest: Any
    ) -> Response:
        """As urllib3's pool."""
        self.world.moment()
        for alert in json.loads(body):
            name = json.dumps(alert["labels"], sort_keys=True)
            self.told.append((self.world.ms, name, "startsAt" in alert))
        return Response(200)


class WithAlertmanager(Run):
    """The scene with one more receiver. begun: when each life of the daemon did."""

    def __init__(self, folder: Path, faults: list[Fault]) -> None:
        super().__init__(folder, LONG.name, 0, 7, faults)
        self.alertmanager, self.begun = Alertmanager(self.world), list[float]()
        text = '[[alertmanager]]\nurl = "http://127.0.0.1:1"\n'
        self.config_path.write_text(self.config_path.read_text() + text)

    def _born(self) -> Process:
        run = self

        class Told(Process):
            def _start(self) -> None:
                super()._start()
                run.begun.append(run.world.ms)
                for sender in self.deliveries._senders:
                    if isinstance(sender, AlertmanagerSender):
                        sender._post._pool = run.alertmanager  # type: ignore[assignment]

        return Told(self.config_path, self.world, self.broker, self.sites, self.said)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithAlertmanager]:
    kills = [Fault("kill", at_ms, number=1) for at_ms in DEATHS_MS]
    played = WithAlertmanager(tmp_path_factory.mktemp("alertmanager") / "run", kills)
    played.play()
    yield played
    played.disk.forget()


def test_what_fires_at_a_death_is_told_again_at_once(run: WithAlertmanager) -> None:
    told = run.alertmanager.told
    again = 0
    for begun_ms in run.begun[1:]:
        before = {name: firing for ms, name, firing in told if ms < begun_ms}
        soon = {name for ms, name, _ in told if begun_ms <= ms < begun_ms + AT_ONCE_MS}
        firing = {name for name, fires in before.items() if fires}
        assert firing <= soon
        again += len(firing)
    assert len(run.begun) == 1 + len(DEATHS_MS)
    assert again >= 2


def test_each_end_is_told_once_and_nothing_is_repeated_after_it(run: WithAlertmanager) -> None:
    state: dict[str, bool] = {}
    fired = {name for _, name, firing in run.alertmanager.told if firing}
    ends = 0
    for _, name, firing in run.alertmanager.told:
        assert firing or state.get(name, False), f"an end was told twice: {name}"
        ends += not firing
        state[name] = firing
    assert ends >= 3
    assert len(fired) >= 3


def test_no_alert_is_left_to_time_out_while_it_fires(run: WithAlertmanager) -> None:
    last: dict[str, float] = {}
    for ms, name, firing in run.alertmanager.told:
        assert ms - last.get(name, ms) < KEEP_MS, f"{name} at {ms - START_MS}"
        last.pop(name, None)
        if firing:
            last[name] = ms
