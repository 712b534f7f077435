"""One real Apache Kafka in KRaft mode on loopback, from Maven Central's own artefacts, without a container.

Where to get it: `java` 17 or newer and `mvn` on the path (Debian: `apt-get install openjdk-17-jre-headless maven`).
The jars (46, 43 MB) are fetched once, in about 10 s, into `$POLICYWATCH_CACHE/kafka` or `.cache/kafka`; after that a
start takes about 5 s and 0.3 GB. What a wrong password looks like: `monitor/kafka/broker_trouble.py`.
"""

import base64
import hashlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from tests.paths import ROOT

POM = Path(__file__).parent / "integration" / "broker" / "pom.xml"
HOW_TO_GET = "set KAFKA_BOOTSTRAP_SERVERS, or install java 17+ and maven"
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0
FETCH_TIMEOUT_S = 600.0
START_TRIES = 3


class BrokerUnavailableError(RuntimeError):
    """No broker is to be had here; the message says what is missing, in one line."""


class KafkaBroker:
    """A broker with a plain and a SASL/SCRAM-SHA-256 listener; `stop` and `start` keep its ports and data."""

    username = "policywatch"
    password = "correct-horse"

    def __init__(self) -> None:
        self._java = java_command()
        self._libs = broker_jars()
        self._folder = Path(tempfile.mkdtemp(prefix="policywatch-kafka-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = free_ports(3)
        self._formatted = False

    @property
    def bootstrap(self) -> str:
        """Address of the plain listener."""
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def scram_bootstrap(self) -> str:
        """Address of the listener that wants SASL_PLAINTEXT with SCRAM-SHA-256."""
        return f"127.0.0.1:{self._ports[1]}"

    @property
    def running(self) -> bool:
        """Whether the broker's process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start and wait until both listeners accept connections; a running broker is left alone."""
        if self.running:
            return
        for tries_left in reversed(range(START_TRIES)):
            if not self._formatted:
                self._format()
            self._process = self._launch()
            if self._is_up():
                self._formatted = True
                return
            said = self._log_tail()
            self.kill()
            if self._formatted or not tries_left:
                raise BrokerUnavailableError(f"Kafka did not start: {said}")
            self._ports = free_ports(3)  # somebody else may have taken one of the ports

    def stop(self) -> None:
        """Leave in order, as on SIGTERM; the data stay for the next `start`."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Die at once, as on a power cut; the data stay for the next `start`."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Stop for good and remove the data."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _format(self) -> None:
        """Write the config and format an empty log folder with one SCRAM user."""
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        (self._folder / "server.properties").write_text(self._properties())
        user = f"SCRAM-SHA-256=[name={self.username},password={self.password}]"
        command = self._command("kafka.tools.StorageTool")
        command += ["format", "--standalone", "-t", cluster_id(), "--add-scram", user]
        command += ["-c", str(self._folder / "server.properties")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise BrokerUnavailableError(f"Kafka's storage could not be formatted: {done.stderr[-500:]}")

    def _launch(self) -> "subprocess.Popen[bytes]":
        command = [*self._command("kafka.Kafka", "-Xmx512m"), str(self._folder / "server.properties")]
        with (self._folder / "broker.log").open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _command(self, main_class: str, *options: str) -> list[str]:
        # Serial and quick to compile: on two busy cores the start takes 11 s instead of 19.
        quiet = [
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        ]
        return [self._java, *quiet, *options, "-cp", f"{self._libs}/*", main_class]

    def _is_up(self) -> bool:
        """Wait for both listeners; False as soon as the process has ended."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.running and time.monotonic() < deadline:
            if all(is_open(port) for port in self._ports[:2]):
                return True
            time.sleep(0.1)
        return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        os.killpg(process.pid, how)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _log_tail(self) -> str:
        return (self._folder / "broker.log").read_text(errors="replace")[-800:]

    def _properties(self) -> str:
        plain, scram, controller = self._ports
        return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAIN://127.0.0.1:{plain},SCRAM://127.0.0.1:{scram},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAIN://127.0.0.1:{plain},SCRAM://127.0.0.1:{scram}
listener.security.protocol.map=PLAIN:PLAINTEXT,SCRAM:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.scram.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
log.dirs={self._folder / "data"}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
"""


def java_command() -> str:
    """The `java` to use, 17 or newer."""
    java = shutil.which("java")
    if java is None:
        raise BrokerUnavailableError(f"no Kafka: java is missing ({HOW_TO_GET})")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    major = re.search(r'version "(\d+)', said)
    if major is None or int(major.group(1)) < 17:
        raise BrokerUnavailableError(f"no Kafka: java 17+ is needed, found {said[:60]!r} ({HOW_TO_GET})")
    return java


def broker_jars() -> Path:
    """The folder of the broker's jars, fetched by `mvn` on first use; one folder per content of the pom."""
    cache = Path(os.environ.get("POLICYWATCH_CACHE", ROOT / ".cache")) / "kafka"
    libs = cache / hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    if libs.is_dir():
        return libs
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerUnavailableError(f"no Kafka: mvn is missing ({HOW_TO_GET})")
    cache.mkdir(parents=True, exist_ok=True)
    fetched = Path(tempfile.mkdtemp(dir=cache))
    command = [maven, "-q", "-B", "-C", "-f", str(POM)]  # -C: a checksum that disagrees is an error
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={fetched}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)
    if done.returncode != 0:
        shutil.rmtree(fetched, ignore_errors=True)
        raise BrokerUnavailableError(f"no Kafka: mvn could not fetch it: {done.stdout[-500:]}")
    try:
        fetched.rename(libs)
    except OSError:  # another test run was faster: its folder is as good as ours
        shutil.rmtree(fetched, ignore_errors=True)
    return libs


def cluster_id() -> str:
    """A random id in Kafka's form: 16 bytes in URL-safe base64 that do not start like an option."""
    return "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now and outside the range the kernel hands to outgoing connections."""
    held: list[socket.socket] = []
    while len(held) < count:
        candidate = socket.socket()
        try:
            candidate.bind(("127.0.0.1", random.randrange(20_000, 32_000)))
            held.append(candidate)
        except OSError:
            candidate.close()
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def is_open(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
