"""A state file after a bad disk: pages torn or rotten; either a sound generation is used or a person decides."""

import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from alerts.tray import Leaving
from monitor.config_file import load_config
from monitor.persistence.checkpoint import (
    FILE_NAME,
    Checkpoint,
    CheckpointError,
    Restored,
    StateNotSavedError,
)
from monitor.persistence.state import restore
from tests.simulation.disk import FaultyDisk
from tests.simulation.logs import SCENES, config_text
from tests.unit.alerts.build import NOW_MS
from tests.unit.monitor.worlds import pipeline_of

PAGE = 4096


def saved(folder: Path) -> dict[int, dict[str, bytes]]:
    """Three saves; what each held, by generation."""
    rng, held = random.Random(1), {}
    checkpoint = Checkpoint(folder)
    for generation in (1, 2, 3):
        held[generation] = {"shell": rng.randbytes(9_000), "deployment/home": rng.randbytes(30_000)}
        checkpoint.save(held[generation], Leaving(), [], NOW_MS)
    checkpoint.close()
    return held


@pytest.mark.parametrize("seed", range(60))
def test_torn_page_never_becomes_another_state(tmp_path: Path, seed: int) -> None:
    """What is loaded is to the byte one of the last two states, or nothing is loaded and the reason is said."""
    held = saved(tmp_path)
    path, rng = tmp_path / FILE_NAME, random.Random(seed)
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content) // PAGE) * PAGE + rng.choice((0, 512, 2048))
    content[at : at + 512] = rng.choice((bytes(512), rng.randbytes(512)))
    path.write_bytes(content)
    restored = loaded(tmp_path)
    if restored is not None:
        assert restored.generation in (2, 3)
        assert restored.parts == held[restored.generation]


def loaded(folder: Path) -> Restored | None:
    """None where a person has to decide."""
    try:
        checkpoint = Checkpoint(folder)
    except CheckpointError:
        return None
    try:
        return checkpoint.load()
    except CheckpointError:
        return None
    finally:
        checkpoint.close()


def test_rotten_page_of_the_newest_state_leads_to_the_one_before(tmp_path: Path) -> None:
    held = saved(tmp_path)
    path = tmp_path / FILE_NAME
    content = path.read_bytes()
    piece = held[3]["deployment/home"][10_000:10_064]
    assert content.count(piece) == 1
    path.write_bytes(content.replace(piece, bytes(64)))
    checkpoint = Checkpoint(tmp_path)
    restored = checkpoint.load()
    checkpoint.close()
    assert restored is not None
    assert (restored.generation, restored.damaged, restored.parts) == (2, (3,), held[2])


@pytest.mark.parametrize("fault", ["full", "failing_sync"])
def test_disk_that_refuses_leaves_the_old_state_and_takes_the_next(tmp_path: Path, fault: str) -> None:
    disk = FaultyDisk(tmp_path / "disk")
    checkpoint = Checkpoint(disk.folder)
    checkpoint.save({"shell": b"1"}, Leaving(), [], NOW_MS)
    setattr(disk, fault, True)
    with pytest.raises(StateNotSavedError):
        checkpoint.save({"shell": b"2" * 100_000}, Leaving(), [], NOW_MS)
    setattr(disk, fault, False)
    checkpoint.save({"shell": b"3"}, Leaving(), [], NOW_MS)
    restored = checkpoint.load()
    checkpoint.close()
    disk.forget()
    assert restored is not None
    assert restored.parts == {"shell": b"3"}


@pytest.mark.parametrize("seed", range(20))
def test_power_cut_in_a_save_leaves_the_state_before_or_after(tmp_path: Path, seed: int) -> None:
    """At any write of the transaction, with any part of what was not synced lost or torn."""
    disk, rng = FaultyDisk(tmp_path / "disk"), random.Random(seed)
    checkpoint = Checkpoint(disk.folder)
    checkpoint.save({"shell": b"1" * 20_000}, Leaving(), [], NOW_MS)
    left = [rng.randrange(1, 25)]

    def count_down() -> None:
        left[0] -= 1
        disk.dead = disk.dead or left[0] <= 0

    disk.on_write = count_down
    done = 1
    with suppress(StateNotSavedError):
        while True:
            checkpoint.save({"shell": str(done + 1).encode() * 20_000}, Leaving(), [], NOW_MS)
            done += 1
    checkpoint.close()
    disk.on_write = lambda: None
    disk.boot(rng)
    again = Checkpoint(disk.folder)
    restored = again.load()
    again.close()
    disk.forget()
    assert restored is not None
    assert restored.damaged == ()
    assert restored.parts["shell"] in {str(n).encode() * 20_000 for n in (done, done + 1)}


def test_state_file_of_the_first_format_is_read(tmp_path: Path) -> None:
    """`state-1.sqlite3` was written by version 0.1.0: a change of the form needs a new number and a way from here."""
    shutil.copy(Path(__file__).parent / "state-1.sqlite3", tmp_path / FILE_NAME)
    checkpoint = Checkpoint(tmp_path)
    restored = checkpoint.load()
    checkpoint.close()
    assert restored is not None
    assert restored.damaged == ()
    path = tmp_path / "policywatch.toml"
    path.write_text(config_text(SCENES["single"], tmp_path, ()))
    pipeline = pipeline_of(load_config(path))
    assert restore(pipeline, restored.parts) == []
    assert pipeline.positions["decisions/0"] > 50
    (watched,) = pipeline.core.watched.values()
    assert watched.joining.open_decisions > 0
    assert pipeline.core.edge_ms is not None
    assert watched.seal(pipeline.core.edge_ms + 1_000).measured
