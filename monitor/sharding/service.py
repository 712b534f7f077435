"""The two roles of a sharded monitor in the real world: a shard that counts, a judge that hears all shards."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monitor.assembly import load_baselines
from monitor.clocks import RealClock
from monitor.config import Config
from monitor.observability.telemetry import Telemetry
from monitor.observability.watch import Watch
from monitor.persistence.notices import told
from monitor.persistence.quarantine import opened
from monitor.pipeline import Pipeline
from monitor.service import (
    Service,
    assemble,
    dead_letters_for,
    judging_pipeline,
    producer_for,
    source_for,
)
from monitor.sharding.bucket_topic import bucket_writer, lanes_of_topics, make_topic
from monitor.sharding.lanes import lanes_for
from monitor.sharding.merger import Merger
from monitor.sharding.shard import LanePositions, Shard


@dataclass(slots=True)
class ShardService:
    """A running shard and what has to be let go of in the end."""

    daemon: Shard
    producer: Any
    watch: Watch
    config: Config

    def stop(self) -> None:
        """Leave cleanly."""
        self.daemon.stop()
        self.producer.close(timeout=2)

    def abandon(self) -> None:
        """Leave without a save: the state file cannot be written."""
        self.daemon.leave()
        self.producer.close(timeout=2)


def start_shard(config: Config, beside: Path, log: Any, telemetry: Telemetry, watch: Watch) -> ShardService:
    """Restore, connect and be ready to step; SourceError while the broker cannot be used."""
    lanes_of_topics(config.source)  # partitioned as lanes need it, or said now
    make_topic(config.source)
    checkpoint, saved = opened(Path(config.state_path), RealClock().now_ms())
    try:
        lanes = lanes_for(config, load_baselines(config, beside))
        if checkpoint.damage is not None:
            log.error("state_set_aside", reason=checkpoint.damage.why, moved_to=checkpoint.damage.moved_to)
            watch.note("state", told(checkpoint.damage))
        if saved is not None:
            for name in lanes.restore(saved.parts):
                log.warning("deployment_restarted", deployment=name, reason="what it counts has changed")
            log.info("state_restored", generation=saved.generation, lanes=sorted(lanes.lanes))
        writer = bucket_writer(config.source)
        producer = producer_for(config)
        source = source_for(config.source, LanePositions(lanes))
    except BaseException:
        checkpoint.close()
        raise
    watch.connected(True)
    shard = Shard(lanes, source, writer, checkpoint, dead_letters_for(config, producer), RealClock(), watch,
                  config.checkpoint_ms)  # fmt: skip
    return ShardService(shard, producer, watch, config)


def start_judge(config: Config, beside: Path, log: Any, telemetry: Telemetry, watch: Watch) -> Service:
    """Whoever is given the bucket topic's partition judges; others of the judges' group stand by."""
    expected = lanes_of_topics(config.source)
    make_topic(config.source)

    def pipeline() -> Merger:
        inner: Pipeline = judging_pipeline(config, beside, log, watch)
        return Merger(inner, expected)

    source = replace(config.source, group_id=f"{config.source.group_id}-judge", start="earliest")
    topics = {config.source.topics["buckets"]: None}
    # A probe travels to who decodes it, which is no judge.
    return assemble(replace(config, source=source, probe_ms=0), pipeline, topics, log, telemetry, watch)
