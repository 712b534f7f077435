"""Every seed, and everything that fuzzing has ever found, keeps its target's promise; no atheris needed."""

import pytest

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

CASES = [(target, name) for target in sorted(TARGETS) for name in sorted(seeds(target))]


@pytest.mark.parametrize(("target", "name"), CASES, ids=["-".join(case) for case in CASES])
def test_seed_and_finding_keep_the_promise(target: str, name: str) -> None:
    TARGETS[target](seeds(target)[name])


def test_every_target_has_seeds() -> None:
    assert {target for target, _ in CASES} == TARGETS.keys()
