"""Decision-service lines, case by case."""

import json
from typing import Any

import numpy as np
import pytest

from monitor.decoding.decode_settings import DecodeSettings, DeploymentSettings, DsjsonSettings, Format
from tests.unit.monitor.events import read, reason

SETTINGS = DecodeSettings({"home": DeploymentSettings()}, "home", format=Format.VW_DSJSON)


def line(**changed: Any) -> bytes:
    record = {
        "_label_cost": -2.0, "_label_probability": 0.7, "_label_Action": 2, "_labelIndex": 1, "EventId": "e1",
        "Timestamp": "2026-01-01T00:00:00.0000000Z", "a": [2, 1], "p": [0.7, 0.3], "c": {"hour": 7},
    } | changed  # fmt: skip
    return json.dumps({name: value for name, value in record.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"EventId": ...}, "missing_field"),
        ({"EventId": ""}, "missing_field"),
        ({"Timestamp": ...}, "missing_field"),
        ({"Timestamp": "soon"}, "bad_timestamp"),
        ({"_label_Action": ..., "a": ...}, "missing_field"),
        ({"_label_Action": 0}, "wrong_type"),
        ({"_label_cost": float("nan")}, "not_finite"),
        ({"_label_probability": 0.0}, "propensity_range"),
        ({"p": [0.7]}, "wrong_type"),
        ({"p": [0.7, 0.7]}, "probs_sum"),
        ({"_outcomes": [{"_label_cost": 0}]}, "unknown_type"),
    ],
)
def test_an_unusable_line_is_rejected_whole(changed: dict[str, Any], expected: str) -> None:
    assert reason(line(**changed), settings=SETTINGS) == expected


def test_a_line_without_probability_takes_it_from_the_ranking() -> None:
    batch, _ = read(line(_label_probability=..., _label_Action=...), settings=SETTINGS)
    assert batch.decisions[0].propensity.tolist() == [0.7]
    assert batch.rewards.reward.tolist() == [2.0]


def test_a_line_not_meant_for_learning_is_a_decision_without_a_reward() -> None:
    batch, rejected = read(line(_skipLearn=True), line(_label_cost=...), settings=SETTINGS)
    assert rejected == []
    assert (len(batch.decisions[0]), len(batch.rewards)) == (2, 0)


def test_a_reward_that_found_no_decision_is_a_reward_alone() -> None:
    dangling = {"RewardValue": 3.0, "EnqueuedTimeUtc": "2026-01-01T00:00:01Z", "EventId": "e9"}
    batch, rejected = read(json.dumps(dangling).encode(), settings=SETTINGS)
    assert rejected == []
    assert (batch.rewards.reward.tolist(), batch.rewards.ts_ms.tolist()) == ([3.0], [1_767_225_601_000])


def test_configured_numbers_of_the_context_are_the_state() -> None:
    settings = DecodeSettings(
        {"home": DeploymentSettings()}, "home", format=Format.VW_DSJSON,
        dsjson=DsjsonSettings(features=("hour", "user.age", "user.name")),
    )  # fmt: skip
    batch, _ = read(line(c={"hour": 7, "user": {"age": 30.5, "name": "x"}}), line(c=...), settings=settings)
    np.testing.assert_array_equal(batch.decisions[0].state, [[7.0, 30.5, 0.0], [0.0, 0.0, 0.0]])
