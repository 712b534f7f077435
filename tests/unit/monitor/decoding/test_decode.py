"""Records to columns."""

import math

import numpy as np
import pytest

from monitor.batch import DONE, FINAL, TRUNCATED, Kind, Violation
from monitor.decoding.decode_settings import DecodeCounts, DecodeSettings, DeploymentSettings, Envelope
from monitor.decoding.reasons import Reason
from tests.unit.monitor.events import (
    SETTINGS,
    TS,
    decided,
    decision,
    metric,
    read,
    reason,
    reward,
    vocabulary,
)

LOW_HIGH = DecodeSettings(
    {"home": DeploymentSettings(envelope=Envelope(low=(0.0, -1.0), high=(1.0, 1.0)))},
    default_deployment="home",
)
LISTED = DecodeSettings(
    {"home": DeploymentSettings(envelope=Envelope(actions=frozenset({"0", "1", "stay"})))},
    default_deployment="home",
)


def test_one_unusable_record_leaves_its_neighbours_alone() -> None:
    batch, rejected = read(
        decision(decision_id="a"), b"\xff{", decision(decision_id="b", propensity=7), reward()
    )
    assert [one.offset for one in rejected] == [101, 102]
    assert batch.offsets.tolist() == [100, 103]
    assert batch.kind.tolist() == [Kind.DECISION, Kind.REWARD]
    assert batch.decisions[0].row.tolist() == [0]
    assert batch.rewards.row.tolist() == [1]
    assert batch.next_offset == 104


def test_an_empty_poll_is_an_empty_batch() -> None:
    batch, rejected = read()
    assert (len(batch), rejected, batch.next_offset) == (0, [], 0)


def test_on_a_topic_the_type_may_be_left_out_but_not_contradict_it() -> None:
    batch, rejected = read(decision(type=...), kind=Kind.DECISION)
    assert (len(batch), rejected) == (1, [])
    assert reason(reward(), kind=Kind.DECISION) == Reason.UNKNOWN_TYPE


def test_all_fields_of_a_decision_become_columns() -> None:
    table = decided(
        decision(
            stage="canary", unit="u", episode="e", step=3, state=[1, 2.5], propensity=0.25, value=-1.5,
            confidence=0.9, latency_ms=12, costs={"power": 2}, segments={"site": "north"},
            candidates={"new": {"p": 0.5, "q": 1}}, extra={"anything": [None]},
        )
    )  # fmt: skip
    assert table.ts_ms.tolist() == [TS]
    assert table.state.tolist() == [[1.0, 2.5]]
    assert (table.propensity[0], table.value[0], table.confidence[0], table.latency_ms[0]) == (
        0.25,
        -1.5,
        0.9,
        12.0,
    )
    assert table.step.tolist() == [3]
    assert table.costs["power"].tolist() == [2.0]
    assert table.segments["site"].tolist() == [0]
    assert table.candidates["new"][0, :2].tolist() == [0.5, 1.0]
    assert math.isnan(table.candidates["new"][0, 2])
    assert table.unit[0] != table.episode[0] != 0


def test_absent_and_null_fields_are_missing_not_zero() -> None:
    for nothing in (..., None):
        table = decided(
            decision(
                stage=nothing, unit=nothing, step=nothing, propensity=nothing, value=nothing, state=nothing
            )
        )
        assert np.isnan([table.propensity[0], table.value[0], table.latency_ms[0], table.entropy[0]]).all()
        assert (table.unit[0], table.episode[0], table.step[0]) == (0, 0, -1)
        assert table.state.shape == (1, 0)


def test_ids_are_the_same_in_every_process_and_never_the_missing_one() -> None:
    table = decided(decision(decision_id="d1"), decision(decision_id="d2"))
    assert table.id.tolist() == [5976769869125313426, 10592664833271089131]


def test_an_integer_action_and_its_text_are_one_label() -> None:
    words = vocabulary()
    table = decided(decision(action=3), decision(action="3"), decision(action="left"), words=words)
    assert table.action.tolist() == [0, 0, 1]
    assert words.action_labels(0).names == ["3", "left"]


def test_continuous_actions_are_rows_of_a_matrix_without_a_code() -> None:
    table = decided(decision(action=[0.5, -1]), decision(action=[1, 2]))
    assert table.action.tolist() == [-1, -1]
    assert table.action_vector.tolist() == [[0.5, -1.0], [1.0, 2.0]]


def test_a_continuous_action_of_another_length_is_rejected() -> None:
    _, (rejected,) = read(decision(action=[0.5]), decision(action=[0.5, 1.0]))
    assert (rejected.reason, rejected.offset) == (Reason.ACTION_LENGTH, 101)


def test_entropy_is_in_nats_and_a_missing_propensity_is_read_off_the_distribution() -> None:
    table = decided(
        decision(action=1, action_probs=[0.25, 0.75, 0.0]),
        decision(action="b", action_probs={"a": 0.5, "b": 0.5}),
        decision(action="b", action_probs=[0.5, 0.5]),
        decision(action=0, action_probs=[1.0], propensity=0.9),
    )
    expected = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert table.entropy == pytest.approx([expected, math.log(2), math.log(2), 0.0], abs=1e-12)
    assert table.propensity == pytest.approx([0.75, 0.5, math.nan, 0.9], nan_ok=True)


