"""Episodes in columns agree with a slow reference, tick split by tick split, and across a restart."""

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.batch import DONE, TRUNCATED
from monitor.episodes.book import EndedEpisodes, EpisodeBook, EpisodePlan, NewSteps, RewardUpdates, Targets

HORIZON_MS, BUCKET_MS = 10_000, 1_000


@dataclass
class Step:
    """One decision and what became of it, as the reference sees it."""

    key: int
    episode: int
    number: int
    ts_ms: int
    id: int
    value: float
    cost: float
    reward: float = float("nan")
    flags: int = 0
    target: float = float("nan")
    changes: list[tuple[float, float]] = field(default_factory=list)


def reference_target(steps: list[Step], i: int, returns: str, gamma: float, n: int) -> float:
    """The target of step i, by the definition, with everything that is known."""
    if returns == "reward":
        return steps[i].reward
    total, j = 0.0, i
    limit = {"td": 1, "n-step": n, "episode": 10**9}[returns]
    while True:
        total += gamma ** (j - i) * steps[j].reward
        if steps[j].flags & TRUNCATED:
            return float("nan")
        if steps[j].flags & DONE:
            return total
        follows = j + 1 < len(steps) and (
            steps[j + 1].number == steps[j].number + 1 or steps[j + 1].number == steps[j].number == -1
        )
        if not follows or steps[j + 1].ts_ms < steps[j].ts_ms:
            return float("nan")
        j += 1
        if j - i == limit:
            return total + gamma**limit * steps[j].value


def world(seed: int, numbered: bool, late: float = 0.15) -> list[tuple[int, str, int, Step, float, int]]:
    """Arrivals (time, what, order, step, reward, flags): episodes of several lengths, delayed and repeated rewards."""
    rng = np.random.default_rng(seed)
    arrivals = []
    for episode in range(1, 6):
        length, start = int(rng.integers(1, 12)), int(rng.integers(0, 4000))
        end = [DONE, TRUNCATED, 0][int(rng.integers(3))]
        for number in range(length):
            ts = start + number * 300
            step = Step(
                key=episode % 2, episode=episode, number=number if numbered else -1, ts_ms=ts,
                id=int(rng.integers(1, 2**62)), value=float(rng.normal()), cost=float(rng.random()),
            )  # fmt: skip
            if rng.random() < 0.05:
                continue
            lateness = int(rng.integers(0, 3000)) if rng.random() < late else 0
            arrivals.append((ts + lateness, "decision", ts, step, 0.0, 0))
            if rng.random() < 0.95:
                flags = end if number == length - 1 else 0
                at = ts + lateness + int(rng.integers(0, 2500))
                arrivals.append((at, "reward", 1, step, float(rng.normal()), flags))
                if rng.random() < 0.2:
                    arrivals.append((at + 700, "reward", 2, step, float(rng.normal()), flags))
    return sorted(arrivals, key=lambda a: (a[0], a[1] == "reward", a[2], a[3].id))


