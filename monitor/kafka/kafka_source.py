"""Events from Kafka: one consumer group over three topics, positions kept by us and only shown to the broker."""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Protocol

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError, OffsetOutOfRangeError
from kafka.structs import OffsetAndMetadata

from alerts.senders.sender import ReceiverConfigError, secrets_in
from monitor.batch import Kind
from monitor.config import SourceConfig
from monitor.kafka.broker_trouble import BrokerTrouble
from monitor.source import Records

FETCH_BYTES = 8 << 20  # per partition; 8 MB measured best for 400-byte records
END_TIMEOUT_MS = 2_000
BOOTSTRAP_MS = 5_000  # a first contact; who is told to leave meanwhile waits no longer
RECONNECT_MS = 2_000  # a broker that is back is seen so soon; the client's default waits up to 30 s
ANSWER_S = 2.0  # while we only evaluate, the group is answered so often
SLOWEST_LOOP_MS = 600_000  # a consumer that is slow to evaluate is not thrown out of its group before this


class SourceError(Exception):
    """The broker cannot be used: unreachable, refused or not authenticated; retriable."""


class OffsetsGone(Exception):
    """The broker no longer has the records that our state goes on from; a person has to decide."""


class Listener(Protocol):
    """Told of partitions that come and go, inside the poll that found out."""

    def assigned(self, partitions: Sequence[str]) -> Mapping[str, int]:
        """The position from which to read each, where there is one."""

    def revoked(self, partitions: Sequence[str]) -> None:
        """They are read by somebody else from now on."""


class KafkaSource:
    """Polls the topics of the config; at most one Records per partition and poll."""

    def __init__(
        self, config: SourceConfig, listener: Listener, topics: Mapping[str, Kind | None] | None = None
    ) -> None:
        self._kinds = event_topics(config) if topics is None else topics
        self._consumer = _consumer(config)
        self._max_records = config.max_poll_records
        self._start = config.start
        self._own: set[TopicPartition] = set()
        self._kept: list[Records] = []
        self._answered_s = 0.0
        self._consumer.subscribe(topics=list(self._kinds), listener=_Rebalance(self, listener))
        for topic in self._kinds:
            # One who joins before it knows its topics is assigned nothing for minutes. Asked after `subscribe`, not
            # before, so that the group's own picture of the topics is complete too and it joins once.
            self._consumer.partitions_for_topic(topic)

    def poll(self, timeout_ms: int) -> Sequence[Records]:
        """What has arrived; raises SourceError where the broker cannot be used."""
        return [self._kept.pop(0)] if self._kept else self._polled(timeout_ms, self._max_records)

    def _polled(self, timeout_ms: int, max_records: int) -> list[Records]:
        self._answered_s = monotonic()
        try:
            polled = self._consumer.poll(timeout_ms=timeout_ms, max_records=max_records)
        except OffsetOutOfRangeError as error:
            gone = {name_of(mine): offset for mine, offset in error.args[0].items()}
            raise OffsetsGone(
                f"the broker no longer has the records that our state goes on from: {gone}"
            ) from error
        except KafkaError as error:
            raise SourceError(plain(error)) from error
        return [self._records(partition, polled[partition]) for partition in sorted(polled)]

    def rest(self) -> None:
        """Answer the group, which may want partitions back; a record that comes with it is kept for the next poll.

        Not by `pause`: a partition paused while it had fetched records was seen to stay silent after `resume`.
        """
        now_s = monotonic()
        if now_s - self._answered_s > ANSWER_S:
            self._kept += self._polled(0, 1)

    def partitions(self) -> Sequence[str]:
        """The partitions that are ours now."""
        return [name_of(partition) for partition in sorted(self._own)]

    def caught_up(self, partition: str) -> bool:
        """Whether the position stands at the end of the log, which the broker is asked for.

        The end that it last showed us may be old: a broker that was away for a while must not look like silence.
        """
        mine = _partition_of(partition)
        if mine not in self._own:
            return False
        try:
            end = self._consumer.end_offsets([mine], timeout_ms=END_TIMEOUT_MS)[mine]
            position = self._consumer.position(mine, timeout_ms=0)
        except KafkaError:
            return False
        return position is not None and position >= end

    def lag(self) -> dict[str, int]:
        """Records not yet read, by partition, where known."""
        lag = {}
        for mine in sorted(self._own):
            try:
                high = self._consumer.highwater(mine)
                position = self._consumer.position(mine, timeout_ms=0) if high is not None else None
            except KafkaError:  # in a rebalance, or the broker is away
                continue
            if high is not None and position is not None:
                lag[name_of(mine)] = max(0, high - position)
        return lag

    def commit(self, positions: Mapping[str, int]) -> None:
        """Show positions to the usual tools; a commit that fails in a rebalance is of no consequence."""
        offsets = {
            _partition_of(name): OffsetAndMetadata(offset, "", -1)
            for name, offset in positions.items()
            if _partition_of(name) in self._own
        }
        if offsets:
            self._consumer.commit_async(offsets)

    def close(self) -> None:
        """Leave the group; positions are not committed here."""
        self._consumer.close(autocommit=False)

    def start_reading(self, listener: Listener, partitions: Sequence[TopicPartition]) -> None:
        """Seek every partition that is new to us to where our own state goes on."""
        positions = listener.assigned([name_of(partition) for partition in sorted(partitions)])
        for partition in sorted(partitions):
            self._own.add(partition)
            at = positions.get(name_of(partition))
            if at is None:
                (
                    self._consumer.seek_to_beginning
                    if self._start == "earliest"
                    else self._consumer.seek_to_end
                )(partition)
                continue
            self._consumer.seek(partition, at)

    def stop_reading(self, listener: Listener, partitions: Sequence[TopicPartition]) -> None:
        """They belong to somebody else."""
        self._own.difference_update(partitions)
        self._kept = [records for records in self._kept if _partition_of(records.partition) in self._own]
        listener.revoked([name_of(partition) for partition in sorted(partitions)])

    def _records(self, partition: TopicPartition, polled: Sequence[Any]) -> Records:
        return Records(
            partition=name_of(partition),
            kind=self._kinds[partition.topic],
            offsets=[record.offset for record in polled],
            payloads=[record.value for record in polled],
            next_offset=polled[-1].offset + 1,
        )


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, source: KafkaSource, listener: Listener) -> None:
        self._source, self._listener = source, listener

    def on_partitions_revoked(self, revoked: Any) -> None:
        self._source.stop_reading(self._listener, list(revoked))

    def on_partitions_assigned(self, assigned: Any) -> None:
        self._source.start_reading(self._listener, list(assigned))


