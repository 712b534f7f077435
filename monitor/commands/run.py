"""`policywatch run`: the daemon. SIGTERM leaves, SIGHUP reads the config again."""

import signal
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from alerts.delivery import Delivery
from alerts.senders.sender import ReceiverConfigError
from monitor.baselines.baseline import BaselineError
from monitor.clocks import RealClock
from monitor.config import Config
from monitor.config_file import load_config
from monitor.config_reader import ConfigError
from monitor.control.commanding import ROUTE, commands_route
from monitor.control.http_server import HttpServer, json_route, metrics_route, yes_no_route
from monitor.exit_codes import FINE, UNREACHABLE
from monitor.garbage import Sweeper
from monitor.kafka.confluent_client import library
from monitor.kafka.kafka_source import OffsetsGone, SourceError
from monitor.observability import systemd
from monitor.observability.logs import configure_logs
from monitor.observability.pulse import Heartbeat, Pulse, caller
from monitor.observability.telemetry import Telemetry
from monitor.observability.watch import Watch
from monitor.owed import delivery_of_owed
from monitor.persistence.checkpoint import StateDamagedError, StateNotSavedError
from monitor.persistence.notices import say_lost
from monitor.receivers import receivers_for
from monitor.service import Service, reload, start
from monitor.sharding.service import ShardService, start_judge, start_shard

VERSION = "0.1.0"
LAST_WORDS_S = 5.0  # for deliveries; what is not delivered by then goes out at the next start
BACK_OFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)


Running = Service | ShardService
Start = Callable[[Config, Path, Any, Telemetry, Watch], Running]
STARTS: dict[str, Start] = {"all": start, "shard": start_shard, "judge": start_judge}


