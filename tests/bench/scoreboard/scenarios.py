"""All named worlds in the order of the table, and which of them are the gate."""

import re
from collections.abc import Sequence
from dataclasses import replace

from tests.bench.scoreboard.action_worlds import actions
from tests.bench.scoreboard.cost_worlds import costs
from tests.bench.scoreboard.critic_worlds import critics
from tests.bench.scoreboard.reward_worlds import rewards
from tests.bench.scoreboard.scenario import Scenario
from tests.bench.scoreboard.state_worlds import states


def _told_apart(found: Sequence[Scenario]) -> list[Scenario]:
    """Names the first scenario of each quiet world in those that share it."""
    first: dict[str, str] = {}
    named = []
    for scenario in found:
        quiet = QUIET.sub("", scenario.name)
        named.append(replace(scenario, null=first.get(quiet, "")))
        first.setdefault(quiet, scenario.name)
    return named


QUIET = re.compile(
    r"-[.0-9]+ sd(?=, )|^(one of|all|correlation .5 in pairs of|variance of) (?=\d+ features)"
    r"|(?<=features) .*|moves [.0-9]+ |(?<=[st]) [.0-9]+ sd too much$"
)
SCENARIOS = _told_apart([*rewards(), *states(), *actions(), *critics(), *costs()])
GATE = (
    "reward -0.5 sd, normal",
    "reward -0.5 sd, AR(1) .5",
    "one of 8 features +0.5 sd",
    "correlation .5 in pairs of 8 features",
    "action mix moves 0.2 of 20",
    "critic noise x 1.3",
)
