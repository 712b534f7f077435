"""Shards that count and a judge that merges say what one daemon alone says."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from monitor.config_file import load_config
from monitor.sharding.wire import BucketMessage, Message, ProgressMessage, encode
from tests.integration.replayed import Seen, replayed
from tests.integration.running import TOPICS, Site, make_baseline
from tests.integration.traffic import START_MS, Event, World, decision, events
from tests.unit.monitor.sharding.shards import JudgeOfShards, cut, lanes_of, shard_messages

PARTITIONS = 4
WORLD = World(40, change_s=13, back_s=26, per_s=25, critic=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    baseline = make_baseline(tmp_path_factory.mktemp("baseline"), critic=True)
    site = Site(tmp_path_factory.mktemp("site"), "none:1", {kind: f"t-{kind}" for kind in TOPICS}, baseline)
    site.write('lateness = "1s"', 'rules.constraint.keep_firing = "10s"\nmetrics = ["load"]')
    return site


@pytest.fixture(scope="module")
def made() -> list[Event]:
    """A fall of the reward and its end, forbidden actions, an action and segments that no baseline knows, metrics."""
    rng = random.Random(5)
    more = [
        decision(1, START_MS + 12_345, rng, decision_id="odd-1", action=7, segments={"site": "moon"}),
        decision(2, START_MS + 30_001, rng, decision_id="odd-2", action=9, policy="v2"),
        *[  # each lane meets them in another order
            {**decision(10 + n, START_MS + 5_000 + 37 * n, rng, decision_id=f"far-{n}", value=1.0), "segments":
             {"site": ("mars", "moon", "pluto")[n * n % 3]}} for n in range(12)
        ],
        *[
            {"type": "reward", "decision_id": f"far-{n}", "ts": START_MS + 6_000 + 37 * n, "reward": 0.5}
            for n in range(12)
        ],
        *[
            {"type": "metric", "decision_id": f"m{s}", "deployment": "shop", "metric": "load",
             "ts": START_MS + 1_000 * s + 13, "value": s / 7}
            for s in range(40)
        ],
    ]  # fmt: skip
    return sorted([*events(WORLD), *more], key=lambda event: event["ts"])


@pytest.fixture(scope="module")
def alone(site: Site, made: list[Event]) -> Seen:
    return replayed(site.path, made, site.folder)


@pytest.fixture(scope="module")
def lane_logs(site: Site, made: list[Event]) -> dict[str, dict[str, list[Event]]]:
    """Lane -> its partitions."""
    config = load_config(site.path)
    lanes: dict[str, dict[str, list[Event]]] = {}
    for partition, log in cut(made, config, PARTITIONS).items():
        topic, _, number = partition.rpartition("/")
        name = f"metrics-{number}" if topic == config.source.topics["metrics"] else number
        lanes.setdefault(name, {})[partition] = log
    return lanes


@pytest.fixture(scope="module")
def two(site: Site, lane_logs: dict[str, dict[str, list[Event]]]) -> list[list[Message]]:
    """What each of two shards tells."""
    return sharded(site, lane_logs, 2)


@pytest.fixture(scope="module")
def whole(site: Site, lane_logs: dict[str, dict[str, list[Event]]], two: list[list[Message]]) -> Seen:
    """What the judge says of the two."""
    return judged(site, list(lane_logs), mixed(two, 3))


def sharded(
    site: Site, lane_logs: dict[str, dict[str, list[Event]]], shards: int, poll: int = 50
) -> list[list[Message]]:
    """What each shard tells."""
    config = load_config(site.path)
    return [
        shard_messages(
            lanes_of(config, site.folder),
            {p: log for i, name in enumerate(sorted(lane_logs)) if i % shards == shard
             for p, log in lane_logs[name].items()},
            poll,
        )
        for shard in range(shards)
    ]  # fmt: skip


def mixed(streams: list[list[Message]], seed: int) -> list[Message]:
    """The topic: shards write as they come, each in its order."""
    rng, queues, topic = random.Random(seed), [list(reversed(s)) for s in streams], []
    while any(queues):
        queue = rng.choice([q for q in queues if q])
        topic += [queue.pop() for _ in range(min(len(queue), rng.randrange(1, 9)))]
    return topic


def judged(site: Site, lanes: Sequence[str], topic: Sequence[Message], poll: int = 7) -> Seen:
    judge = JudgeOfShards(site.path, lanes)
    for start in range(0, len(topic), poll):
        judge.hear(topic[start : start + poll])
    return judge.seen


def test_one_two_and_four_shards_say_the_same_to_the_byte(
    site: Site, lane_logs: dict[str, dict[str, list[Event]]], whole: Seen
) -> None:
    seen = [
        judged(site, list(lane_logs), mixed(sharded(site, lane_logs, shards, poll), shards), poll)
        for shards, poll in ((1, 50), (4, 1_000))
    ]
    seen.append(whole)
    assert seen[0].lines
    assert sorted(seen[0].wire) == sorted(seen[1].wire) == sorted(seen[2].wire)
    assert seen[0].lines == seen[1].lines == seen[2].lines


def test_judge_of_shards_says_what_one_daemon_says(whole: Seen, alone: Seen) -> None:
    seen = whole
    assert seen.rejected == []
    assert seen.counts == alone.counts
    assert sorted(seen.ids) == sorted(alone.ids)
    assert {(s.id, s.kind, s.state, s.generation) for s in seen.signals} == {
        (s.id, s.kind, s.state, s.generation) for s in alone.signals
    }
    assert {"reward", "constraint"} <= {signal.rule for signal in alone.signals}
    pairs = list(zip(seen.lines, alone.lines, strict=True))
    assert len(pairs) > 500
    for mine, theirs in pairs:
        assert alike(json.loads(mine), json.loads(theirs))


def alike(mine: dict[str, object], theirs: dict[str, object]) -> bool:
    for name, value in theirs.items():
        if isinstance(value, float) and name != "n":
            assert mine[name] == pytest.approx(value, rel=1e-9, abs=1e-9), (name, mine, theirs)
        elif name not in ("reason", "culprits"):
            assert mine[name] == value, (name, mine, theirs)
    return True


def test_shard_that_restarts_tells_the_same_bytes_again_and_nothing_counts_twice(
    site: Site, lane_logs: dict[str, dict[str, list[Event]]], two: list[list[Message]], whole: Seen
) -> None:
    streams, once = two, whole
    again = sharded(site, lane_logs, 2, poll=13)[0]
    keys = {m.key: encode(m) for m in streams[0] if isinstance(m, BucketMessage)}
    assert {m.key: encode(m) for m in again if isinstance(m, BucketMessage)} == keys
    half = len(streams[0]) // 2
    twice = judged(site, list(lane_logs), mixed([[*streams[0][:half], *again], streams[1]], 2))
    assert twice.lines == once.lines
    assert sorted(twice.wire) == sorted(once.wire)


def test_judge_that_restarts_goes_on_to_the_byte(
    site: Site, lane_logs: dict[str, dict[str, list[Event]]], two: list[list[Message]], whole: Seen
) -> None:
    topic = mixed(two, 3)
    for cut_at in (len(topic) // 2,):
        first = JudgeOfShards(site.path, list(lane_logs))
        first.hear(topic[:cut_at])
        second = JudgeOfShards(site.path, list(lane_logs), offset=cut_at)
        assert second.merger.restore(first.merger.save()) == []
        second.hear(topic[cut_at:])
        assert first.seen.lines + second.seen.lines == whole.lines
        assert sorted(first.seen.wire + second.seen.wire) == sorted(whole.wire)


def test_nothing_is_judged_until_every_lane_was_heard_and_no_further_than_the_slowest(
    site: Site, lane_logs: dict[str, dict[str, list[Event]]]
) -> None:
    streams = sharded(site, lane_logs, len(lane_logs))
    judge = JudgeOfShards(site.path, list(lane_logs))
    for stream in streams[1:]:
        assert judge.hear(stream) == []
    assert judge.merger.silent_lanes == [min(lane_logs)]
    upto = next(
        i
        for i, m in enumerate(streams[0])
        if isinstance(m, ProgressMessage) and (m.sealed_ms or 0) > START_MS + 20_000
    )
    judge.hear(streams[0][: upto + 1])
    told = streams[0][upto]
    assert isinstance(told, ProgressMessage)
    assert told.sealed_ms == judge.seen.sealed[-1].end_ms


def test_bucket_counted_by_another_config_is_rejected_in_words(
    site: Site, lane_logs: dict[str, dict[str, list[Event]]], tmp_path: Path
) -> None:
    streams = sharded(site, lane_logs, 1)
    other = Site(tmp_path, "none:1", site.topics, site.baseline)
    other.write('lateness = "1s"', 'combine = "last"')
    judge = JudgeOfShards(other.path, list(lane_logs))
    judge.hear(streams[0][:40])
    assert judge.seen.rejected
    assert "by another config" in judge.seen.rejected[0].detail


def test_violation_reaches_the_judge_before_its_bucket_is_sealed(
    site: Site, lane_logs: dict[str, dict[str, list[Event]]], two: list[list[Message]]
) -> None:
    judge = JudgeOfShards(site.path, list(lane_logs))
    for message in (m for s in two for m in s):
        judge.hear([message])
        if judge.seen.signals:
            break
    assert judge.seen.signals[0].rule == "constraint"
    assert judge.seen.sealed == []
