"""One reason for each record that cannot be used, and where it stands."""

import math
from typing import Any

import pytest

from monitor.decoding.decode_settings import DecodeSettings
from monitor.decoding.reasons import Reason
from tests.unit.monitor.events import SETTINGS, decision, metric, read, reason, reward


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (b"{not json", Reason.BAD_JSON),
        (b"", Reason.BAD_JSON),
        (b'{"type":"reward","decision_id":"\\ud800","ts":1,"reward":1}', Reason.BAD_JSON),
        (
            b'{"type":"reward","decision_id":"a","ts":1,"reward":1,"x":'
            + b"[" * 99_999
            + b"]" * 99_999
            + b"}",
            "bad_json",
        ),
        (b'{"type":"reward","decision_id":"\xff","ts":1,"reward":1}', Reason.BAD_UTF8),
        (b'{"type":"reward","decision_id":"a","ts":1,"reward":1,"other":"\xff"}', Reason.BAD_UTF8),
        (None, Reason.TOMBSTONE),
        (decision(decision_id=...), Reason.MISSING_FIELD),
        (decision(decision_id=""), Reason.MISSING_FIELD),
        (decision(policy=...), Reason.MISSING_FIELD),
        (decision(action=...), Reason.MISSING_FIELD),
        (decision(ts=...), Reason.MISSING_FIELD),
        (decision(type=...), Reason.MISSING_FIELD),
        (reward(reward=...), Reason.MISSING_FIELD),
        (reward(reward=..., done=False), Reason.MISSING_FIELD),
        (metric(metric=...), Reason.MISSING_FIELD),
        (metric(value=...), Reason.MISSING_FIELD),
        (7, Reason.WRONG_TYPE),
        ([decision()], Reason.WRONG_TYPE),
        (b"[" * 100_000, Reason.WRONG_TYPE),
        (decision(decision_id=5), Reason.WRONG_TYPE),
        (decision(action=True), Reason.WRONG_TYPE),
        (decision(action=1.5), Reason.WRONG_TYPE),
        (decision(action=None), Reason.WRONG_TYPE),
        (decision(action=2**63), Reason.WRONG_TYPE),
        (
            b'{"type":"decision","decision_id":"a","ts":1,"policy":"v","action":' + b"9" * 5000 + b"}",
            Reason.WRONG_TYPE,
        ),
        (b'{"type":"reward","decision_id":"a","reward":1,"ts":' + b"9" * 5000 + b"}", Reason.BAD_TIMESTAMP),
        (decision(state="1,2"), Reason.WRONG_TYPE),
        (decision(state=[1.0, "2"]), Reason.WRONG_TYPE),
        (decision(step=-1), Reason.WRONG_TYPE),
        (decision(step=2**63), Reason.WRONG_TYPE),
        (decision(costs=[1.0]), Reason.WRONG_TYPE),
        (decision(segments={"hour": 5}), Reason.WRONG_TYPE),
        (decision(ts=True), Reason.WRONG_TYPE),
        (reward(reward="1.0"), Reason.WRONG_TYPE),
        (reward(done="yes"), Reason.WRONG_TYPE),
        (reward(reward=math.nan), Reason.NOT_FINITE),
        (reward(reward=-math.inf), Reason.NOT_FINITE),
        (b'{"type":"reward","decision_id":"a","ts":1,"reward":1e999}', Reason.NOT_FINITE),
        (b'{"type":"reward","decision_id":"a","ts":1,"reward":' + b"9" * 5000 + b"}", Reason.NOT_FINITE),
        (reward(reward=None), Reason.NOT_FINITE),
        (reward(reward=None, done=True), Reason.NOT_FINITE),
        (reward(reward="NaN"), Reason.NOT_FINITE),
        (reward(components={"clicks": "-Infinity"}), Reason.NOT_FINITE),
        (metric(value=None), Reason.NOT_FINITE),
        (decision(state=[1.0, None]), Reason.NOT_FINITE),
        (decision(state=[1.0, math.nan]), Reason.NOT_FINITE),
        (decision(state=[1.0, "nan"]), Reason.NOT_FINITE),
        (decision(costs={"c": None}), Reason.NOT_FINITE),
        (decision(action=[0.1, None]), Reason.NOT_FINITE),
        (decision(propensity=0), Reason.PROPENSITY_RANGE),
        (decision(propensity=1.7), Reason.PROPENSITY_RANGE),
        (decision(propensity=-0.69), Reason.PROPENSITY_RANGE),
        (decision(action_probs=[-0.5, 1.5]), Reason.PROPENSITY_RANGE),
        (decision(action_probs={"0": 1.0}), Reason.PROPENSITY_RANGE),
        (decision(action=2, action_probs=[0.5, 0.5]), Reason.PROPENSITY_RANGE),
        (decision(candidates={"new": {"p": 1.2}}), Reason.PROPENSITY_RANGE),
        (decision(action_probs=[0.5, 0.4]), Reason.PROBS_SUM),
        (decision(action_probs=[]), Reason.PROBS_SUM),
        (decision(action_probs={}), Reason.PROBS_SUM),
        (decision(state=[]), Reason.STATE_LENGTH),
        (decision(action=[]), Reason.ACTION_LENGTH),
        (decision(decision_id="x" * 129), Reason.OVERSIZE),
        (decision(policy="x" * 257), Reason.OVERSIZE),
        (decision(costs={"x" * 257: 1.0}), Reason.OVERSIZE),
        (reward(note="x" * (1 << 20)), Reason.OVERSIZE),
        (b"\xff" * (5 << 20), Reason.OVERSIZE),
        (reward(type="outcome"), Reason.UNKNOWN_TYPE),
        (reward(type=3), Reason.UNKNOWN_TYPE),
        (decision(deployment="other"), Reason.UNKNOWN_DEPLOYMENT),
        (metric(deployment="other"), Reason.UNKNOWN_DEPLOYMENT),
        (decision(ts=-1), Reason.BAD_TIMESTAMP),
        (decision(ts=10**40), Reason.BAD_TIMESTAMP),
        (decision(ts=7_258_118_400_000), Reason.BAD_TIMESTAMP),
        (decision(ts=1e300), Reason.BAD_TIMESTAMP),
        (decision(ts=1767225600000.0), Reason.BAD_TIMESTAMP),
        (decision(ts="yesterday"), Reason.BAD_TIMESTAMP),
        (decision(ts="2026-01-01T00:00:00"), Reason.BAD_TIMESTAMP),
        (decision(ts="2300-01-01T00:00:00Z"), Reason.BAD_TIMESTAMP),
    ],
    ids=lambda value: repr(value)[:60] if not isinstance(value, Reason) else str(value),
)
def test_an_unusable_record_is_rejected_with_its_reason(record: Any, expected: str) -> None:
    assert reason(record) == expected


def test_every_reason_is_one_of_a_closed_set_that_names_metrics() -> None:
    assert {str(one) for one in Reason} == {one.name.lower() for one in Reason}


def test_a_rejection_says_where_it_stands_and_keeps_the_bytes_up_to_a_limit() -> None:
    settings = DecodeSettings(SETTINGS.deployments, max_record_bytes=100, max_rejected_bytes=10)
    batch, (rejected,) = read(b"x" * 101, settings=settings, first=7)
    assert (rejected.partition, rejected.offset, rejected.payload) == ("p-0", 7, b"x" * 10)
    assert rejected.detail == "more than 100 bytes"
    assert batch.next_offset == 8
