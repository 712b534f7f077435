"""Episodes: cases worked by hand, limits, and a real log."""

import gzip
import hashlib
import json
from collections.abc import Sequence

import numpy as np
import pytest

from monitor.batch import DONE, TRUNCATED
from monitor.episodes.book import EndedEpisodes, EpisodeBook, EpisodePlan, NewSteps, RewardUpdates, Targets
from monitor.frames import concat
from tests.paths import shared_data

Row = tuple[int, int, int, float]  # episode, step, ts_ms, value


def steps(table: Sequence[Row], cost: float = 1.0) -> NewSteps:
    episode, step, ts, value = (
        (np.array(c) for c in zip(*table, strict=True)) if table else (np.empty(0),) * 4
    )
    n = len(table)
    return NewSteps(
        np.zeros(n, np.int32), ts.astype(np.int64) // 1000 * 1000, _id(episode, step), episode.astype(np.uint64),
        step.astype(np.int64), ts.astype(np.int64), value.astype(np.float64), np.zeros(n, np.int32),
        np.zeros(n, np.uint64), np.zeros(n, np.uint64), {"power": np.full(n, cost)},
    )  # fmt: skip


def rewards(table: Sequence[tuple[int, int, int, float, int]]) -> RewardUpdates:
    """Rows of episode, step, ts_ms, reward, flags."""
    episode, step, ts, reward, flags = (
        (np.array(c) for c in zip(*table, strict=True)) if table else (np.empty(0),) * 5
    )
    return RewardUpdates(
        np.zeros(len(table), np.int32), _id(episode, step), episode.astype(np.uint64), step.astype(np.int64),
        ts.astype(np.int64), reward.astype(np.float64), flags.astype(np.uint8),
    )  # fmt: skip


def _id(episode: np.ndarray, step: np.ndarray) -> np.ndarray:
    return (episode.astype(np.uint64) << np.uint64(32)) + step.astype(np.uint64)


def book(returns: str = "td", **limits: int) -> EpisodeBook:
    return EpisodeBook(EpisodePlan(returns, 0.5, 10_000, cost_gammas={"power": 1.0}, **limits))


def test_td_target_waits_for_the_next_value_and_needs_none_at_the_end() -> None:
    b = book()
    first, _ = b.advance(1000, steps([(7, 0, 100, 4.0)]), rewards([(7, 0, 100, 1.0, 0)]))
    second, _ = b.advance(2000, steps([(7, 1, 1100, 6.0)]), rewards([]))
    third, ended = b.advance(3000, steps([]), rewards([(7, 1, 1100, 2.0, DONE)]))
    assert first.target.tolist() == []
    assert second.target.tolist() == [1.0 + 0.5 * 6.0]
    assert third.target.tolist() == [2.0]
    assert (ended.steps.tolist(), ended.reward.tolist(), ended.truncated.tolist()) == ([2], [2.0], [False])
    assert ended.costs["power"].tolist() == [2.0]


def test_a_changed_reward_gives_the_target_out_again_with_the_one_before() -> None:
    b = book("episode")
    b.advance(
        1000,
        steps([(7, 0, 100, 0.0), (7, 1, 200, 0.0)]),
        rewards([(7, 0, 100, 1.0, 0), (7, 1, 200, 2.0, DONE)]),
    )
    again, ended = b.advance(2000, steps([]), rewards([(7, 1, 200, 4.0, 0)]))
    assert again.target_before.tolist() == [2.0, 2.0]
    assert again.target.tolist() == [3.0, 4.0]
    assert len(ended) == 0


def test_a_truncated_episode_is_censored_not_zeroed() -> None:
    b = book("episode")
    targets, ended = b.advance(
        1000,
        steps([(7, 0, 100, 0.0), (7, 1, 200, 0.0)]),
        rewards([(7, 0, 100, 1.0, 0), (7, 1, 200, 2.0, TRUNCATED)]),
    )
    assert len(targets) == 0
    assert ended.truncated.tolist() == [True]