def test_the_first_usable_decision_fixes_the_width_of_the_state() -> None:
    words = vocabulary()
    batch, rejected = read(
        decision(state=[1.0] * 9, propensity=2), decision(state=[1.0, 2.0]), decision(state=[1.0]), decision(),
        words=words,
    )  # fmt: skip
    assert [(one.offset, one.reason) for one in rejected] == [
        (100, "propensity_range"),
        (102, "state_length"),
    ]
    assert words.state_width == {0: 2}
    assert batch.decisions[0].state.shape == (2, 2)
    assert np.isnan(batch.decisions[0].state[1]).all()
    assert reason(decision(state=[1.0] * 3), words=words) == Reason.STATE_LENGTH


def test_a_decision_whose_action_is_too_short_says_nothing_of_the_length_of_states() -> None:
    words = vocabulary()
    _, rejected = read(
        decision(action=[0.0, 0.0]), decision(action=[0.0], state=[1.0]), decision(action=[0.0, 1.0], state=[1.0, 2.0]),
        words=words,
    )  # fmt: skip
    assert [(one.offset, one.reason) for one in rejected] == [(101, "action_length")]
    assert words.state_width == {0: 2}


def test_a_baseline_fixes_the_width_of_the_state() -> None:
    settings = DecodeSettings({"home": DeploymentSettings(state_width=3)}, default_deployment="home")
    assert reason(decision(state=[1.0]), settings=settings) == Reason.STATE_LENGTH


def test_a_deployment_that_lists_its_policies_knows_no_others() -> None:
    settings = DecodeSettings(
        {"home": DeploymentSettings(policies=frozenset({"v1"})), "shop": DeploymentSettings()}, "home"
    )
    assert reason(decision(policy="v2"), settings=settings) == Reason.UNKNOWN_POLICY
    assert reason(metric(policy="v2"), settings=settings) == Reason.UNKNOWN_POLICY
    batch, rejected = read(decision(), decision(policy="v2", deployment="shop"), metric(), settings=settings)
    assert (len(batch), rejected) == (3, [])


def test_without_a_default_a_decision_must_name_its_deployment() -> None:
    settings = DecodeSettings(SETTINGS.deployments)
    assert reason(decision(), settings=settings) == Reason.MISSING_FIELD


def test_a_masked_action_is_a_violation_unless_a_person_approved() -> None:
    counts = DecodeCounts()
    table = decided(
        decision(action=1, masked=[1, 2]),
        decision(action=1, masked=["1"]),
        decision(action=1, masked=[3]),
        decision(action=1, masked=[1], approved_by="ann"),
        decision(action=1, masked=[1], approved_by=""),
        counts=counts,
    )
    masked = Violation.MASKED
    assert table.violation.tolist() == [masked, masked, 0, 0, masked]
    assert counts.approved == 1


def test_an_action_outside_the_listed_ones_is_a_violation_unless_approved() -> None:
    counts = DecodeCounts()
    table = decided(
        decision(action=1), decision(action=2), decision(action="stay"), decision(action=2, approved_by="ann"),
        decision(action=2, masked=[2]),
        settings=LISTED, counts=counts,
    )  # fmt: skip
    assert table.violation.tolist() == [0, Violation.OUTSIDE_ENVELOPE, 0, 0, Violation.MASKED]
    assert counts.approved == 1


def test_an_action_outside_the_box_is_a_violation() -> None:
    table = decided(
        decision(action=[0.0, 1.0]), decision(action=[0.5, 1.01]), decision(action=1), settings=LOW_HIGH
    )
    outside = Violation.OUTSIDE_ENVELOPE
    assert table.violation.tolist() == [0, outside, outside]
    assert reason(decision(action=[0.5]), settings=LOW_HIGH) == Reason.ACTION_LENGTH


def test_a_reward_has_flags_components_and_costs_and_what_is_missing_is_nan() -> None:
    batch, rejected = read(
        reward(done=True, truncated=True, final=True, components={"clicks": 2}),
        reward(reward=..., truth=0.5, done=None),
        reward(reward=..., costs={"power": 1.5}),
        reward(reward=None, components={"clicks": 1.0}),
        reward(reward=..., done=True),
    )
    table = batch.rewards
    assert rejected == []
    assert table.flags.tolist() == [DONE | TRUNCATED | FINAL, 0, 0, 0, DONE]
    assert table.reward == pytest.approx([1.0] + [math.nan] * 4, nan_ok=True)
    assert table.truth == pytest.approx([math.nan, 0.5] + [math.nan] * 3, nan_ok=True)
    assert table.components["clicks"] == pytest.approx([2.0, math.nan, math.nan, 1.0, math.nan], nan_ok=True)
    assert table.costs["power"] == pytest.approx([math.nan, math.nan, 1.5, math.nan, math.nan], nan_ok=True)


