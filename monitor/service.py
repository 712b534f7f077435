"""The daemon in the real world: real clock, broker, disk, threads; reload and restart."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from alerts.delivery import Delivery
from alerts.desk import Desk
from alerts.desk_terms import Terms
from alerts.outbox_store import SqliteOutbox
from monitor.assembly import build_core, build_pipeline, load_baselines, spill_for, vocabulary_for
from monitor.batch import Kind
from monitor.checking import short_baseline
from monitor.clocks import Clocks, Landmark, RealClock, SteadyClock
from monitor.config import Config, SourceConfig
from monitor.daemon import OUTAGE_MS, Daemon, Judging, Positions
from monitor.dead_letter import DeadLetterFile, DeadLetters, DeadLetterTopic, QueuedDeadLetters
from monitor.idleness import Idleness
from monitor.kafka.confluent_source import ConfluentSource
from monitor.kafka.kafka_source import KafkaSource, Listener, SourceError, client_settings, plain
from monitor.observability.pulse import Probe, Pulse
from monitor.observability.telemetry import Telemetry
from monitor.observability.watch import Watch
from monitor.persistence.checkpoint import Checkpoint, Restored
from monitor.persistence.notices import say_damaged, told
from monitor.persistence.quarantine import opened
from monitor.persistence.state import CODEC, restore, snapshot
from monitor.pipeline import Pipeline
from monitor.receivers import Receiver, receivers_for
from monitor.sharding.merger import Merger
from monitor.source import Source
from monitor.vigil import Vigil, vigil_for


@dataclass(slots=True)
class Service:
    """A running daemon and what has to be let go of in the end."""

    daemon: Daemon
    delivery: Delivery
    producer: Any
    watch: Watch
    config: Config
    positions: Positions
    probe: Pulse | None = None

    def stop(self) -> None:
        """Leave cleanly: save, leave the group, let deliveries finish."""
        if self.probe is not None:
            self.probe.stop()
        self.daemon.stop()
        self._let_go()

    def abandon(self) -> None:
        """Leave without a save: the state file cannot be written."""
        if self.probe is not None:
            self.probe.stop()
        self.daemon.leave()
        self._let_go()

    def _let_go(self) -> None:
        self.delivery.stop()
        if self.producer is not None:
            self.producer.close(timeout=2)


def start(config: Config, beside: Path, log: Any, telemetry: Telemetry, watch: Watch) -> Service:
    """Restore, connect and be ready to step; raises SourceError while the broker cannot be used."""
    return assemble(config, lambda: judging_pipeline(config, beside, log, watch), None, log, telemetry, watch)


def assemble(
    config: Config,
    pipeline_for: Callable[[], Judging],
    topics: Mapping[str, Kind | None] | None,
    log: Any,
    telemetry: Telemetry,
    watch: Watch,
) -> Service:
    """A daemon over a fresh pipeline and what the checkpoint knows of it; topics: other than those of the events."""
    machine = RealClock()
    with ExitStack() as begun:  # let go of where a later step fails: a file or a thread left behind goes on
        checkpoint, saved = opened(Path(config.state_path), machine.now_ms())
        begun.callback(checkpoint.close)
        clock = Clocks(machine, landmark(checkpoint, saved))
        vigil, desk = vigil_for(config), Desk(terms_for(config))
        pipeline = _restored(pipeline_for(), checkpoint, saved, log, watch, vigil, desk)
        idleness = Idleness(config.source.idle_timeout_ms, _longest_bucket_ms(config))
        positions = Positions(pipeline, idleness)
        source = source_for(config.source, positions, topics)
        begun.callback(source.close)
        producer = producer_for(config)
        if producer is not None:
            begun.callback(producer.close, timeout=0)
        letters = dead_letters_for(config, producer)
        begun.callback(letters.close)
        receivers = receivers_for(config, log, producer)
        delivery = _delivery(receivers, checkpoint, clock, watch)
        begun.callback(delivery.stop)
        daemon = Daemon(
            pipeline=pipeline,
            source=source,
            checkpoint=checkpoint,
            dead_letters=letters,
            clock=clock,
            observer=watch,
            routes=receivers,
            wake=delivery.wake,
            remind=_reminder(receivers),
            idleness=idleness,
            save_every_ms=config.checkpoint_ms,
            vigil=vigil,
            desk=desk,
            inbox=watch.inbox,
            catching_up=bool(pipeline.positions) and clock.away_ms >= OUTAGE_MS,
        )
        if checkpoint.damage is not None:
            say_damaged(daemon, checkpoint.damage)
        _begin(delivery, receivers, daemon)
        probe = _probe(config, producer, telemetry, watch, positions)
        begun.pop_all()
    watch.connected(True)
    return Service(daemon, delivery, producer, watch, config, positions, probe)


def source_for(
    config: SourceConfig, listener: Listener, topics: Mapping[str, Kind | None] | None = None
) -> Source:
    """The client that the config names; ClientMissing where its package is not installed."""
    return (ConfluentSource if config.client == "confluent" else KafkaSource)(config, listener, topics)


def reload(service: Service, config: Config, beside: Path, log: Any) -> Service:
    """Go on with another config from the state in hand; what cannot be changed while running is said by name."""
    fixed = [
        name
        for name in ("source", "state_path", "http_host", "http_port", "http_token", "heartbeat", "probe_ms")
        if getattr(config, name) != getattr(service.config, name)
    ]
    if fixed:
        raise ValueError(f"{', '.join(fixed)}: changed, which takes a restart")
    daemon = service.daemon
    if not isinstance(daemon.pipeline, Pipeline):
        raise ValueError("the role, which takes a restart")  # noqa: TRY004 - said as the others are
    parts = snapshot(daemon.pipeline)
    pipeline = judging_pipeline(config, beside, log, service.watch)
    for name in restore(pipeline, parts):
        log.warning("deployment_restarted", deployment=name, reason="what it counts has changed")
    receivers = receivers_for(config, log, service.producer)
    delivery = _delivery(receivers, daemon.checkpoint, daemon.clock, service.watch)
    service.delivery.stop()
    _begin(delivery, receivers, daemon)
    daemon.pipeline = service.positions.pipeline = pipeline
    daemon.idleness.longest_bucket_ms = _longest_bucket_ms(config)
    daemon.routes = receivers
    daemon.wake = delivery.wake
    daemon.remind = _reminder(receivers)
    daemon.save_every_ms = config.checkpoint_ms
    daemon.desk.use(terms_for(config))
    if daemon.vigil is not None:
        daemon.vigil.configure(config)
    daemon.unsaved = True
    return replace(service, delivery=delivery, config=config)


def terms_for(config: Config) -> dict[str, Terms]:
    """What waits for a person, by deployment."""
    return {
        name: Terms(
            approval=frozenset(rule for rule, settings in deployment.rules.items() if settings.approval),
            timeout_ms=deployment.approval_timeout_ms,
            unanswered=deployment.unanswered,
            lateness_ms=config.source.lateness_ms,
        )
        for name, deployment in config.deployments.items()
    }


def _probe(
    config: Config, producer: Any, telemetry: Telemetry, watch: Watch, positions: Positions
) -> Pulse | None:
    if not config.probe_ms:
        return None
    clock = RealClock()
    telemetry.begin_probing(clock.now_ms())
    probe = Probe(
        producer.send, config.source.topics["decisions"], clock.now_ms, watch, lambda: _fields(positions)
    )
    pulse = Pulse("probe", config.probe_ms, probe)
    pulse.start()
    return pulse


def _fields(positions: Positions) -> Mapping[str, str]:
    """How the decoder in hand reads names: a reload brings another."""
    return positions.pipeline.settings.fields if isinstance(positions.pipeline, Pipeline) else {}


def _delivery(
    receivers: list[Receiver], checkpoint: Checkpoint, clock: SteadyClock, watch: Watch
) -> Delivery:
    """One thread per receiver; one that had answered 410 is asked again, since somebody has looked at the config."""
    checkpoint.enable([receiver.name for receiver in receivers])
    senders = [receiver.sender for receiver in receivers]
    return Delivery(senders, lambda: SqliteOutbox.open(checkpoint.path), clock, watch)


def _begin(delivery: Delivery, receivers: Sequence[Receiver], daemon: Daemon) -> None:
    """Receivers that forget an alert know from the first moment which ones fire."""
    moment = daemon.moment()
    for receiver in receivers:
        receiver.resume(daemon.desk.firing(moment), moment.now_ms)
    delivery.start()


def _reminder(receivers: Sequence[Receiver]) -> Callable[[Collection[str]], None]:
    def remind(alert_keys: Collection[str]) -> None:
        for receiver in receivers:
            receiver.keep(alert_keys)

    return remind


def landmark(checkpoint: Checkpoint, saved: Restored | None) -> Landmark | None:
    """Where the clocks stood at the newest save; a version before this one kept the wall's only."""
    if saved is None:
        return None
    if "clock" in saved.parts:
        return Landmark.of(CODEC.decode(saved.parts["clock"]))
    return Landmark(checkpoint.saved_ms(), checkpoint.saved_ms(), 0, "")


