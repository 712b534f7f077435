"""The chunk rules of other tools, as reimplemented here, ring where they must and at the rate of their setting."""

import numpy as np
import pytest

from tests.bench.scoreboard import alibi
from tests.bench.scoreboard.peers import CHUNK, PEERS, Peer, compared
from tests.bench.scoreboard.scenarios import SCENARIOS


def test_chunk_rules_find_a_fall_at_its_first_chunk_and_ring_at_their_rate_on_quiet_rewards() -> None:
    """400 quiet chunks at 1 % (KS) and at 2.6 sd (1 %): 4 rings each, 11 or more have a chance of .3 %."""
    rng = np.random.default_rng(1)
    for name, setting in (("evidently-style chunks of 100", 0.01), ("NannyML-style chunks of 100", 2.6)):
        peer: Peer = PEERS[name][0]
        baseline, quiet = rng.standard_normal(20_000), rng.standard_normal(400 * CHUNK)
        assert 0 < len(list(peer(baseline, quiet, setting))) <= 10
        assert list(peer(baseline, rng.standard_normal(CHUNK) - 2.0, setting)) == [CHUNK]


def test_the_scoreboard_holds_at_least_25_scenarios_of_different_names() -> None:
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS) >= 25


def test_without_torch_one_plain_line_says_what_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alibi, "find_spec", lambda name: None if name == "torch" else object())
    said = compared(1, [s for s in SCENARIOS if s.name == "one of 8 features +1.0 sd"])
    line = "alibi-detect's online MMD and LSDD are skipped: torch not installed (docs/dependencies.md)."
    assert said.strip() == line
