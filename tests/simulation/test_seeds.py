"""The daemon through bad days that a seed makes up: whatever breaks, it ends as if nothing had."""

from pathlib import Path

import pytest

from tests.simulation.seeds import REGRESSIONS, Case, tried

SEEDS, CANDIDATE_SEEDS = 200, 40
GROUP = 20


@pytest.mark.parametrize("first", range(0, SEEDS, GROUP))
def test_no_seed_breaks_a_promise(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + GROUP):
        finding = tried(Case.of(seed), tmp_path)
        assert finding is None, f"{finding}\nkept as {Case.of(seed).keep()}"


@pytest.mark.parametrize("first", range(0, CANDIDATE_SEEDS, GROUP))
def test_no_seed_breaks_a_promise_to_candidates(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + GROUP):
        finding = tried(Case.of(seed, candidates=True), tmp_path)
        assert finding is None, f"{finding}\nkept as {Case.of(seed, candidates=True).keep()}"


@pytest.mark.parametrize("path", sorted(REGRESSIONS.glob("*.json")), ids=lambda path: path.stem)
def test_seed_that_failed_once_holds(path: Path, tmp_path: Path) -> None:
    finding = tried(Case.load(path), tmp_path)
    assert finding is None, finding