def steps_of(steps: list[Step]) -> NewSteps:
    steps = sorted(steps, key=lambda s: (s.ts_ms, s.id))
    return NewSteps(
        key=np.array([s.key for s in steps], np.int32),
        bucket_start_ms=np.array([s.ts_ms // BUCKET_MS * BUCKET_MS for s in steps], np.int64),
        id=np.array([s.id for s in steps], np.uint64),
        episode=np.array([s.episode for s in steps], np.uint64),
        step=np.array([s.number for s in steps], np.int64),
        ts_ms=np.array([s.ts_ms for s in steps], np.int64),
        value=np.array([s.value for s in steps], np.float64),
        action=np.zeros(len(steps), np.int32),
        unit=np.array([s.id for s in steps], np.uint64),
        segments=np.array([s.id for s in steps], np.uint64),
        costs={"power": np.array([s.cost for s in steps], np.float64)},
    )


def updates_of(rows: list[tuple[Step, float, int]]) -> RewardUpdates:
    return RewardUpdates(
        key=np.array([s.key for s, _, _ in rows], np.int32),
        id=np.array([s.id for s, _, _ in rows], np.uint64),
        episode=np.array([s.episode for s, _, _ in rows], np.uint64),
        step=np.array([s.number for s, _, _ in rows], np.int64),
        ts_ms=np.array([s.ts_ms for s, _, _ in rows], np.int64),
        reward=np.array([r for _, r, _ in rows], np.float64),
        flags=np.array([f for _, _, f in rows], np.uint8),
    )


def run(
    book: EpisodeBook, arrivals: list[tuple[int, str, int, Step, float, int]], tick_ms: int, end_ms: int
) -> list[tuple[Targets, EndedEpisodes]]:
    out = []
    for now in range(tick_ms, end_ms + tick_ms, tick_ms):
        inside = [a for a in arrivals if now - tick_ms <= a[0] < now]
        latest = {a[3].id: (a[3], a[4], a[5]) for a in inside if a[1] == "reward"}
        out.append(
            book.advance(
                now, steps_of([a[3] for a in inside if a[1] == "decision"]), updates_of(list(latest.values()))
            )
        )
    return out


def reference(
    arrivals: list[tuple[int, str, int, Step, float, int]], tick_ms: int, end_ms: int, plan: EpisodePlan
) -> list[list[tuple[int, float, float]]]:
    """Per tick the (unit, target_before, target) that must be given out: all episodes recomputed at every tick."""
    seen: dict[int, list[Step]] = {}
    out = []
    for now in range(tick_ms, end_ms + tick_ms, tick_ms):
        for _, what, _, step, reward, flags in [a for a in arrivals if now - tick_ms <= a[0] < now]:
            if what == "decision":
                seen.setdefault(step.episode, []).append(step)
            else:
                step.reward, step.flags = reward, step.flags | flags
        given = []
        for steps in seen.values():
            steps.sort(key=lambda s: (s.number, s.ts_ms, s.id))
            for i, step in enumerate(steps):
                target = reference_target(steps, i, plan.returns, plan.gamma, plan.n_steps)
                if not np.isnan(target) and not np.isclose(target, step.target, rtol=1e-12, atol=1e-12):
                    given.append(
                        (step.key, step.ts_ms // BUCKET_MS, step.ts_ms, step.id, step.target, target)
                    )
                    step.target = target
        out.append([(row[3], row[4], row[5]) for row in sorted(given)])
    return out


@pytest.mark.parametrize("returns", ["reward", "td", "n-step", "episode"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), numbered=st.booleans(), tick_ms=st.sampled_from([300, 1000, 2500]))
def test_targets_of_every_tick_are_those_of_the_definition(
    returns: str, seed: int, numbered: bool, tick_ms: int
) -> None:
    plan = EpisodePlan(returns, gamma=0.9, horizon_ms=HORIZON_MS, n_steps=3, cost_gammas={"power": 1.0})
    end_ms = 14_000
    expected = reference(world(seed, numbered), tick_ms, end_ms, plan)
    got = run(EpisodeBook(plan), world(seed, numbered), tick_ms, end_ms)
    for (targets, _), rows in zip(got, expected, strict=True):
        assert targets.unit.tolist() == [row[0] for row in rows]
        assert targets.segments.tolist() == targets.unit.tolist()
        np.testing.assert_allclose(targets.target_before, [row[1] for row in rows], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(targets.target, [row[2] for row in rows], rtol=1e-12, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), numbered=st.booleans())
def test_each_episode_ends_once_with_its_sums(seed: int, numbered: bool) -> None:
    plan = EpisodePlan("td", gamma=0.9, horizon_ms=HORIZON_MS, cost_gammas={"power": 0.8})
    arrivals = world(seed, numbered, late=0.0)
    reference(arrivals, 500, 40_000, plan)
    steps: dict[int, list[Step]] = {}
    for _, what, _, step, _, _ in arrivals:
        if what == "decision":
            steps.setdefault(step.episode, []).append(step)
    expected = []
    for rows in steps.values():
        rows.sort(key=lambda s: (s.number, s.ts_ms, s.id))
        end = next((i for i, s in enumerate(rows) if s.flags), len(rows) - 1)
        rows = rows[: end + 1]
        whole = rows[0].number in (-1, 0, 1) and all(
            b.number == a.number + 1 or b.number == -1 for a, b in itertools.pairwise(rows)
        )
        truncated = rows[-1].flags != DONE or not whole or any(np.isnan(s.reward) for s in rows)
        expected.append((
            rows[0].key, rows[-1].ts_ms // BUCKET_MS * BUCKET_MS, len(rows), truncated,
            sum(0.8**k * s.cost for k, s in enumerate(rows)),
        ))  # fmt: skip
    got = [
        row
        for _, e in run(EpisodeBook(plan), world(seed, numbered, late=0.0), 500, 40_000)
        for row in zip(e.key, e.bucket_start_ms, e.steps, e.truncated, e.costs["power"], strict=True)
    ]
    for a, b in zip(sorted(got), sorted(expected), strict=True):
        assert a[:4] == b[:4]
        assert a[4] == pytest.approx(b[4], rel=1e-12)


@pytest.mark.parametrize("returns", ["td", "episode"])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(1, 27))
def test_the_future_after_a_restore_is_the_same_to_the_bit(returns: str, seed: int, cut: int) -> None:
    plan = EpisodePlan(returns, gamma=0.9, horizon_ms=4_000, cost_gammas={"power": 1.0})
    arrivals = world(seed, True)
    whole, first, second = EpisodeBook(plan), EpisodeBook(plan), EpisodeBook(plan)
    want = run(whole, arrivals, 500, 14_000)
    run(first, [a for a in arrivals if a[0] < cut * 500], 500, cut * 500)
    second.restore(first.state())
    later = [
        second.advance(
            now,
            steps_of([a[3] for a in arrivals if a[1] == "decision" and now - 500 <= a[0] < now]),
            updates_of(
                list({a[3].id: (a[3], a[4], a[5]) for a in arrivals if a[1] == "reward" and now - 500 <= a[0] < now}
                     .values())
            ),
        )
        for now in range(cut * 500 + 500, 14_500, 500)
    ]  # fmt: skip
    for (a, b), (c, d) in zip(want[cut:], later, strict=True):
        for one, other in ((a, c), (b, d)):
            for name in one.__dataclass_fields__:
                x, y = getattr(one, name), getattr(other, name)
                x, y = (x["power"], y["power"]) if name == "costs" else (x, y)
                assert x.tobytes() == y.tobytes()
    assert whole.counters == second.counters
