"""`policywatch test-send`: one test signal to every receiver, by the way that a real one goes; says what came back."""

import json
import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError
from msgspec.structs import replace

from alerts.delivery import ReceiverLoop
from alerts.outbox import Ending, OutboxEntry, Outcome
from alerts.outbox_store import SqliteOutbox
from alerts.signal import Evidence, Kind, Signal, signal_id
from alerts.tray import Leaving
from monitor.clocks import Clocks, RealClock
from monitor.config import Config
from monitor.config_file import load_config
from monitor.exit_codes import FINE, UNREACHABLE, USAGE
from monitor.kafka.kafka_source import client_settings, plain
from monitor.observability.logs import configure_logs
from monitor.persistence.checkpoint import Checkpoint
from monitor.receivers import Receiver, receivers_for

LIFE_MS = 600_000
ORDER: tuple[Kind, ...] = ("page", "hold", "fallback", "rollback", "retrain", "promote")


@dataclass(frozen=True, slots=True)
class Everything:
    """A receiver that takes the test whatever it takes otherwise: pagers pass dry runs on only here."""

    receiver: Receiver

    @property
    def name(self) -> str:
        """The receiver's."""
        return self.receiver.name

    def accepts(self, signal: Signal) -> bool:
        """Yes."""
        return True


@dataclass(slots=True)
class Heard:
    """What each receiver answered."""

    answers: dict[str, tuple[str, str, int]] = field(default_factory=dict)

    def attempted(self, entry: OutboxEntry, outcome: Outcome, took_ms: int) -> None:
        """One attempt; the worst answer of a receiver is kept."""
        what = type(outcome).__name__.lower()
        if self.well(entry.receiver):
            self.answers[entry.receiver] = (what, getattr(outcome, "reason", ""), took_ms)

    def well(self, receiver: str) -> bool:
        """Whether a receiver has refused nothing so far."""
        return self.answers.get(receiver, ("delivered",))[0] == "delivered"

    def ended(self, entry: OutboxEntry, ending: Ending) -> None:
        """Said by `attempted`."""

    def watched(self, oldest_age_ms: Mapping[str, int]) -> None:
        """Nothing is watched."""

    def safety_overdue(self, entry: OutboxEntry, age_ms: int) -> None:
        """A test is no safety signal."""

    def faulted(self, receiver: str, error: Exception) -> None:
        """A sender that broke."""
        self.answers[receiver] = ("faulted", repr(error), 0)


def run(arguments: Namespace) -> int:
    """Send, print one line per receiver; 3 where one did not take it."""
    config = load_config(arguments.config)
    producer, trouble = _producer(config)
    receivers = receivers_for(config, configure_logs("error"), producer)
    chosen = [one for one in receivers if arguments.receiver in (None, one.name)]
    names = [one.name for one in receivers]
    if not chosen and not (trouble and arguments.receiver == "kafka"):
        print(f"policywatch: no receiver {arguments.receiver!r}; there are {', '.join(names)}")
        return USAGE
    heard = Heard()
    if trouble and arguments.receiver in (None, "kafka"):
        heard.answers["kafka"] = ("retry", trouble, 0)
    try:
        send(config, chosen, heard)
    finally:
        if producer is not None:
            producer.close(timeout=2)
    for name, (what, reason, took_ms) in heard.answers.items():
        if arguments.json:
            print(json.dumps({"receiver": name, "outcome": what, "reason": reason, "took_ms": took_ms}))
        else:
            print(f"{name:20} {what:10} {took_ms:6} ms  {reason}".rstrip())
    return FINE if all(what == "delivered" for what, _, _ in heard.answers.values()) else UNREACHABLE


def send(config: Config, receivers: Sequence[Receiver], heard: Heard) -> None:
    """Through an outbox of its own: beginning and end, so that a pager does not stay open."""
    clock = Clocks(RealClock())
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder))
        for receiver in receivers:
            now_ms = clock.now_ms()
            signals = [signal_for(config, receiver, now_ms, state) for state in ("firing", "resolved")]
            checkpoint.save({}, Leaving(signals), [Everything(receiver)], clock.steady_ms())
            store = SqliteOutbox.open(checkpoint.path)
            try:
                loop = ReceiverLoop(receiver.sender, store, clock, heard)
                while store.pending(receiver.name) and heard.well(receiver.name):
                    loop.step()
            finally:
                store.close()
        checkpoint.close()


def signal_for(config: Config, receiver: Receiver, now_ms: int, state: str) -> Signal:
    """A signal that every reader can tell for a test: `dry_run`, its rule, its reason."""
    deployment = (receiver.deployments or tuple(config.deployments))[0]
    firing = state == "firing"
    made = Signal(
        id=signal_id(
            deployment, "test", receiver.name, "test", "", now_ms, "firing" if firing else "resolved"
        ),
        time_ms=now_ms,
        deployment=deployment,
        policy="test",
        kind="page",
        state="firing" if firing else "resolved",
        rule="test",
        reason="This is a test of policywatch test-send; nothing has happened and nothing is asked for.",
        generation=0,
        evidence=Evidence(statistic="test"),
        expires_at_ms=now_ms + LIFE_MS,
        subject=receiver.name,
    )
    kinds = [kind for kind in ORDER if receiver.sender.accepts(replace(made, kind=kind))]
    return replace(made, kind=kinds[0] if kinds else "page", dry_run=True)


def _producer(config: Config) -> tuple[Any, str]:
    """For the signals topic, where it is configured; or why there is none."""
    if config.source.kind != "kafka" or not config.signals_topic:
        return None, ""
    try:
        make: Callable[..., Any] = KafkaProducer
        return make(**client_settings(config.source), acks="all", max_block_ms=5_000), ""
    except KafkaError as error:
        return None, f"no producer [{plain(error)}]"