def _restored(
    pipeline: Judging,
    checkpoint: Checkpoint,
    saved: Restored | None,
    log: Any,
    watch: Watch,
    vigil: Vigil,
    desk: Desk,
) -> Judging:
    if checkpoint.damage is not None:
        log.error("state_set_aside", reason=checkpoint.damage.why, moved_to=checkpoint.damage.moved_to)
        watch.note("state", told(checkpoint.damage))
    if saved is None:
        log.info("state_started_empty", path=str(checkpoint.path))
        return pipeline
    if saved.damaged:
        log.error("checkpoint_damaged", generations=list(saved.damaged), used=saved.generation)
        watch.note(
            "checkpoint", f"generation {saved.damaged[0]} was damaged; went on from {saved.generation}"
        )
    anew = pipeline.restore(saved.parts) if isinstance(pipeline, Merger) else restore(pipeline, saved.parts)
    for name in anew:
        log.warning("deployment_restarted", deployment=name, reason="what it counts has changed")
    if saved.damaged or checkpoint.damage is not None:
        checkpoint.go_back(pipeline.positions)
    if "desk" in saved.parts:
        desk.restore(CODEC.decode(saved.parts["desk"]))
    if "vigil" in saved.parts:
        vigil.restore(CODEC.decode(saved.parts["vigil"]))
    log.info("state_restored", generation=saved.generation, positions=pipeline.positions)
    return pipeline


