"""The simulated disk needs to reach the SQLite inside Python; where it cannot, these tests say so and are skipped."""

from pathlib import Path

import pytest

from tests.simulation.disk import FaultyDisk, NoFaultyDiskError


@pytest.fixture(scope="session", autouse=True)
def _reachable_sqlite(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.mktemp("reachable")
    try:
        FaultyDisk(folder).forget()
    except NoFaultyDiskError as error:
        pytest.skip(str(error))