def test_metrics_name_a_deployment_and_perhaps_a_policy() -> None:
    words = vocabulary()
    batch, _ = read(metric(policy="v9"), metric(deployment="shop"), words=words)
    assert batch.metrics.deployment.tolist() == [0, 1]
    assert batch.metrics.policy.tolist() == [0, -1]
    assert batch.metrics.value.tolist() == [2.5, 2.5]
    assert words.metrics.names == ["sales"]


def test_decisions_are_parted_by_deployment_and_keep_their_rows() -> None:
    batch, _ = read(decision(), decision(deployment="shop"), reward(), decision(decision_id="d3"))
    assert {code: table.row.tolist() for code, table in batch.decisions.items()} == {0: [0, 3], 1: [1]}
    assert batch.rewards.row.tolist() == [2]


def test_names_beyond_the_limit_are_counted_and_left_out() -> None:
    counts = DecodeCounts()
    table = decided(
        decision(costs={f"c{i}": 1.0 for i in range(40)}), decision(costs={"c39": 1.0}), counts=counts
    )
    assert len(table.costs) == 32
    assert counts.names_dropped == 9


def test_segment_values_beyond_the_limit_are_other_and_counted() -> None:
    words = vocabulary()
    table = decided(*[decision(segments={"site": f"s{i}"}) for i in range(110)], decision(), words=words)
    labels = words.segments["site"]
    assert len(labels.names) == 101
    assert labels.dropped == 10
    assert set(table.segments["site"][100:110].tolist()) == {labels.codes["(other)"]}
    assert table.segments["site"][110] == -1


def test_an_unusable_record_leaves_no_trace_in_the_vocabulary() -> None:
    words = vocabulary()
    read(
        decision(
            policy="bad", action="bad", stage="bad", segments={"s": "bad"}, propensity=7, costs={"c": 1}
        ),
        words=words,
    )
    assert (words.policies.names, words.stages.names, words.actions, words.segments) == ([], [], {}, {})


def test_user_field_names_are_read_in_place_of_ours() -> None:
    settings = DecodeSettings(
        SETTINGS.deployments, "home", fields={"decision_id": "request", "action": "arm", "type": "event"}
    )
    record = decision(decision_id=..., type=..., action="ignored", request="r1", arm="a", event="decision")
    words = vocabulary()
    table = decided(record, settings=settings, words=words)
    assert words.action_labels(0).names == ["a"]
    assert table.id.tolist() == decided(decision(decision_id="r1")).id.tolist()
    _, (rejected,) = read(decision(decision_id=..., type=..., event="decision"), settings=settings)
    assert (rejected.reason, "`request`" in rejected.detail or "`arm`" in rejected.detail) == (
        "missing_field",
        True,
    )


def test_nested_user_fields_are_found_by_their_path() -> None:
    settings = DecodeSettings(
        SETTINGS.deployments,
        "home",
        fields={"decision_id": "meta.id", "state": "x.features", "ts": "meta.at"},
    )
    record = decision(decision_id=..., ts=..., meta={"id": "r1", "at": 1767225600.5}, x={"features": [1, 2]})
    table = decided(record, settings=settings)
    assert (table.ts_ms.tolist(), table.state.tolist()) == ([TS + 500], [[1.0, 2.0]])
    assert reason(decision(decision_id=..., meta={"at": 1}), settings=settings) == Reason.MISSING_FIELD
    assert reason(decision(meta=5), settings=settings) == Reason.MISSING_FIELD
    assert reason(record | {"x": {"features": "no"}}, settings=settings) == Reason.WRONG_TYPE
    assert reason(record | {"x": {"features": [None]}}, settings=settings) == Reason.NOT_FINITE
    assert reason(record | {"x": {"features": [math.nan]}}, settings=settings) == Reason.NOT_FINITE
    assert reason(b"[1e999]", settings=settings) == Reason.NOT_FINITE
    assert reason(b"[1]", settings=settings) == Reason.WRONG_TYPE
    assert reason(b"[" * 100_000, settings=settings) == Reason.BAD_JSON


def test_policies_of_metrics_and_decisions_get_their_codes_in_the_order_of_the_log() -> None:
    words = vocabulary()
    read(metric(policy="v9"), decision(policy="v1"), metric(policy="v5"), words=words)
    assert words.policies.names == ["v9", "v1", "v5"]


def test_labels_that_deployments_share_get_their_codes_in_the_order_of_the_log() -> None:
    words = vocabulary()
    read(
        decision(deployment="shop", policy="v2", stage="shadow", segments={"site": "a"}),
        decision(policy="v1", stage="canary", segments={"site": "b"}),
        words=words,
    )
    assert words.policies.names == ["v2", "v1"]
    assert words.stages.names == ["shadow", "canary"]
    assert words.segments["site"].names == ["a", "b"]


def test_labels_beyond_the_limit_are_counted_by_the_row() -> None:
    words = vocabulary()
    words.action_limit = 1
    table = decided(*[decision(action=label) for label in ("x", "y", "y", "x", "z")], words=words)
    assert table.action.tolist() == [0, 1, 1, 0, 1]
    assert words.action_labels(0).names == ["x", "(other)"]
    assert words.action_labels(0).dropped == 3
