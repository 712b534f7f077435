"""The daemon on a state file that can be read and no longer written: it goes on by itself, and says so."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import structlog

from alerts.signal import parse
from monitor.commands import run
from monitor.exit_codes import FINE
from monitor.persistence.checkpoint import Checkpoint, StateDamagedError
from tests.simulation.digest import differences, state_in
from tests.simulation.history import Run
from tests.simulation.process import Process, Said

LOG = structlog.wrap_logger(structlog.PrintLogger(io.StringIO()))


def test_daemon_goes_on_where_the_damaged_file_stood_and_pages_once(tmp_path: Path) -> None:
    played = Run(tmp_path / "run", "one", 0, 0, ())
    before = played.play()
    checkpoint = Checkpoint(before.state)
    checkpoint.mark()
    checkpoint.close()
    for expected in (["state.damaged"], []):
        said = Said()
        process = Process(played.config_path, played.world, played.broker, played.sites, said)
        for _ in range(20):
            process.turn()
            assert process.died == ""
        process.stop()
        pages = [parse(wire) for wire in said.signals.values()]
        assert [
            page.rule for page in pages if page.rule not in ("blind.no_events", "blind.watermark")
        ] == expected
        assert all(
            "set aside as policywatch.sqlite3.damaged-1" in page.reason for page in pages[:1] if expected
        )
    assert list(differences(state_in(before.state), before.state_at_the_end)) == []


def test_save_that_meets_the_damage_makes_the_process_begin_again_by_itself(tmp_path: Path) -> None:
    """Without a save, which would fail again; systemd does not restart what ends with exit code 2."""
    stopping = run.Stopping()
    services: list[Any] = []

    def begin(*_: Any) -> Any:
        number = len(services)
        services.append(SimpleNamespace(left=[], watch=None))

        def step() -> None:
            if number == 0:
                raise StateDamagedError("rotten")
            stopping.leave.set()

        left = services[number].left
        watch = SimpleNamespace(connected=lambda _: None, inspect=lambda _: None)
        services[number].daemon = SimpleNamespace(step=step, saved_at_ms=0.0)
        services[number].watch = watch
        services[number].abandon = lambda: left.append("abandoned")
        services[number].stop = lambda: left.append("stopped")
        return services[number]

    watch: Any = SimpleNamespace(connected=lambda _: None, inspect=lambda _: None)
    config: Any = SimpleNamespace()
    telemetry: Any = None
    assert run._serve(config, tmp_path, LOG, telemetry, watch, stopping, begin) == FINE
    assert [service.left for service in services] == [["abandoned"], ["stopped"]]
