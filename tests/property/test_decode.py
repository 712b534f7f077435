"""Whatever arrives: nothing raises, nothing is lost or counted twice, and no record changes another."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitor.batch import EventBatch, Kind, MetricBatch, Rejected, RewardBatch
from monitor.decoding.decode import decode
from monitor.decoding.decode_settings import (
    DecodeCounts,
    DecodeSettings,
    DeploymentSettings,
    Envelope,
    Format,
)
from monitor.frames import concat
from monitor.vocabulary import Labels, Vocabulary

SHAPES = [
    DecodeSettings(
        {"home": DeploymentSettings(), "shop": DeploymentSettings()}, "home", max_record_bytes=4_000
    ),
    DecodeSettings(
        {
            "home": DeploymentSettings(
                state_width=2, policies=frozenset({"v1"}), envelope=Envelope(frozenset("01"))
            ),
            "shop": DeploymentSettings(envelope=Envelope(low=(0.0,), high=(1.0,))),
        },
        max_segment_values=2,
    ),
    DecodeSettings({"home": DeploymentSettings()}, "home", fields={"decision_id": "id", "value": "critic"}),
    DecodeSettings(
        {"home": DeploymentSettings()}, "home", fields={"decision_id": "meta.id", "state": "meta.x"}
    ),
    DecodeSettings({"home": DeploymentSettings()}, "home", format=Format.VW_DSJSON),
]

names = st.sampled_from(["", "v1", "v2", "home", "shop", "1", "d", "x" * 130, "NaN", "\x00", "é", "\ud800"])
numbers = st.sampled_from([0, 1, 0.5, -0.5, 1.7, 1e308, 2**70, -1, float("nan"), float("inf"), 1767225600.5])
odd = st.one_of(names, numbers, st.none(), st.booleans(), st.just([]), st.just({}), st.just([[1]]))
good_times = st.sampled_from([1_767_225_600_000, 1767225600.25, "2026-01-01T00:00:00Z"])
vectors = st.lists(st.sampled_from([0.0, 1.0, 2.5]), min_size=1, max_size=3)
slices = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["s", "t", "u"]), max_size=2)
costs = st.dictionaries(st.sampled_from("abc"), st.sampled_from([0.0, 1.5]), max_size=2)
candidates = st.dictionaries(
    st.sampled_from(["new", "old"]), st.fixed_dictionaries({"p": st.just(0.5)}), max_size=2
)
probabilities = st.sampled_from([[0.5, 0.5], [0.2, 0.3, 0.5], {"0": 0.1, "1": 0.9}, [1.0]])

decisions = st.fixed_dictionaries(
    {
        "type": st.just("decision"),
        "decision_id": st.text("abc", min_size=1, max_size=3),
        "ts": good_times,
        "policy": st.sampled_from(["v1", "v2", "v3"]),
        "action": st.one_of(st.integers(0, 2), st.sampled_from(["0", "left"]), vectors),
    },
    optional={
        "deployment": st.sampled_from(["home", "shop"]),
        "stage": st.sampled_from(["full", "canary"]),
        "unit": st.sampled_from(["u1", "u2"]),
        "step": st.integers(0, 5),
        "state": vectors,
        "propensity": st.sampled_from([0.5, 1.0]),
        "action_probs": probabilities,
        "masked": st.lists(st.integers(0, 2), max_size=2),
        "approved_by": st.just("ann"),
        "costs": costs,
        "segments": slices,
        "candidates": candidates,
    },
)
rewards = st.fixed_dictionaries(
    {"type": st.just("reward"), "decision_id": st.text("abc", min_size=1, max_size=3), "ts": good_times},
    optional={
        "reward": st.just(1.5),
        "components": costs,
        "costs": costs,
        "done": st.booleans(),
        "truth": st.just(2),
    },
)
metrics = st.fixed_dictionaries(
    {
        "type": st.just("metric"),
        "metric": st.sampled_from(["sales", "churn"]),
        "ts": good_times,
        "value": st.just(1),
    },
    optional={"policy": st.sampled_from(["v1", "v3", "v4"]), "deployment": st.sampled_from(["home", "shop"])},
)
dsjson_lines = st.fixed_dictionaries(
    {"EventId": names, "_label_cost": numbers, "_label_Action": st.integers(0, 3), "a": st.just([1, 2])},
    optional={
        "Timestamp": good_times,
        "_label_probability": numbers,
        "p": probabilities,
        "RewardValue": numbers,
    },
)
usable = st.one_of(decisions, decisions, rewards, metrics).map(lambda record: json.dumps(record).encode())


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A record with a field that is something else, or a byte that is."""
    record = dict(draw(st.one_of(decisions, rewards, metrics, dsjson_lines)))
    record[
        draw(st.sampled_from([*record, "state", "value", "meta", "id", "costs", "candidates", "segments"]))
    ] = draw(odd)
    payload = bytearray(json.dumps(record).encode())
    if draw(st.booleans()):
        payload[draw(st.integers(0, len(payload) - 1))] = draw(st.integers(0, 255))
    return bytes(payload)


records = st.lists(st.one_of(st.none(), st.binary(max_size=40), spoiled(), usable), max_size=12)


