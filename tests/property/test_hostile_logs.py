"""Logs made to hurt go through the whole core, and what it says of them can be written, read and restored."""

import json
import random
import warnings

import pytest
from prometheus_client import generate_latest

from alerts.signal import cloudevent, parse
from monitor.observability.telemetry import Telemetry
from monitor.persistence.state import restore, snapshot
from monitor.sealed import measurement_lines
from tests.property.hostile_log import HostileLog, hostile_deployment
from tests.unit.monitor.worlds import World, pipeline_of, small

POLLS = 40


@pytest.mark.parametrize("seed", range(2))
def test_a_hostile_log_ends_nothing(seed: int) -> None:
    assert play(seed) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 104))
def test_many_hostile_logs_end_nothing(seed: int) -> None:
    assert play(seed) > 0


def play(seed: int) -> int:
    """How many buckets were sealed; state is taken out and put back now and then."""
    dice, telemetry, sealed = random.Random(seed), Telemetry(), 0
    home, shop = hostile_deployment(dice), hostile_deployment(dice)
    world = World(small(deployments__home=home, deployments__shop=shop))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numbers that overflow on purpose
        for partition, events in HostileLog(dice).polls(POLLS):
            world.feed(*events, partition=partition)
            sealed += told(world, telemetry)
            if dice.random() < 0.1:
                restored = pipeline_of(world.config)
                restore(restored, snapshot(world.pipeline))
                world.pipeline = restored
        world.flush(200_000)
        sealed += told(world, telemetry)
        generate_latest(telemetry.registry)
    return sealed


def told(world: World, telemetry: Telemetry) -> int:
    """Everything that a daemon would say of what was sealed since."""
    for one in world.sealed:
        telemetry.record_sealed(one, 1_000)
        for line in measurement_lines(one):
            json.loads(line)
    for signal in world.signals:
        assert cloudevent(parse(cloudevent(signal))) == cloudevent(signal)
    count = len(world.sealed)
    for said in (world.sealed, world.signals, world.rejected):
        said.clear()
    return count