def test_an_idle_episode_is_closed_as_truncated_and_counted() -> None:
    b = book()
    b.advance(1000, steps([(7, 0, 100, 0.0)]), rewards([(7, 0, 100, 1.0, 0)]))
    _, early = b.advance(10_000, steps([]), rewards([]))
    _, ended = b.advance(11_000, steps([]), rewards([]))
    _, never = b.advance(12_000, steps([]), rewards([(7, 0, 100, 5.0, DONE)]))
    assert (len(early), len(never)) == (0, 0)
    assert (ended.truncated.tolist(), ended.reward.tolist()) == ([True], [1.0])
    assert (b.counters["idle"], b.counters["unmatched"], len(b)) == (1, 1, 0)


def test_an_endless_episode_stays_bounded_and_its_sums_are_whole() -> None:
    b = book()
    kept, n = 0, 2000
    for k in range(n):
        end = DONE if k == n - 1 else 0
        _, ended = b.advance(
            (k + 1) * 100, steps([(7, k, k * 100, 0.0)]), rewards([(7, k, k * 100, 1.0, end)])
        )
        kept = max(kept, len(b))
    assert kept <= 140
    assert (ended.steps.tolist(), ended.costs["power"].tolist(), ended.truncated.tolist()) == (
        [n],
        [n],
        [False],
    )
    assert ended.reward[0] == pytest.approx(2.0)


def test_above_max_rows_the_longest_idle_episodes_are_closed() -> None:
    b = book(max_rows=20)
    closed = 0
    for k in range(10):
        _, ended = b.advance(
            (k + 1) * 10, steps([(k + 1, s, k * 10 + s, 0.0) for s in range(5)]), rewards([])
        )
        closed += len(ended)
    assert len(b) <= 20
    assert closed == b.counters["overflow"] == 6


def test_td_errors_of_the_pendulum_are_those_of_its_truth_file() -> None:
    """Mean -.05 (sd 1.8) before gravity changes at step 5,500, -1.42 (sd 4.3) after."""
    targets, ended, b = replayed("pendulum-gravity.jsonl.gz", EpisodePlan("td", 0.95, 60_000), tick_ms=50_000)
    error, before = targets.target - targets.value, targets.bucket_start_ms < 1_767_231_100_000
    assert error[before].mean() == pytest.approx(-0.05, abs=0.01)
    assert error[before].std() == pytest.approx(1.8, abs=0.05)
    assert error[~before].mean() == pytest.approx(-1.42, abs=0.01)
    assert error[~before].std() == pytest.approx(4.3, abs=0.05)
    assert (len(ended), int(ended.truncated.sum())) == (55, 55)
    assert (len(error), len(b)) == (11_000 - 55, 0)


def replayed(name: str, plan: EpisodePlan, tick_ms: int) -> tuple[Targets, EndedEpisodes, EpisodeBook]:
    with gzip.open(shared_data() / name, "rt") as file:
        events = [json.loads(line) for line in file]
    made = {e["decision_id"]: e for e in events if e["type"] == "decision"}
    start = min(int(e["ts"] * 1000) for e in events)
    ticks: dict[int, tuple[list[Row], list[tuple[int, int, int, float, int]]]] = {}
    for e in events:
        new, changed = ticks.setdefault((int(e["ts"] * 1000) - start) // tick_ms, ([], []))
        d = made[e["decision_id"]]
        episode = int.from_bytes(hashlib.blake2b(d["episode"].encode(), digest_size=3).digest(), "little")
        where = (episode, d["step"], int(d["ts"] * 1000))
        if e is d:
            new.append((*where, d["value"]))
        else:
            changed.append((*where, e["reward"], e["done"] * DONE + e["truncated"] * TRUNCATED))
    b = EpisodeBook(plan)
    out = []
    for k in range(max(ticks) + 3 + plan.horizon_ms // tick_ms):
        new, changed = ticks.get(k, ([], []))
        out.append(b.advance(start + (k + 1) * tick_ms, steps(new), rewards(changed)))
    return concat([t for t, _ in out]), concat([e for _, e in out]), b