class Stopping:
    """What the process was told by signals, looked at between two turns of the loop."""

    def __init__(self) -> None:
        self.leave = threading.Event()
        self.reload = threading.Event()

    def install(self) -> None:
        """Listen for SIGTERM, SIGINT and SIGHUP."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._leave)
        signal.signal(signal.SIGHUP, self._reload)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        self.leave.set()

    def _reload(self, number: int, frame: FrameType | None) -> None:
        self.reload.set()


def run(arguments: Namespace) -> int:
    """Until told to stop; 3 when the broker has lost what our state goes on from."""
    config = load_config(arguments.config)
    if config.source.kind != "kafka":
        raise ConfigError(
            [f"source.kind: {config.source.kind} are replayed (policywatch replay); run needs kafka"]
        )
    if config.source.client == "confluent":
        library()  # a package that is missing is said now
    log = configure_logs(config.log_level)
    receivers_for(config, log, None)  # a receiver that cannot work is said now, not when a broker answers
    telemetry, clock = Telemetry(), RealClock()
    watch = Watch(telemetry, log, clock, config.digest())
    heart = _heart(config, watch)
    telemetry.record_build(VERSION, config.digest())
    log.info(
        "daemon_started",
        config=str(arguments.config),
        role=arguments.role,
        hash=config.digest(),
        deployments=list(config.deployments),
    )
    stopping = Stopping()
    stopping.install()
    try:
        posts = {ROUTE: commands_route(watch.inbox, config.http_token)}
        http = HttpServer(config.http_host, config.http_port, _routes(telemetry, watch), posts=posts)
    except OSError as error:
        log.critical("http_refused", host=config.http_host, port=config.http_port, reason=error.strerror)
        return UNREACHABLE
    http.start()
    log.info("http_listening", host=config.http_host, port=http.port)
    if heart is not None:
        heart.start()
    try:
        return _serve(config, arguments.config, log, telemetry, watch, stopping, STARTS[arguments.role])
    finally:
        if heart is not None:
            heart.stop()
        http.stop()


def _heart(config: Config, watch: Watch) -> Pulse | None:
    """The pulse of the heartbeat; an address that must not be called is said now."""
    if config.heartbeat.url is None:
        return None
    ask = caller(config.heartbeat, lambda: RealClock().now_ms() / 1000)
    return Pulse("heartbeat", config.heartbeat.interval_ms, Heartbeat(ask, watch))


def _serve(
    config: Config,
    path: Path,
    log: Any,
    telemetry: Telemetry,
    watch: Watch,
    stopping: Stopping,
    begin: Start,
) -> int:
    service = _connected(config, path, log, telemetry, watch, stopping, begin)
    if service is None:
        return FINE
    systemd.notify("READY=1")
    sweeper = Sweeper()
    sweeper.begin()
    try:
        while not stopping.leave.is_set():
            if stopping.reload.is_set():
                stopping.reload.clear()
                service = _reloaded(service, path, log, watch)
                sweeper.begin()
            try:
                _step(service, log, watch, stopping)
            except StateDamagedError as error:
                log.error("state_damaged", reason=str(error))  # noqa: TRY400 - no traceback wanted
                service.abandon()
                again = _connected(config, path, log, telemetry, watch, stopping, begin)
                if again is None:
                    return FINE
                service = again
                sweeper.begin()
            sweeper.turn(service.daemon.saved_at_ms)
    except OffsetsGone as error:
        log.critical("offsets_gone", reason=str(error))
        if isinstance(service, Service):  # of a shard that stands, the judge tells
            say_lost(service.daemon, str(error))
        stopping.leave.wait(LAST_WORDS_S)
        return UNREACHABLE
    finally:
        systemd.notify("STOPPING=1")
        service.stop()
        log.info("daemon_stopped")
    return FINE


def _step(service: Running, log: Any, watch: Watch, stopping: Stopping) -> None:
    """One turn; while the disk refuses, nothing is sent and nothing forgotten: the save is tried again."""
    try:
        _turn(service, log, watch, stopping)
    except StateNotSavedError as error:
        watch.looped()
        watch.note("state", f"not saved: {error}")
        log.error("state_not_saved", reason=str(error), retry_s=BACK_OFF_S[0])  # noqa: TRY400 - no traceback wanted
        stopping.leave.wait(BACK_OFF_S[0])


def _turn(service: Running, log: Any, watch: Watch, stopping: Stopping) -> None:
    try:
        service.daemon.step()
        watch.connected(True)
        watch.inspect(service.daemon)
    except SourceError as error:
        watch.connected(False)
        service.daemon.rest()
        watch.inspect(service.daemon)
        watch.looped()
        log.warning("source_failed", reason=str(error), retry_s=BACK_OFF_S[0])
        stopping.leave.wait(BACK_OFF_S[0])


def _connected(
    config: Config,
    path: Path,
    log: Any,
    telemetry: Telemetry,
    watch: Watch,
    stopping: Stopping,
    begin: Start,
) -> Running | None:
    """A service that reached its broker and may write its state, however long that takes; None when told to leave.

    What the outbox owes goes out between two tries: who needs it need not wait for the broker.
    """
    attempt = 0
    owed: Callable[[], Delivery] | None = None
    while not stopping.leave.is_set():
        try:
            return begin(config, path.parent, log, telemetry, watch)
        except SourceError as error:
            wait_s = BACK_OFF_S[min(attempt, len(BACK_OFF_S) - 1)]
            log.warning(
                "source_unreachable",
                servers=list(config.source.bootstrap_servers),
                reason=str(error),
                retry_s=wait_s,
            )
            watch.note("source", str(error))
            owed = owed or delivery_of_owed(config, log, watch)
        except StateNotSavedError as error:
            wait_s = BACK_OFF_S[0]
            log.error("state_not_saved", reason=str(error), retry_s=wait_s)  # noqa: TRY400 - no traceback wanted
            watch.note("state", f"not saved: {error}")
        watch.looped()
        with _delivering(owed):
            stopping.leave.wait(wait_s)
        attempt += 1
    return None


@contextmanager
def _delivering(owed: Callable[[], Delivery] | None) -> Iterator[None]:
    if owed is None:
        yield
        return
    delivery = owed()
    delivery.start()
    try:
        yield
    finally:
        delivery.stop()


def _reloaded(service: Running, path: Path, log: Any, watch: Watch) -> Running:
    if isinstance(service, ShardService):
        watch.reload_refused("a shard takes another config with a restart")
        return service
    try:
        service = reload(service, load_config(path), path.parent, log)
    except (ConfigError, BaselineError, ReceiverConfigError, StateNotSavedError, ValueError) as error:
        watch.reload_refused(str(error))
        log.warning("config_refused", reason=str(error), kept=service.config.digest())
        return service
    watch.reloaded(VERSION, service.config.digest())
    log.info("config_reloaded", hash=service.config.digest())
    return service


def _routes(telemetry: Telemetry, watch: Watch) -> dict[str, Any]:
    return {
        "/metrics": metrics_route(telemetry.registry),
        "/-/healthy": yes_no_route(watch.healthy),
        "/-/ready": yes_no_route(watch.ready),
        "/api/v1/status": json_route(watch.status),
    }
