"""A small part of `make coverage`: whole evaluations, every published interval, worlds with heavy weights."""

import pytest
from scipy.stats import binom

from tests.coverage.worlds import Setting, cover, settings

SIMULATIONS = 15
NAMES = ("very heavy, n=500", "rare and heavy, n=500", "episodes, shift 0.3, n=300")
WORLDS = [setting for setting in settings() if setting.name in NAMES]


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_every_published_interval_holds_the_truth_as_often_as_it_says(world: Setting) -> None:
    for name, (published, held) in cover(world, SIMULATIONS).items():
        missed = published - held
        assert missed <= binom.ppf(1 - 1e-4, max(published, 1), 0.05), name


def test_the_worlds_are_those_that_the_docs_count() -> None:
    assert len(list(settings())) == 17
    assert len(WORLDS) == 3
