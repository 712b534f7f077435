"""`state.pending_memory` caps what waiting decisions hold in memory; what is said does not change."""

from pathlib import Path

import numpy as np
import pytest

from detectors.arrays import U64
from monitor.assembly import build_core, spill_for, vocabulary_for
from monitor.config import Config
from monitor.config_file import parse_config
from monitor.config_reader import ConfigError
from monitor.durations import size_bytes
from monitor.joins.join import NewDecisions
from monitor.judging.watched import Watched

ROWS = 100_000


def config(folder: Path, memory: str) -> Config:
    return parse_config(
        {"state": {"path": str(folder), "pending_memory": memory}, "deployments": {"shop": {"bucket": "1s"}}}
    )


def waiting(config: Config) -> Watched:
    """A deployment in which so many decisions wait."""
    core = build_core(config, {}, vocabulary_for(config, {}), spill_for(config))
    watched = core.watched[0]
    assert isinstance(watched, Watched)
    ids: U64 = np.arange(1, ROWS + 1, dtype=np.uint64)
    at, code = np.arange(ROWS, dtype=np.int64), np.zeros(ROWS, np.int32)
    watched.joining.table.insert(
        NewDecisions(ids, at, at // 1_000 * 1_000, code, np.ones(ROWS), code, ids, ids, at, ids)
    )
    return watched


def test_decisions_beyond_the_cap_lie_in_files_and_are_the_same(tmp_path: Path) -> None:
    small, large = waiting(config(tmp_path / "a", "500kB")), waiting(config(tmp_path / "b", "1GB"))
    assert small.joining.table.nbytes < 0.5 * large.joining.table.nbytes
    kept, expected = small.joining.table.arrays(), large.joining.table.arrays()
    assert kept.keys() == expected.keys()
    for name, column in expected.items():
        np.testing.assert_array_equal(kept[name], column)


def test_what_the_scratch_files_hold_is_gone_with_the_table(tmp_path: Path) -> None:
    waiting(config(tmp_path, "500kB"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "size"), [("500MB", 500_000_000), ("1.5 GB", 1_500_000_000), ("64kB", 64_000)]
)
def test_size_reads_as_people_write_it(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "1", "0MB", "1GiB", "-1GB"])
def test_what_is_no_size_is_refused_with_its_path(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"state.pending_memory: not a size"):
        config(tmp_path, text)
