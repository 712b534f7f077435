"""The join does what a dictionary of decisions would do, whatever the order of rows inside a tick."""

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.batch import RewardBatch
from monitor.joins import index, ordering, runs
from monitor.joins.combine import Combine
from monitor.joins.join import Fate, JoinTable, NewDecisions

HORIZON = 50
NAN = math.nan
Row = dict[str, Any]


@dataclass
class Pending:
    """One decision of the reference."""

    decision: Row
    flags: int = 0
    prints: set[Any] = field(default_factory=set)
    numbers: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def number(self, name: str, how: Combine) -> float:
        seen = self.numbers.get(name, [])
        if not seen:
            return NAN
        if how == "last":
            return max(enumerate(seen), key=lambda item: (item[1][0], item[0]))[1][1]
        total = 0.0
        for _, value in seen:
            total += value
        return total / len(seen) if how == "mean" else total


class Reference:
    """The same promises, kept one row at a time."""

    def __init__(self, combine: Combine) -> None:
        self.combine: Combine = combine
        self.pending: dict[int, Pending] = {}

    def insert(self, rows: list[Row]) -> list[bool]:
        fresh = [False] * len(rows)
        for i in sorted(
            range(len(rows)), key=lambda i: tuple(rows[i][k] for k in ("ts_ms", "id", "bucket_ms", "key"))
        ):
            if rows[i]["id"] not in self.pending:
                self.pending[rows[i]["id"]] = Pending(rows[i])
                fresh[i] = True
        return fresh

    def settle(self, rows: list[Row]) -> tuple[list[Row], list[Fate]]:
        fates = [Fate.SETTLED] * len(rows)
        before: dict[int, Row] = {}
        newest: dict[int, int] = {}
        for i in sorted(range(len(rows)), key=lambda i: (rows[i]["ts_ms"], rows[i]["id"])):
            row, waiting = rows[i], self.pending.get(rows[i]["id"])
            content = tuple(
                sorted((k, v) for k, v in row.items() if not isinstance(v, float) or not math.isnan(v))
            )
            if waiting is None:
                fates[i] = Fate.UNMATCHED
            elif row["ts_ms"] - waiting.decision["ts_ms"] > HORIZON:
                fates[i] = Fate.LATE
            elif content in waiting.prints:
                fates[i] = Fate.DUPLICATE
            else:
                before.setdefault(row["id"], self.shown(waiting))
                newest[row["id"]] = max(newest.get(row["id"], -1), row["ts_ms"])
                waiting.prints.add(content)
                waiting.flags |= row["flags"]
                for name in ("reward", "truth", "engagement", "power"):
                    if not math.isnan(row[name]):
                        waiting.numbers.setdefault(name, []).append((row["ts_ms"], row[name]))
        ids = sorted(before, key=lambda one: (self.pending[one].decision["ts_ms"], one))
        return [
            {"id": one, "before": before[one], "after": self.shown(self.pending[one]),
             "delay_ms": newest[one] - self.pending[one].decision["ts_ms"]} for one in ids
        ], fates  # fmt: skip

    def shown(self, waiting: Pending) -> Row:
        how: dict[str, Combine] = dict.fromkeys(("reward", "engagement", "power"), self.combine) | {
            "truth": "last"
        }
        return {name: waiting.number(name, how[name]) for name in how} | {
            "flags": waiting.flags, "touched": bool(waiting.prints)
        }  # fmt: skip

    def expire(self, before_ms: int) -> list[Row]:
        gone = [one for one in self.pending.values() if one.decision["ts_ms"] < before_ms]
        for one in gone:
            del self.pending[one.decision["id"]]
        gone.sort(key=lambda one: (one.decision["ts_ms"], one.decision["id"]))
        return [one.decision | self.shown(one) for one in gone]


def decisions_of(rows: list[Row]) -> NewDecisions:
    types = {"id": "u8", "ts_ms": "i8", "bucket_ms": "i8", "key": "i4", "value": "f8", "action": "i4", "unit": "u8",
             "episode": "u8", "step": "i8", "segments": "u8"}  # fmt: skip
    return NewDecisions(**{name: np.array([row[name] for row in rows], kind) for name, kind in types.items()})


def rewards_of(rows: list[Row]) -> RewardBatch:
    def column(name: str, kind: str) -> Any:
        return np.array([row[name] for row in rows], kind)

    named = {name: column(name, "f8") for name in ("engagement", "power")}
    named = {name: values for name, values in named.items() if not np.isnan(values).all()}
    return RewardBatch(
        np.arange(len(rows)), column("ts_ms", "i8"), column("id", "u8"), column("reward", "f8"), column("truth", "f8"),
        column("flags", "u1"), {k: v for k, v in named.items() if k == "engagement"},
        {k: v for k, v in named.items() if k == "power"},
    )  # fmt: skip