def event_topics(config: SourceConfig) -> dict[str, Kind | None]:
    """The topics of events, and what each holds."""
    names = {"decisions": Kind.DECISION, "rewards": Kind.REWARD, "metrics": Kind.METRIC}
    return {config.topics[name]: kind for name, kind in names.items()}


def client_settings(config: SourceConfig) -> dict[str, Any]:
    """What consumer and producer share: addresses and security."""
    settings: dict[str, Any] = {
        "bootstrap_servers": list(config.bootstrap_servers),
        "security_protocol": config.security_protocol,
        "client_id": "policywatch",
        "reconnect_backoff_max_ms": RECONNECT_MS,
    }
    if config.sasl_mechanism:
        settings |= {"sasl_mechanism": config.sasl_mechanism, "sasl_plain_username": config.sasl_username,
                     "sasl_plain_password": password(config)}  # fmt: skip
    for key in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        if getattr(config, key):
            settings[key] = getattr(config, key)
    if config.api_version:
        settings["api_version"] = config.api_version
    return settings


def password(config: SourceConfig) -> str:
    """Read anew at every connection, so that a rotation needs no restart."""
    try:
        return secrets_in(config.sasl_password)[0] if config.sasl_password is not None else ""
    except (OSError, ReceiverConfigError) as error:
        raise SourceError(f"the password cannot be read: {error}") from error


def plain(error: Exception) -> str:
    """A client's exception as a clause."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _consumer(config: SourceConfig) -> Any:
    make: Callable[..., Any] = KafkaConsumer
    try:
        with BrokerTrouble() as seen:
            return make(
                **client_settings(config),
                group_id=config.group_id,
                enable_auto_commit=False,
                auto_offset_reset="none",  # a gap is for a person to accept, not for the client to skip
                max_poll_records=config.max_poll_records,
                max_partition_fetch_bytes=FETCH_BYTES,
                max_poll_interval_ms=SLOWEST_LOOP_MS,
                session_timeout_ms=config.session_timeout_ms,
                heartbeat_interval_ms=min(3_000, config.session_timeout_ms // 3),
                fetch_max_wait_ms=20,
                metadata_max_age_ms=30_000,
                partition_assignment_strategy=[RangePartitionAssignor],
                bootstrap_timeout_ms=BOOTSTRAP_MS,
            )
    except KafkaError as error:
        raise SourceError(f"{seen.trouble} [{plain(error)}]") from error


def name_of(partition: TopicPartition) -> str:
    """`topic/3`, the partition's name in state, logs and dead letters."""
    return f"{partition.topic}/{partition.partition}"


def _partition_of(name: str) -> TopicPartition:
    topic, _, number = name.rpartition("/")
    return TopicPartition(topic, int(number))