def words() -> Vocabulary:
    return Vocabulary(Labels(2, ["home", "shop"], {"home": 0, "shop": 1}), action_limit=3, name_limit=2)


def show(vocabulary: Vocabulary) -> dict[str, Any]:
    """Its tables, whatever order they were begun in; the order inside a table counts."""
    return asdict(vocabulary)


def same(one: Any, other: Any) -> None:
    """Two tables hold the same columns, bit for bit."""
    for spec in fields(one):
        left, right = getattr(one, spec.name), getattr(other, spec.name)
        if isinstance(left, dict):
            assert sorted(left) == sorted(right), spec.name
            for name in left:
                np.testing.assert_array_equal(left[name], right[name], err_msg=f"{spec.name}/{name}")
        else:
            np.testing.assert_array_equal(left, right, err_msg=spec.name)


def shifted(table: Any, by: int) -> Any:
    return type(table)(
        **{spec.name: getattr(table, spec.name) for spec in fields(table)} | {"row": table.row + by}
    )


@settings(max_examples=200, deadline=None)
@given(records, st.sampled_from(SHAPES), st.sampled_from([None, Kind.DECISION, Kind.REWARD, Kind.METRIC]))
@example([b"[" * 100_000, b'{"a":' * 100_000, b'{"type":"reward","x":' + b"[" * 100_000], SHAPES[3], None)
@example([b'{"EventId":"a","c":' + b"[" * 100_000], SHAPES[4], None)
def test_every_record_is_in_the_batch_or_rejected_exactly_once(
    payloads: list[bytes | None], how: DecodeSettings, kind: Kind | None
) -> None:
    offsets = range(50, 50 + len(payloads))
    batch, rejected = decode("p", offsets, payloads, kind, words(), how)
    refused = [one.offset for one in rejected]
    kept = sorted(set(batch.offsets.tolist()))
    assert refused == sorted(set(refused))
    assert sorted(refused + kept) == list(offsets)
    if how.format is not Format.VW_DSJSON:
        assert len(kept) == len(batch)
    assert all(one.detail for one in rejected)
    assert_rows_add_up(batch, payloads)


def assert_rows_add_up(batch: EventBatch, payloads: Sequence[bytes | None]) -> None:
    tables: list[Any] = [*batch.decisions.values(), batch.rewards, batch.metrics]
    assert sorted(row for table in tables for row in table.row.tolist()) == list(range(len(batch)))
    for table in tables:
        np.testing.assert_array_equal(batch.ts_ms[table.row], table.ts_ms)
    assert [payloads[i - 50] for i in batch.offsets.tolist()] == list(batch.payloads)
    assert (np.diff(batch.offsets) >= 0).all()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(usable, max_size=8), st.lists(st.tuples(st.integers(0, 8), spoiled() | st.none()), max_size=4)
)
def test_a_record_that_is_rejected_changes_no_other(
    good: list[bytes], bad: list[tuple[int, bytes | None]]
) -> None:
    how = SHAPES[0]
    mixed: list[bytes | None] = list(good)
    for place, payload in bad:
        _, rejected = decode("p", [0], [payload], None, words(), how)
        if rejected:
            mixed.insert(place, payload)
    first, second = words(), words()
    alone, _ = decode("p", range(len(good)), good, None, first, how)
    among, _ = decode("p", range(len(mixed)), mixed, None, second, how)
    assert show(first) == show(second)
    assert sorted(alone.decisions) == sorted(among.decisions)
    for code, table in alone.decisions.items():
        same(table, among.decisions[code])
    same(alone.rewards, among.rewards)
    same(alone.metrics, among.metrics)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(usable, usable, spoiled()), min_size=1, max_size=10),
    st.data(),
    st.sampled_from(SHAPES[:2]),
)
def test_how_a_log_is_cut_into_polls_changes_nothing(
    payloads: list[bytes], data: st.DataObject, how: DecodeSettings
) -> None:
    cuts = sorted({0, len(payloads), *data.draw(st.lists(st.integers(0, len(payloads)), max_size=4))})
    whole_words, part_words = words(), words()
    whole_counts, part_counts = DecodeCounts(), DecodeCounts()
    whole, refused = decode("p", range(len(payloads)), payloads, None, whole_words, how, whole_counts)
    parts: list[EventBatch] = []
    refused_parts: list[Rejected] = []
    for start, stop in pairwise(cuts):
        batch, rejected = decode(
            "p", range(start, stop), payloads[start:stop], None, part_words, how, part_counts
        )
        parts.append(batch)
        refused_parts += rejected
    assert refused_parts == refused
    assert show(part_words) == show(whole_words)
    assert part_counts == whole_counts
    if not parts:
        return
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    for code, table in whole.decisions.items():
        mine = [
            shifted(b.decisions[code], s) for b, s in zip(parts, starts, strict=False) if code in b.decisions
        ]
        same(concat(mine), table)
    together: RewardBatch = concat([shifted(b.rewards, s) for b, s in zip(parts, starts, strict=False)])
    same(together, whole.rewards)
    counted: MetricBatch = concat([shifted(b.metrics, s) for b, s in zip(parts, starts, strict=False)])
    same(counted, whole.metrics)
    np.testing.assert_array_equal(np.concatenate([b.ts_ms for b in parts]), whole.ts_ms)
