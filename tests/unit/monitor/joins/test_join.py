"""What single rewards do to single decisions, worked by hand."""

import gzip
import json
import statistics
from pathlib import Path

import numpy as np
import pytest
import xxhash

from monitor.batch import DONE, FINAL, RewardBatch
from monitor.frames import concat, take
from monitor.joins.combine import Combine
from monitor.joins.fingerprint import fingerprints
from monitor.joins.index import Index
from monitor.joins.join import Fate, JoinTable, NewDecisions
from monitor.joins.orphans import Orphans
from monitor.joins.runs import RUN
from monitor.joins.spill import SpillFolder
from tests.paths import shared_data

HORIZON = 1000
NAN = float("nan")


def decisions(ids: list[int], ts_ms: list[int], key: int = 0) -> NewDecisions:
    n = len(ids)
    ts, none = np.array(ts_ms, np.int64), np.zeros(n, np.uint64)
    return NewDecisions(
        np.array(ids, np.uint64), ts, ts // 100 * 100, np.full(n, key, np.int32), np.full(n, NAN),
        np.full(n, -1, np.int32), none, none, np.full(n, -1), none,
    )  # fmt: skip


def rewards(ids: list[int], ts_ms: list[int], reward: list[float], **more: object) -> RewardBatch:
    n = len(ids)
    columns: dict[str, object] = {"truth": np.full(n, NAN), "flags": np.zeros(n, np.uint8)}
    return RewardBatch(
        row=np.arange(n), ts_ms=np.array(ts_ms, np.int64), id=np.array(ids, np.uint64), reward=np.array(reward, float),
        **(columns | more),  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_reward_finds_its_decision_and_says_how_long_it_took() -> None:
    table = JoinTable(HORIZON)
    assert table.insert(decisions([7, 5], [250, 260], key=3)).tolist() == [True, True]
    settled = table.settle(rewards([5], [400], [0.5]))
    assert settled.decisions.id.tolist() == [5]
    assert settled.decisions.bucket_ms.tolist() == [200]
    assert settled.decisions.key.tolist() == [3]
    assert settled.delay_ms.tolist() == [140]
    assert settled.first.tolist() == [True]
    assert np.isnan(settled.reward_before).all()
    assert settled.reward.tolist() == [0.5]


@pytest.mark.parametrize(
    ("combine", "after_two", "after_three"), [("sum", 4.0, 14.0), ("mean", 2.0, 14 / 3), ("last", 3.0, 3.0)]
)
def test_rewards_of_one_decision_are_combined_as_configured(
    combine: Combine, after_two: float, after_three: float
) -> None:
    table = JoinTable(HORIZON, combine)
    table.insert(decisions([1], [0]))
    assert table.settle(rewards([1, 1], [20, 30], [1.0, 3.0])).reward.tolist() == [after_two]
    later = table.settle(rewards([1], [10], [10.0]))  # came late: it is not the last by event time
    assert later.reward_before.tolist() == [after_two]
    assert later.reward.tolist() == [after_three]
    assert later.first.tolist() == [False]


def test_of_two_rewards_at_one_time_in_different_ticks_the_later_tick_is_the_last() -> None:
    table = JoinTable(HORIZON, "last")
    table.insert(decisions([1], [0]))
    table.settle(rewards([1], [20], [1.0]))
    assert table.settle(rewards([1], [20], [2.0])).reward.tolist() == [2.0]


def test_a_run_that_empties_while_it_is_being_filled_is_not_given_out_twice() -> None:
    table = JoinTable(HORIZON)
    table.insert(decisions([1], [0]))
    assert len(table.expire(1)) == 1
    first, second = list(range(2, RUN + 1)), list(range(RUN + 1, 2 * RUN + 1))
    table.insert(decisions(first, [10] * len(first)))
    table.insert(decisions(second, [20] * len(second)))
    assert table.expire(30).decisions.id.tolist() == first + second


def test_an_unknown_way_to_combine_is_refused() -> None:
    with pytest.raises(ValueError, match="median"):
        JoinTable(HORIZON, "median")  # type: ignore[arg-type]


def test_truth_is_the_last_by_event_time_whatever_rewards_do() -> None:
    table = JoinTable(HORIZON, "sum")
    table.insert(decisions([1], [0]))
    settled = table.settle(rewards([1, 1], [30, 20], [NAN, NAN], truth=np.array([8.0, 9.0])))
    assert settled.truth.tolist() == [8.0]
    assert np.isnan(settled.reward).all()


def test_components_and_costs_are_combined_name_by_name_and_flags_gathered() -> None:
    table = JoinTable(HORIZON)
    table.insert(decisions([1, 2], [0, 5]))
    table.settle(
        rewards([1], [10], [NAN], costs={"power": np.array([2.0])}, flags=np.array([DONE], np.uint8))
    )
    second = rewards(
        [1, 2], [20, 20], [1.0, 1.0], costs={"power": np.array([3.0, NAN])},
        components={"clicks": np.array([NAN, 4.0]), "empty": np.array([NAN, NAN])},
        flags=np.array([FINAL, 0], np.uint8),
    )  # fmt: skip
    settled = table.settle(second)
    np.testing.assert_array_equal(settled.costs["power"], [[2.0, NAN], [5.0, NAN]])
    np.testing.assert_array_equal(settled.components["clicks"], [[NAN, NAN], [NAN, 4.0]])
    assert "empty" not in settled.components
    assert settled.flags_before.tolist() == [DONE, 0]
    assert settled.flags.tolist() == [DONE | FINAL, 0]


def test_the_same_reward_counts_once_in_one_tick_and_across_ticks() -> None:
    table = JoinTable(HORIZON)
    table.insert(decisions([1], [0]))
    first = table.settle(rewards([1, 1, 1], [20, 20, 20], [1.0, 1.0, 2.0]))
    assert sorted(first.fate.tolist()) == [Fate.SETTLED, Fate.SETTLED, Fate.DUPLICATE]
    assert first.reward.tolist() == [3.0]
    again = table.settle(rewards([1, 1, 1], [20, 20, 21], [2.0, 1.0, 1.0]))
    assert again.fate.tolist() == [Fate.DUPLICATE, Fate.DUPLICATE, Fate.SETTLED]
    assert again.reward.tolist() == [4.0]


def test_a_reward_after_the_horizon_is_late_and_one_without_decision_is_unmatched() -> None:
    table = JoinTable(HORIZON)
    table.insert(decisions([1, 2], [0, 0]))
    settled = table.settle(rewards([2, 9, 1], [HORIZON + 1, 10, HORIZON], [1.0, 1.0, 1.0]))
    assert settled.fate.tolist() == [Fate.LATE, Fate.UNMATCHED, Fate.SETTLED]
    assert len(settled) == 1


def test_a_second_decision_of_one_id_is_refused_until_the_first_has_left() -> None:
    table = JoinTable(HORIZON)
    assert table.insert(decisions([1, 1, 2], [5, 4, 6])).tolist() == [False, True, True]
    assert table.insert(decisions([2, 3], [50, 50])).tolist() == [False, True]
    table.expire(10)
    assert table.insert(decisions([2], [60])).tolist() == [True]
    assert table.settle(rewards([2], [70], [1.0])).delay_ms.tolist() == [10]


def test_of_contradicting_decisions_at_one_time_the_same_one_counts_in_any_order() -> None:
    both = concat([decisions([1], [5], key=4), decisions([1], [5], key=2)])
    for order in ([0, 1], [1, 0]):
        table = JoinTable(HORIZON)
        table.insert(take(both, order))
        assert table.expire(6).decisions.key.tolist() == [2]


def test_what_leaves_says_whether_a_reward_ever_came() -> None:
    table = JoinTable(HORIZON)
    table.insert(decisions([3, 1, 2], [30, 10, 20]))
    table.settle(rewards([1, 3], [40, 40], [1.0, NAN], costs={"power": np.array([NAN, 1.0])}))
    gone = table.expire(31)
    assert gone.decisions.id.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(gone.reward, [1.0, NAN, NAN])
    assert gone.touched.tolist() == [True, False, True]
    assert len(table) == 0


def test_sums_are_taken_in_order_of_time_so_that_they_agree_to_the_bit() -> None:
    values = [1e16, 1.0, -1e16, 1.0]  # any other order gives another sum
    shuffled = [2, 0, 3, 1]
    table = JoinTable(HORIZON)
    table.insert(decisions([1], [0]))
    settled = table.settle(rewards([1] * 4, [i + 1 for i in shuffled], [values[i] for i in shuffled]))
    assert settled.reward.tolist() == [((1e16 + 1.0) - 1e16) + 1.0]


def test_memory_follows_what_is_pending_not_what_has_passed() -> None:
    table = JoinTable(HORIZON)
    rng, sizes = np.random.default_rng(3), []
    for tick in range(60):
        ids = rng.integers(1, 2**64, RUN, dtype=np.uint64).tolist()
        table.expire(tick * 100 - HORIZON)
        table.insert(decisions(ids, [tick * 100] * RUN))
        for delay_ms in (1, 2):
            table.settle(rewards(ids, [tick * 100 + delay_ms] * RUN, [1.0] * RUN))
        sizes.append(table.nbytes)
    assert len(table) == 11 * RUN
    assert max(sizes[30:]) <= max(sizes[:30])


def test_a_table_that_spills_does_the_same_with_less_memory(tmp_path: Path) -> None:
    plain, spilling = (
        JoinTable(HORIZON, "mean"),
        JoinTable(HORIZON, "mean", SpillFolder(tmp_path, cap_bytes=200_000)),
    )
    rng = np.random.default_rng(4)
    for tick in range(30):
        ids = np.unique(rng.integers(1, 2**64, RUN, dtype=np.uint64)).tolist()
        values = rng.normal(size=len(ids)).tolist()
        results = []
        for table in (plain, spilling):
            gone = table.expire(tick * 100 - HORIZON)
            table.insert(decisions(ids, [tick * 100] * len(ids)))
            settled = table.settle(rewards(ids, [tick * 100 + 1] * len(ids), values))
            results.append([gone.decisions.id, gone.reward, settled.decisions.id, settled.reward])
        for one, other in zip(*results, strict=True):
            np.testing.assert_array_equal(one, other)
    assert spilling.nbytes < 0.7 * plain.nbytes
    saved, expected = spilling.arrays(), plain.arrays()
    assert saved.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(saved[name], expected[name])


def test_an_index_forgets_tables_whose_runs_have_left() -> None:
    index, known, here = Index(), np.arange(1, 20_001, dtype=np.uint64), np.ones(20_000, np.bool_)
    for start in range(0, 20_000, 2_000):
        if not index.has_room(2_000):
            index.open(2_000, 2_000)
        places = np.arange(start, start + 2_000)
        index.add(known[places], places, [start])
    assert index.find(known, known, here).tolist() == list(range(20_000))
    full = index.nbytes
    index.forget(range(0, 18_000, 2_000))
    assert index.nbytes < full / 3
    assert index.find(known[18_000:], known, here).tolist() == list(range(18_000, 20_000))


def test_a_fingerprint_tells_names_apart_and_not_how_a_batch_was_cut() -> None:
    one = rewards([1], [5], [1.0])
    named = [
        rewards([1], [5], [1.0], components={"a": np.array([2.0])}),
        rewards([1], [5], [1.0], components={"b": np.array([2.0])}),
        rewards([1], [5], [1.0], costs={"a": np.array([2.0])}),
        rewards([1], [5], [NAN], truth=np.array([1.0])),
        rewards([2], [5], [1.0]), rewards([1], [6], [1.0]), rewards([1], [5], [1.5]),
        rewards([1], [5], [1.0], flags=np.array([DONE], np.uint8)), one,
    ]  # fmt: skip
    alone = [int(fingerprints(batch)[0]) for batch in named]
    assert len(set(alone)) == len(named)
    assert fingerprints(concat(named)).tolist() == alone
    assert fingerprints(rewards([1], [5], [-0.0])).tolist() == fingerprints(rewards([1], [5], [0.0])).tolist()


def test_an_orphan_is_given_back_once_when_its_decision_arrives() -> None:
    orphans = Orphans(limit=100)
    orphans.add(rewards([4, 2, 4], [30, 20, 10], [1.0, 2.0, 3.0]))
    orphans.add(rewards([4], [20], [5.0], costs={"power": np.array([1.0])}))
    back = orphans.offer(np.array([4, 8, 4], np.uint64))
    assert back.ts_ms.tolist() == [10, 20, 30]
    np.testing.assert_array_equal(back.costs["power"], [NAN, 1.0, NAN])
    assert len(orphans.offer(np.array([4], np.uint64))) == 0
    assert len(orphans) == 1


def test_orphans_leave_when_too_old_or_when_there_are_too_many_the_oldest_first() -> None:
    orphans = Orphans(limit=8)
    assert len(orphans.add(rewards([1, 2, 3, 4], [40, 10, 30, 20], [0.0] * 4))) == 0
    assert orphans.expire(15).id.tolist() == [2]
    dropped = orphans.add(rewards([5, 6, 7, 8, 9, 10], [50, 60, 70, 5, 90, 100], [0.0] * 6))
    assert dropped.id.tolist() == [8, 4]
    assert len(orphans) == 7


def test_orphans_go_on_after_a_restart_as_if_there_had_been_none() -> None:
    orphans, restored = Orphans(limit=8), Orphans(limit=8)
    orphans.add(rewards([1, 2], [40, 10], [1.0, 2.0], components={"clicks": np.array([NAN, 3.0])}))
    restored.restore(orphans.arrays())
    mine, theirs = orphans.offer(np.array([2], np.uint64)), restored.offer(np.array([2], np.uint64))
    assert mine.components["clicks"].tolist() == theirs.components["clicks"].tolist() == [3.0]
    assert orphans.expire(99).id.tolist() == restored.expire(99).id.tolist() == [1]


def test_several_rewards_of_a_real_decision_service_log_become_the_mean_that_it_labels_them_with() -> None:
    """100 decisions with 1 to 5 rewards each; the service's own label is their mean (shared/data/README.md)."""
    with gzip.open(shared_data() / "vw-multi-reward.jsonl.gz", "rt", encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    paid: dict[int, list[float]] = {}
    table, shown = JoinTable(3_600_000, "mean"), {}
    for event in events:
        one, ts_ms = xxhash.xxh3_64_intdigest(event["decision_id"].encode()), round(event["ts"] * 1000)
        if event["type"] == "decision":
            assert table.insert(decisions([one], [ts_ms])).all()
            continue
        paid.setdefault(one, []).append(event["reward"])
        settled = table.settle(rewards([one], [ts_ms], [event["reward"]]))
        assert settled.fate.tolist() == [Fate.SETTLED]
        shown[one] = float(settled.reward[0])
    assert len(shown) == 100
    assert {len(values) for values in paid.values()} == {1, 2, 3, 4, 5}
    assert shown == pytest.approx({one: statistics.fmean(values) for one, values in paid.items()}, abs=1e-12)