# ids from one narrow range (they meet) or spread over 64 bits, times likewise
some_id = st.one_of(st.integers(1, 6), st.sampled_from([2**64 - 1, 2**63, 0]))
number = st.one_of(st.just(NAN), st.sampled_from([0.1, 0.2, 0.7, -1.0, 1e9, 0.0]))
decision = st.fixed_dictionaries(
    {"id": some_id, "ago": st.integers(0, 30), "key": st.integers(0, 2), "value": st.sampled_from([0.5, 1.5]),
     "action": st.integers(-1, 3), "unit": st.sampled_from([0, 7]), "episode": st.sampled_from([0, 9]),
     "step": st.sampled_from([-1, 4]), "segments": st.sampled_from([0, 515])}
)  # fmt: skip
reward = st.fixed_dictionaries(
    {"id": some_id, "ago": st.integers(0, 30), "reward": number, "truth": number, "engagement": number, "power": number,
     "flags": st.integers(0, 7)}
)  # fmt: skip
tick = st.tuples(
    st.lists(decision, max_size=6), st.lists(reward, max_size=8), st.integers(0, 40), st.booleans()
)


@pytest.fixture(autouse=True, scope="module", params=[0, 256])
def tiny_runs(request: pytest.FixtureRequest) -> Any:
    """Runs, chunks and tables so small that a few rows fill, free and use them again; both ways to find, to order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "RUN", 2)
        patch.setattr(runs, "CHUNK", 2)
        patch.setattr(index, "SMALLEST", 3)
        patch.setattr(index, "FEW", request.param)
        patch.setattr(ordering, "FEW", request.param)
        yield


@settings(max_examples=60, deadline=None)
@given(
    ticks=st.lists(tick, min_size=1, max_size=8), combine=st.sampled_from(["sum", "mean", "last"]),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_join_agrees_with_a_dictionary_through_expiry_restart_and_shuffled_rows(
    ticks: list[tuple[list[Row], list[Row], int, bool]], combine: Combine, seed: int
) -> None:
    table, reference, rng = JoinTable(HORIZON, combine), Reference(combine), np.random.default_rng(seed)
    now = 1000
    for new, paid, pause, restart in ticks:
        now += pause
        table.expire(0)
        assert_same_expiry(table, reference, now - HORIZON)
        new = distinct(
            [row | {"ts_ms": now - row["ago"], "bucket_ms": (now - row["ago"]) // 10 * 10} for row in new]
        )
        paid = distinct_or_equal([{k: v for k, v in (row | {"ts_ms": now - row["ago"]}).items() if k != "ago"}
                                  for row in paid])  # fmt: skip
        new, paid = [new[i] for i in rng.permutation(len(new))], [paid[i] for i in rng.permutation(len(paid))]
        fresh = table.insert(decisions_of(new))
        assert sorted(zip(map(repr, new), fresh.tolist(), strict=True)) == sorted(
            zip(map(repr, new), reference.insert(new), strict=True)
        )
        assert_same_settling(table, reference, paid)
        assert len(table) == len(reference.pending)
        if restart:
            table, arrays = JoinTable(HORIZON, combine), table.arrays()
            table.restore(arrays)
    assert_same_expiry(table, reference, now + 1)
    assert len(table) == 0


def distinct(rows: list[Row]) -> list[Row]:
    """One row per (ts, id): which of two contradicting ones counts is the table's choice, tested by itself."""
    return list({(row["ts_ms"], row["id"]): row for row in rows}.values())


def distinct_or_equal(rows: list[Row]) -> list[Row]:
    """Exact repeats stay; of different rewards at one (ts, id) the first, since their order is the table's choice."""
    kept: dict[tuple[int, int], Row] = {}
    return [row for row in rows if repr(kept.setdefault((row["ts_ms"], row["id"]), row)) == repr(row)]


def assert_same_settling(table: JoinTable, reference: Reference, paid: list[Row]) -> None:
    settled = table.settle(rewards_of(paid))
    rows, fates = reference.settle(paid)
    assert sorted(zip(map(repr, paid), settled.fate.tolist(), strict=True)) == sorted(
        zip(map(repr, paid), map(int, fates), strict=True)
    )
    assert settled.decisions.id.tolist() == [row["id"] for row in rows]
    assert settled.delay_ms.tolist() == [row["delay_ms"] for row in rows]
    assert settled.first.tolist() == [not row["before"]["touched"] for row in rows]
    assert settled.flags_before.tolist() == [row["before"]["flags"] for row in rows]
    assert settled.flags.tolist() == [row["after"]["flags"] for row in rows]
    pairs = {
        "reward": (settled.reward_before, settled.reward),
        "truth": (settled.truth_before, settled.truth),
    }
    pairs |= settled.components | settled.costs
    for name, (before, after) in pairs.items():
        np.testing.assert_array_equal(before, [row["before"][name] for row in rows])
        np.testing.assert_array_equal(after, [row["after"][name] for row in rows])
    for spec in fields(NewDecisions):
        expected = [reference.pending[row["id"]].decision[spec.name] for row in rows]
        assert getattr(settled.decisions, spec.name).tolist() == expected


def assert_same_expiry(table: JoinTable, reference: Reference, before_ms: int) -> None:
    gone, expected = table.expire(before_ms), reference.expire(before_ms)
    for spec in fields(NewDecisions):
        assert getattr(gone.decisions, spec.name).tolist() == [row[spec.name] for row in expected]
    np.testing.assert_array_equal(gone.reward, [row["reward"] for row in expected])
    assert gone.touched.tolist() == [row["touched"] for row in expected]
