"""Two hours in which nobody was there, with a fallback that had not arrived: what is over is not acted on after."""

from pathlib import Path

import pytest

from alerts.signal import Signal, parse
from tests.integration.traffic import START_MS
from tests.simulation.history import MOST_TURNS, Run
from tests.simulation.logs import LONG

DEATH_MS, AWAY_MS = 300_000, 2 * 3_600_000


def played(folder: Path) -> list[Signal]:
    """What a receiver heard, which works again after the outage. The backlog is a few hundred records."""
    run = Run(folder, LONG.name, 0, 7, [])
    for site in run.sites:
        site.trouble = "refused"
    died = False
    for _ in range(MOST_TURNS):
        run._faults()
        run.process.turn()
        if not died and run.world.ms > START_MS + DEATH_MS:
            died, run.process.died = True, "the whole rack"
            run._die()
            run.world.ms += AWAY_MS
            for site in run.sites:
                site.trouble = "none"
        elif died and run.process.finished and run._delivered():
            run.process.stop()
            run.disk.forget()
            return [parse(heard.body) for heard in run.sites[0].heard if heard.verdict != "repeated"]
    raise AssertionError("the run does not end")


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> list[Signal]:
    return played(tmp_path_factory.mktemp("outage") / "run")


def test_only_what_fires_still_is_acted_on_and_with_a_fresh_life(heard: list[Signal]) -> None:
    acted = [one for one in heard if one.safety]
    assert acted
    for one in acted:
        assert "still so after catching up" in one.reason
        assert one.expires_at_ms is not None
        assert one.expires_at_ms > START_MS + DEATH_MS + AWAY_MS


def test_person_is_told_what_was_not_sent_and_why(heard: list[Signal]) -> None:
    pages = {one.rule: one.reason for one in heard if one.kind == "page"}
    assert "because what they say is over" in pages["catch_up"]
    assert "never arrived at webhook-2 (expired); it is not sent any more" in pages["delivery.expired"]
