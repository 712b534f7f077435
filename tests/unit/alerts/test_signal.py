"""The signal's wire form, id and key."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from alerts.signal import (
    SCHEMA,
    Evidence,
    Signal,
    SignalDecodeError,
    cloudevent,
    from_rfc3339,
    parse,
    rfc3339,
    signal_id,
)
from tests.unit.alerts.build import EVIDENCE, NOW_MS, signal

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBER = st.none() | st.floats(allow_nan=False, allow_infinity=False)
TIME = st.integers(0, 4_000_000_000_000)
SIGNALS = st.builds(
    Signal,
    id=TEXT,
    time_ms=TIME,
    deployment=TEXT,
    policy=TEXT,
    kind=st.sampled_from(["fallback", "rollback", "hold", "promote", "retrain", "page"]),
    state=st.sampled_from(["firing", "resolved"]),
    rule=TEXT,
    reason=TEXT,
    generation=st.integers(0, 2**53),
    to_policy=st.none() | TEXT,
    expires_at_ms=st.none() | TIME,
    dry_run=st.booleans(),
    subject=TEXT,
    evidence=st.builds(
        Evidence,
        statistic=TEXT,
        value=NUMBER,
        threshold=NUMBER,
        n=st.integers(0, 2**53),
        window_start_ms=st.none() | TIME,
        window_end_ms=st.none() | TIME,
        baseline=st.none() | TEXT,
        culprits=st.lists(TEXT, max_size=4).map(tuple),
    ),
)


def test_wire_form_is_these_bytes() -> None:
    """Written out by hand: a change here is a change of the wire form and needs a new schema number."""
    assert cloudevent(signal(subject="canary")).decode() == (
        '{"specversion":"1.0","id":"sig_ID","source":"/policywatch/home-ranker",'
        '"type":"io.policywatch.signal.fallback","time":"2024-05-01T12:00:00.000Z","subject":"v42/canary",'
        '"datacontenttype":"application/json","dataschema":"urn:policywatch:signal:1","data":{'
        '"id":"sig_ID","time":"2024-05-01T12:00:00.000Z","deployment":"home-ranker","policy":"v42",'
        '"kind":"fallback","state":"firing","rule":"reward",'
        '"reason":"Mean reward 0.412 is below the trip line 0.498 (12,345 decisions).",'
        '"to_policy":"rules-v3","generation":7,"expires_at":"2024-05-01T13:00:00.000Z","dry_run":false,'
        '"evidence":{"statistic":"reward_mean","value":0.412,"threshold":0.498,"n":12345,'
        '"window_start":"2024-05-01T11:50:00.000Z","window_end":"2024-05-01T12:00:00.000Z",'
        '"baseline":"b2:77aa","culprits":["price","hour"]}}}'
    ).replace("sig_ID", signal().id)


@given(SIGNALS)
def test_what_is_written_is_read_back(original: Signal) -> None:
    assert parse(cloudevent(original)) == original


@given(SIGNALS)
def test_writing_what_was_read_gives_the_same_bytes(original: Signal) -> None:
    wire = cloudevent(original)
    assert cloudevent(parse(wire)) == wire


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_null_on_the_wire(value: float) -> None:
    wire = cloudevent(signal(evidence=replace(EVIDENCE, value=value, threshold=value)))
    evidence = json.loads(wire, parse_constant=pytest.fail)["data"]["evidence"]
    assert evidence["value"] is None
    assert evidence["threshold"] is None


def test_source_is_a_uri_whatever_the_deployment_is_called() -> None:
    assert json.loads(cloudevent(signal(deployment="home ranker/é")))["source"] == (
        "/policywatch/home%20ranker%2F%C3%A9"
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[1]",
        b"\xff",
        cloudevent(signal()).replace(SCHEMA.encode(), b"urn:policywatch:signal:2"),
        cloudevent(signal()).replace(b'"kind":"fallback"', b'"kind":"panic"'),
        cloudevent(signal()).replace(b"signal.fallback", b"signal.page"),
        cloudevent(signal()).replace(b'{"specversion":"1.0","id":"sig_', b'{"specversion":"1.0","id":"gis_'),
        cloudevent(signal()).replace(b"12:00:00.000Z", b"12:00:00.000"),
        cloudevent(signal()).replace(b"2024-05-01T12", b"yesterday at 12"),
    ],
)
def test_what_is_no_signal_of_this_schema_is_refused(raw: bytes) -> None:
    with pytest.raises(SignalDecodeError):
        parse(raw)


@pytest.mark.parametrize("time_ms", [0, 1, 999, NOW_MS, NOW_MS + 1, -1])
def test_times_survive_to_the_millisecond(time_ms: int) -> None:
    assert from_rfc3339(rfc3339(time_ms)) == time_ms


def test_id_is_the_same_today_and_after_an_upgrade() -> None:
    assert signal_id("d", "p", "full", "reward", "", 1, "firing") == "sig_06aa43fad92f7f6ea2901a0ef1c06348"


def test_id_changes_with_every_part() -> None:
    parts = ("d", "p", "full", "reward", "s", 1, "firing")
    others = [
        ("x", "p", "full", "reward", "s", 1, "firing"),
        ("d", "x", "full", "reward", "s", 1, "firing"),
        ("d", "p", "canary", "reward", "s", 1, "firing"),
        ("d", "p", "full", "x", "s", 1, "firing"),
        ("d", "p", "full", "reward", "x", 1, "firing"),
        ("d", "p", "full", "reward", "s", 2, "firing"),
        ("d", "p", "full", "reward", "s", 1, "resolved"),
        ("d", "p/full", "", "reward", "s", 1, "firing"),
    ]
    assert len({signal_id(*each) for each in [parts, *others]}) == 9  # type: ignore[arg-type]


def test_firing_and_resolved_share_their_alert_key_and_others_do_not() -> None:
    key = signal().alert_key
    assert signal(id="other", state="resolved", generation=8).alert_key == key
    assert signal(subject="price").alert_key != key
    assert signal(policy="v4", rule="2/reward").alert_key != signal(policy="v4/2", rule="reward").alert_key


def test_alert_key_of_long_names_stays_short_and_distinct() -> None:
    long = [signal(deployment="d" * 300, policy="p" * 300, subject=end).alert_key for end in ("a", "b")]
    assert all(len(key) <= 255 for key in long)
    assert long[0] != long[1]


@pytest.mark.parametrize(
    ("changes", "safety"),
    [
        ({}, True),
        ({"kind": "rollback"}, True),
        ({"kind": "hold"}, False),
        ({"kind": "page"}, False),
        ({"state": "resolved"}, False),
        ({"dry_run": True}, False),
    ],
)
def test_only_a_firing_fallback_or_rollback_in_earnest_is_a_safety_signal(
    changes: dict[str, object], safety: bool
) -> None:
    assert signal(**changes).safety is safety