def judging_pipeline(config: Config, beside: Path, log: Any, watch: Watch) -> Pipeline:
    """A fresh core with the baselines that the config names."""
    baselines = load_baselines(config, beside)
    for name, baseline in baselines.items():
        too_short = short_baseline(config.deployments[name], baseline)
        watch.short_baseline(name, too_short)
        if too_short:
            log.warning("baseline_short", deployment=name, reason=too_short)
    vocabulary = vocabulary_for(config, baselines)
    return build_pipeline(config, build_core(config, baselines, vocabulary, spill_for(config)), vocabulary)


def _longest_bucket_ms(config: Config) -> int:
    return max(deployment.bucket_ms for deployment in config.deployments.values())


def producer_for(config: Config) -> Any:
    """For signals and dead letters."""
    make: Callable[..., Any] = KafkaProducer
    try:
        return make(**client_settings(config.source), acks="all", retries=3, linger_ms=0, max_block_ms=5_000)
    except KafkaError as error:
        raise SourceError(f"no producer for signals and dead letters [{plain(error)}]") from error


def dead_letters_for(config: Config, producer: Any) -> DeadLetters:
    """A topic, or a file beside the state."""
    topic = config.source.topics["dead_letters"]
    if topic and producer is not None:
        return QueuedDeadLetters(DeadLetterTopic(producer, topic))
    return QueuedDeadLetters(DeadLetterFile(Path(config.state_path) / "dead-letters.jsonl"))
