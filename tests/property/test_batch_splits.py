"""However a log is cut into polls, spread over partitions, shuffled within the lateness or repeated within the horizon:
the same signals and measurements to the byte, and the same state to the bit.

An event that is itself later than the lateness makes another log: a decision is not counted, a reward at the next seal.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.batch import Kind
from monitor.config_file import load_config
from monitor.persistence.state import snapshot
from monitor.pipeline import Pipeline
from monitor.source import Records
from tests.integration.replayed import Seen, pipeline_of, replayed
from tests.integration.running import TOPICS, Site, make_baseline
from tests.integration.traffic import Event, World, events, partition_of, wire
from tests.simulation.digest import State, differences, state_of

WORLD = World(40, change_s=8, back_s=12, per_s=20, critic=True)
LATENESS_MS, HORIZON_MS = 1_000, 5_000  # of the config
REFUSED = {"duplicate", "late", "unknown_decision"}  # copies: their tick is sealed, their decision expired
PLACES = {"positions", "clocks", "expected"}
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


@pytest.fixture(scope="module")
def undisturbed(site: Site) -> State:
    """What is remembered after one partition, in order, each event once."""
    _, state = _run(site.path, _polls(events(WORLD), 1, 400, random.Random(0)))
    return state


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    partitions=st.integers(1, 4),
    repeats=st.sampled_from([0.0, 0.1, 1.0]),
    shuffled=st.booleans(),
    largest=st.sampled_from([1, 5, 40, 400]),
)
def test_any_order_and_repeats_give_the_same_signals_measurements_and_state(
    site: Site,
    expected: Seen,
    undisturbed: State,
    seed: int,
    partitions: int,
    repeats: float,
    shuffled: bool,
    largest: int,
) -> None:
    rng = random.Random(seed)
    made = _arriving(events(WORLD), rng, LATENESS_MS if shuffled else 1, repeats)
    seen, state = _run(site.path, _polls(made, partitions, largest, rng))
    assert {one.reason for one in seen.rejected} <= REFUSED
    assert len(seen.rejected) == len(made) - len(events(WORLD))
    assert seen.counts == expected.counts
    assert seen.lines == expected.lines
    assert seen.wire == expected.wire
    assert list(differences(state, undisturbed, "state")) == []


def _arriving(made: Sequence[Event], rng: random.Random, late_ms: int, repeats: float) -> list[Event]:
    """In the order of arrival: each event moves by less than the lateness, its copy comes within the horizon after."""
    arrivals: list[tuple[int, int, Event]] = []
    for number, event in enumerate(made):
        at_ms = event["ts"] + rng.randrange(late_ms)
        arrivals.append((at_ms, number, event))
        if rng.random() < repeats:
            arrivals.append(
                (at_ms + rng.choice((1, rng.randrange(1, HORIZON_MS))), len(made) + number, event)
            )
    return [event for _, _, event in sorted(arrivals, key=lambda arrival: arrival[:2])]


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


def _run(config_path: Path, turns: Sequence[Sequence[Records]]) -> tuple[Seen, State]:
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
    return seen, _without_places(state_of(snapshot(pipeline)))


def _without_places(state: State) -> State:
    """The state but for what may follow how the log was written: where its reader stands, and in which order the values
    of a segment were seen, by which they are numbered.
    """
    shell = {name: value for name, value in state["shell"].items() if name not in PLACES}
    segments = {name: sorted(labels["names"]) for name, labels in shell["vocabulary"]["segments"].items()}
    return state | {"shell": shell | {"vocabulary": shell["vocabulary"] | {"segments": segments}}}


def _seal(pipeline: Pipeline, seen: Seen, *, flush: bool) -> None:
    for sealed in pipeline.flush() if flush else pipeline.advance():
        seen.sealed.append(sealed)
        seen.signals.extend(sealed.signals)
        seen.rejected.extend(pipeline.set_aside())
