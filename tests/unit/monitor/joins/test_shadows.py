"""What a shadow gives the served action, worked by hand; situations; what is kept has a limit."""

from typing import Any

import numpy as np

from monitor.joins import shadows
from monitor.joins.shadows import Statements, chances, situations
from tests.unit.monitor.worlds import World, decision, small

NAN = float("nan")


def statements(action: list[int], probs: dict[str, list[float]]) -> Statements:
    n = len(action)
    return Statements(
        np.arange(1, n + 1).astype(np.uint64), np.zeros(n, np.int64), np.zeros(n, np.int32),
        np.array(action, np.int32), np.full(n, NAN), {name: np.array(p) for name, p in probs.items()},
    )  # fmt: skip


def test_a_whole_distribution_gives_the_served_action_its_share_and_others_the_draw_counts() -> None:
    labels = ["left", "right", "stay"]
    probs = {
        "left": [0.7, 0.7, NAN, 0.2, 0.5, NAN],
        "right": [0.3, 0.3, NAN, 0.2, 0.5, NAN],
    }
    #  its own action    left left left  left(half) stay  vector
    said = statements([0, 0, 0, 0, 2, -1], probs)
    served = np.array([1, 2, 0, 1, 2, 0], np.int32)
    #  right of it; not listed: 0; no distribution: the same; not whole: another; own action not in it; continuous
    assert np.array_equal(chances(said, served, labels), [0.3, 0.0, 1.0, 0.0, 1.0, NAN], equal_nan=True)


def test_without_any_distribution_the_draw_counts() -> None:
    said = statements([0, 1, 1], {})
    found = chances(said, np.array([0, 0, -1], np.int32), ["a", "b"])
    assert np.array_equal(found, [1.0, 0.0, NAN], equal_nan=True)


def test_a_situation_is_episode_and_step_else_unit_and_time() -> None:
    def batch(*events: dict[str, Any]) -> Any:
        world = World(small()).feed(*events, seal=False)
        return next(iter(world.pipeline.core.ticks.values())).decisions[0][0]

    rows = [
        decision("a", 0.0, episode="e", step=3, unit="u"),
        decision("b", 1.0, episode="e", step=3, unit="w"),  # the same step at another time
        decision("c", 0.0, episode="e", step=4),
        decision("d", 0.0, unit="u"),
        decision("e", 0.0, episode="f", unit="u"),  # an episode without a step is no situation
        decision("f", 0.001, unit="u"),
        decision("g", 0.0),
    ]
    code = situations(batch(*rows))
    assert code[0] == code[1]
    assert code[3] == code[4]
    assert len(set(code.tolist())) == 5
    assert code[6] == 0


def test_what_waits_for_a_partner_is_bounded_and_what_gives_way_stays_alone(monkeypatch: Any) -> None:
    monkeypatch.setattr(shadows, "MOST_WAITING", 10)
    served = [decision(f"d{i}", i / 10, unit=f"u{i}") for i in range(600)]
    lone = [
        decision(f"s{i}", i / 10, unit=f"x{i}", stage="shadow", policy="v2") for i in range(600)
    ]  # nobody was served there
    world = World(small())
    for i in range(0, 600, 50):
        world.feed(*served[i : i + 50], *lone[i : i + 50])
    home: Any = world.pipeline.core.watched[0]
    assert sum(len(part) for part in home.candidates.shadows._waiting) <= 10
    assert home.candidates.shadows.pairs["v2"].alone >= 400
    assert home.candidates.shadows.pairs["v2"].paired == 0


def test_more_shadows_than_there_is_room_for_are_counted() -> None:
    events = []
    for i in range(40):
        events.append(decision(f"d{i}", i / 10, unit=f"u{i}"))
        events.append(decision(f"s{i}", i / 10, unit=f"u{i}", stage="shadow", policy=f"w{i % 12}"))
    world = World(small()).feed(*events).flush(60_000)
    home: Any = world.pipeline.core.watched[0]
    assert len(home.candidates.shadows.pairs) == 8
    assert home.candidates.shadows.left_out > 0
