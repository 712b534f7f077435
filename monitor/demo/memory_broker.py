"""A Kafka-protocol broker in memory, in a process of its own: real loopback sockets and no installation.

It is the mock cluster that librdkafka carries for its own tests, reached through the library inside the
confluent-kafka wheel. Measured limits: kafka-python talks to it with `api_version=(2, 3)` only; about 5 MB per
partition are kept and the oldest dropped; no transactions worth the name, no SASL, no admin requests; a topic
that nobody created gets 4 partitions; a second join of a group (a rejoin, or a member after another has left) is
answered only when the session timeout less 1 s has passed, so give clients a short `session_timeout_ms`.
Good for a demo and for protocol tests, no substitute for a broker.
"""

import ctypes
import signal
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

API_VERSION = (2, 3)
"""What kafka-python must be told as `api_version` to talk to this broker."""

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
_LOG_ERRORS_ONLY = b"2"


class MemoryBrokerError(RuntimeError):
    """The broker could not be started, or refused a topic; not retriable."""


class MemoryBroker:
    """One single-node broker; it lives from `start` to `stop` and dies with the process that started it."""

    def __init__(self, topics: Mapping[str, int] | None = None) -> None:
        """`topics` maps names to partition counts; further ones may be made with `create_topic`."""
        self._topics = dict(topics or {})
        self._bootstrap: str | None = None
        context = get_context("spawn")
        self._pipe, self._child_pipe = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(self._child_pipe,), name="memory-broker", daemon=True
        )

    @property
    def bootstrap(self) -> str:
        """`127.0.0.1:port`, the address to give to clients."""
        if self._bootstrap is None:
            raise MemoryBrokerError("the in-memory broker has not been started")
        return self._bootstrap

    def start(self) -> Self:
        """Start the process and create the topics; returns once it accepts connections."""
        self._process.start()
        self._child_pipe.close()
        self._bootstrap = self._answer()
        for topic, partitions in self._topics.items():
            self.create_topic(topic, partitions)
        return self

    def create_topic(self, topic: str, partitions: int) -> None:
        """Make a topic with this many partitions; a topic that exists is refused."""
        self._pipe.send((topic, partitions))
        self._answer()

    def stop(self) -> None:
        """Close the broker and its process; harmless when repeated."""
        self._pipe.close()
        if self._process.pid is None:
            return
        self._process.join(STOP_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answer(self) -> str:
        """The next answer of the process; what it calls an error is raised here."""
        try:
            if not self._pipe.poll(START_TIMEOUT_S):
                raise MemoryBrokerError(f"the in-memory broker did not answer in {START_TIMEOUT_S:.0f} s")
            ok, text = self._pipe.recv()
        except EOFError:
            raise MemoryBrokerError("the in-memory broker's process ended unexpectedly") from None
        if not ok:
            raise MemoryBrokerError(text)
        return str(text)


def _serve(pipe: Connection) -> None:
    """The child: open the cluster, make topics on request, end when the parent closes its end of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to the parent, which then stops us
    try:
        cluster = _MockCluster()
    except (ImportError, OSError, AttributeError, MemoryBrokerError) as error:
        pipe.send((False, f"no in-memory broker: {error}; it needs the confluent-kafka package"))
        return
    pipe.send((True, cluster.bootstrap))
    while True:
        try:
            topic, partitions = pipe.recv()
        except (EOFError, OSError):
            return  # the process ends and takes the cluster's threads and sockets with it
        fault = cluster.create_topic(topic, partitions)
        pipe.send((fault is None, fault or topic))


class _MockCluster:
    """librdkafka's `rd_kafka_mock_*` functions (rdkafka_mock.h), as few as are needed."""

    def __init__(self) -> None:
        from confluent_kafka import cimpl  # noqa: PLC0415 - only the demo needs the package

        # A handle of the extension module finds the symbols of the librdkafka that it is linked with.
        self._library = ctypes.CDLL(cimpl.__file__)
        pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
        complaint = ctypes.create_string_buffer(512)
        conf = self._function("rd_kafka_conf_new", pointer)()
        self._function("rd_kafka_conf_set", ctypes.c_int, pointer, text, text, text, size)(
            conf, b"log_level", _LOG_ERRORS_ONLY, complaint, len(complaint)
        )
        producer = self._function("rd_kafka_new", pointer, ctypes.c_int, pointer, text, size)(
            0, conf, complaint, len(complaint)
        )
        if not producer:
            raise MemoryBrokerError(complaint.value.decode())
        self._cluster = self._function("rd_kafka_mock_cluster_new", pointer, pointer, ctypes.c_int)(
            producer, 1
        )
        if not self._cluster:
            raise MemoryBrokerError("librdkafka could not open a mock cluster")
        self._function("rd_kafka_mock_group_initial_rebalance_delay_ms", None, pointer, ctypes.c_int32)(
            self._cluster, 0
        )
        self.bootstrap = self._function("rd_kafka_mock_cluster_bootstraps", text, pointer)(
            self._cluster
        ).decode()

    def create_topic(self, topic: str, partitions: int) -> str | None:
        """Make a topic of one replica; the fault in words, or None."""
        create = self._function(
            "rd_kafka_mock_topic_create",
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_int,
        )
        error = create(self._cluster, topic.encode(), partitions, 1)
        if not error:
            return None
        name = self._function("rd_kafka_err2str", ctypes.c_char_p, ctypes.c_int)(error).decode()
        return f"topic {topic!r} with {partitions} partitions: {name}"

    def _function(self, name: str, result: Any, *arguments: Any) -> Any:
        """A C function with its signature; AttributeError where this build of librdkafka lacks it."""
        function = getattr(self._library, name)
        function.restype = result
        function.argtypes = arguments
        return function
