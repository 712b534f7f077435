"""Events from Kafka through librdkafka (the `fast` extra): the same source as kafka_source.py, fetched in C threads."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby, repeat
from operator import is_, itemgetter
from time import monotonic
from typing import Any

from monitor.batch import Kind
from monitor.config import SourceConfig
from monitor.kafka.confluent_client import ClientTrouble, clause, library, reached
from monitor.kafka.kafka_source import (
    ANSWER_S,
    END_TIMEOUT_MS,
    Listener,
    OffsetsGone,
    SourceError,
    event_topics,
)
from monitor.source import Records

Place = tuple[str, int]  # topic, partition
NOWHERE = -1_001  # librdkafka's "no offset"


class ConfluentSource:
    """Polls the topics of the config; at most one Records per partition and poll."""

    def __init__(
        self, config: SourceConfig, listener: Listener, topics: Mapping[str, Kind | None] | None = None
    ) -> None:
        self._library = library()
        self._kinds = event_topics(config) if topics is None else topics
        self._listener = listener
        self._max_records = config.max_poll_records
        self._start = config.start
        self._from: dict[Place, int] = {}  # ours, and where reading was told to begin
        self._at: dict[Place, int] = {}  # the next offset to hand over, where known
        self._kept: list[Records] = []
        self._moved = False
        self._closing = False
        self._refused: SourceError | None = None
        self._answered_s = 0.0
        self._trouble = ClientTrouble(self._library)
        self._consumer = reached(self._library, config, self._trouble)
        self._consumer.subscribe(
            list(self._kinds), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    def poll(self, timeout_ms: int) -> Sequence[Records]:
        """What has arrived; raises SourceError where the broker cannot be used."""
        return [self._kept.pop(0)] if self._kept else self._polled(timeout_ms, self._max_records)

    def rest(self) -> None:
        """Answer the group, which may want partitions back; a record that comes with it is kept for the next poll."""
        if monotonic() - self._answered_s > ANSWER_S:
            self._kept += self._polled(0, 1)

    def partitions(self) -> Sequence[str]:
        """The partitions that are ours now."""
        return [_name(place) for place in sorted(self._from)]

    def caught_up(self, partition: str) -> bool:
        """Whether the position stands at the end of the log, which the broker is asked for."""
        place = _place(partition)
        if place not in self._from or place not in self._at:
            return False
        edges = self._edges(place)
        return edges is not None and self._at[place] >= edges[1]

    def lag(self) -> dict[str, int]:
        """Records not yet read, by partition, where known."""
        lag = {}
        for place in sorted(self._from):
            edges = self._consumer.get_watermark_offsets(self._partition(place), cached=True)
            if edges is not None and edges[1] >= 0 and place in self._at:
                lag[_name(place)] = max(0, edges[1] - self._at[place])
        return lag

    def commit(self, positions: Mapping[str, int]) -> None:
        """Show positions to the usual tools; a commit that fails in a rebalance is of no consequence."""
        mine = {_place(name): at for name, at in positions.items() if _place(name) in self._from}
        if mine:
            offsets = [self._partition(place, at) for place, at in mine.items()]
            with suppress(self._library.KafkaException):
                self._consumer.commit(offsets=offsets, asynchronous=True)

    def close(self) -> None:
        """Leave the group; positions are not committed here."""
        self._closing = True
        self._consumer.close()

    def _polled(self, timeout_ms: int, max_records: int) -> list[Records]:
        """`consume` waits until it has all it was asked for: so for one record first, then for what lies there."""
        self._answered_s = monotonic()
        self._moved = False
        try:
            messages = self._consumer.consume(1, timeout_ms / 1000)
            if messages and max_records > 1:
                messages += self._consumer.consume(max_records - 1, 0)
        except self._library.KafkaException as error:
            raise SourceError(clause(error.args[0])) from error
        self._trouble.raise_refusal()
        if self._moved:
            # Whether a record was read before or after the change cannot be told: all are read once more.
            self._consumer.assign([self._partition(place, at) for place, at in self._from.items()])
            return []
        return self._records(messages)

    def _records(self, messages: Sequence[Any]) -> list[Records]:
        """By partition, each in the order of offsets, in which its messages come."""
        message = (
            self._library.Message
        )  # its methods called through `map`: half of what a loop over messages takes
        errors = list(map(message.error, messages))
        if not all(map(is_, errors, repeat(None))):
            self._note(zip(messages, errors, strict=True))
            messages = [message for message, error in zip(messages, errors, strict=True) if error is None]
        by_place: dict[Place, list[Any]] = {}
        places = zip(map(message.topic, messages), map(message.partition, messages), strict=True)
        for place, group in groupby(zip(places, messages, strict=True), itemgetter(0)):
            by_place.setdefault(place, []).extend(map(itemgetter(1), group))
        found = []
        for place, mine in sorted(by_place.items()):
            offsets, payloads = list(map(message.offset, mine)), list(map(message.value, mine))
            self._at[place] = offsets[-1] + 1
            found.append(Records(_name(place), self._kinds[place[0]], offsets, payloads, offsets[-1] + 1))
        return found

    def _note(self, messages: Iterable[tuple[Any, Any]]) -> None:
        """What came instead of records: the end of a partition, a topic that is not there yet, or a reason to stop."""
        kinds, gone = self._library.KafkaError, {}
        for message, error in messages:
            if error is None:
                continue
            code = error.code()
            if code == kinds._PARTITION_EOF:  # noqa: SLF001 - a public name of the library
                # Also behind transaction markers, which are no records: the position at the end is theirs.
                place = _place_of(message)
                self._at[place] = max(message.offset(), self._at.get(place, 0))
            elif code in (kinds._AUTO_OFFSET_RESET, kinds.OFFSET_OUT_OF_RANGE):  # noqa: SLF001
                place = _place_of(message)
                gone[_name(place)] = self._at.get(place, message.offset())
            elif code in (kinds.UNKNOWN_TOPIC_OR_PART, kinds._MAX_POLL_EXCEEDED) or error.retriable():  # noqa: SLF001
                continue
            else:
                raise SourceError(clause(error))
        if gone:
            raise OffsetsGone(f"the broker no longer has the records that our state goes on from: {gone}")

    def _assigned(self, consumer: Any, partitions: Sequence[Any]) -> None:
        """Seek every partition that is new to us to where our own state goes on."""
        self._moved = True
        places = sorted((p.topic, p.partition) for p in partitions)
        positions = self._listener.assigned([_name(place) for place in places])
        for place in places:
            at = positions.get(_name(place))
            self._from[place] = self._beginning(place) if at is None else at
            if at is not None:
                self._at[place] = at
        consumer.assign([self._partition(place, self._from[place]) for place in places])

    def _beginning(self, place: Place) -> int:
        """Where a partition that was never read begins, and the position that this is."""
        edges = self._edges(place)
        if self._start == "earliest":
            if edges is not None:
                self._at[place] = edges[0]
            return int(self._library.OFFSET_BEGINNING)
        if edges is None:
            return int(self._library.OFFSET_END)
        self._at[place] = edges[1]
        return edges[1]

    def _revoked(self, consumer: Any, partitions: Sequence[Any]) -> None:
        """They belong to somebody else."""
        self._moved = True
        places = sorted((p.topic, p.partition) for p in partitions)
        for place in places:
            self._from.pop(place, None)
            self._at.pop(place, None)
        self._kept = [records for records in self._kept if _place(records.partition) in self._from]
        if not self._closing:
            self._listener.revoked([_name(place) for place in places])

    def _edges(self, place: Place) -> tuple[int, int] | None:
        """First and next offset of a partition, from the broker; None where it does not answer."""
        try:
            edges = self._consumer.get_watermark_offsets(
                self._partition(place), timeout=END_TIMEOUT_MS / 1000
            )
        except self._library.KafkaException:
            return None
        return None if edges is None else (int(edges[0]), int(edges[1]))

    def _partition(self, place: Place, at: int = NOWHERE) -> Any:
        return self._library.TopicPartition(*place, at)


def _place_of(message: Any) -> Place:
    return message.topic(), message.partition()


def _name(place: Place) -> str:
    return f"{place[0]}/{place[1]}"


def _place(name: str) -> Place:
    topic, _, number = name.rpartition("/")
    return topic, int(number)
