"""However a log is cut into polls, spread over partitions, repeated or shuffled within the lateness: the same bytes."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.batch import Kind
from monitor.config_file import load_config
from monitor.pipeline import Pipeline
from monitor.source import Records
from tests.integration.replayed import Seen, pipeline_of, replayed
from tests.integration.running import TOPICS, Site, make_baseline
from tests.integration.traffic import Event, World, events, partition_of, wire

WORLD = World(40, change_s=8, back_s=12, per_s=20, critic=True)
LATENESS_MS = 1_000  # of the config: one bucket
RULE = 'min_samples = 10\n[deployments.shop.rules.reward]\nkeep_firing = "4s"'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("splits")
    made = Site(folder / "site", "none:1", dict.fromkeys(TOPICS, "none"), make_baseline(folder, critic=True))
    made.write("", RULE)
    return made


@pytest.fixture(scope="module")
def expected(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """One file, in order, each event once."""
    seen = replayed(site.path, events(WORLD), tmp_path_factory.mktemp("expected"))
    assert {signal.state for signal in seen.signals} == {"firing", "resolved"}
    assert any("critic_over_by_segment" in line.decode() for line in seen.lines)
    assert seen.rejected == []
    return seen


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    partitions=st.integers(1, 4),
    repeats=st.sampled_from([0.0, 0.1]),
    shuffled=st.booleans(),
    largest=st.sampled_from([1, 5, 40, 400]),
)
def test_any_split_gives_the_same_signals_and_measurements(
    site: Site, expected: Seen, seed: int, partitions: int, repeats: float, shuffled: bool, largest: int
) -> None:
    rng = random.Random(seed)
    made = events(WORLD)
    if shuffled:
        made = _shuffled(made, rng)
    if repeats:
        made = _repeated(made, rng, repeats)
    seen = _run(site.path, _polls(made, partitions, largest, rng))
    assert {one.reason for one in seen.rejected} <= {"duplicate"}
    assert seen.counts == expected.counts
    assert seen.lines == expected.lines
    assert seen.wire == expected.wire


def _shuffled(made: Sequence[Event], rng: random.Random) -> list[Event]:
    """Each event moves by less than the lateness."""
    return sorted(made, key=lambda event: event["ts"] + rng.randrange(LATENESS_MS))


def _repeated(made: Sequence[Event], rng: random.Random, share: float) -> list[Event]:
    """Some events come twice, one after the other."""
    return [copy for event in made for copy in [event] * (2 if rng.random() < share else 1)]


def _polls(made: Sequence[Event], partitions: int, largest: int, rng: random.Random) -> list[list[Records]]:
    """The log of each partition, cut anywhere; each turn polls some partitions."""
    logs: dict[tuple[Kind, int], list[bytes]] = {
        (kind, p): [] for kind in (Kind.DECISION, Kind.REWARD) for p in range(partitions)
    }
    for event in made:
        kind = Kind.DECISION if event["type"] == "decision" else Kind.REWARD
        logs[kind, partition_of(event, partitions)].append(wire(event))
    at, turns = dict.fromkeys(logs, 0), []
    while open_logs := [key for key in logs if at[key] < len(logs[key])]:
        turn = []
        for key in sorted(rng.sample(open_logs, rng.randint(1, len(open_logs)))):
            begin, at[key] = at[key], min(len(logs[key]), at[key] + rng.randint(1, largest))
            payloads = logs[key][begin : at[key]]
            turn.append(Records(f"{key[0].name}/{key[1]}", key[0], range(begin, at[key]), payloads, at[key]))
        turns.append(turn)
    return turns


def _run(config_path: Path, turns: Sequence[Sequence[Records]]) -> Seen:
    pipeline, seen = pipeline_of(load_config(config_path), config_path.parent), Seen([], [], [])
    for name in {records.partition for turn in turns for records in turn}:
        pipeline.watermark.expect(name)
    for turn in turns:
        for records in turn:
            fed = pipeline.feed(records)
            seen.signals.extend(fed.signals)
            seen.rejected.extend(fed.rejected)
        _seal(pipeline, seen, flush=False)
    _seal(pipeline, seen, flush=True)
    return seen


def _seal(pipeline: Pipeline, seen: Seen, *, flush: bool) -> None:
    for sealed in pipeline.flush() if flush else pipeline.advance():
        seen.sealed.append(sealed)
        seen.signals.extend(sealed.signals)
        seen.rejected.extend(pipeline.set_aside())
