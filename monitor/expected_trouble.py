"""What the command line says of trouble that it expects, and with which exit code.

A module of its own, loaded once there is trouble: the exceptions live beside what raises them, and loading all of that
would make `policywatch --help` four times as slow.
"""

from dataclasses import dataclass

from alerts.senders.sender import ReceiverConfigError
from monitor.baselines.baseline import BaselineError
from monitor.config_reader import ConfigError
from monitor.event_files import EventFileError
from monitor.exit_codes import UNREACHABLE, USAGE
from monitor.kafka.confluent_client import ClientMissing
from monitor.kafka.kafka_source import SourceError
from monitor.persistence.checkpoint import CheckpointError


@dataclass(frozen=True, slots=True)
class ExpectedTrouble:
    """words: for standard error, without the last newline."""

    words: str
    exit_code: int


def explained(error: Exception) -> ExpectedTrouble | None:
    """None for what nobody expected: that is a fault of ours, and keeps its traceback."""
    match error:
        case ConfigError(faults=faults):
            lines = [
                f"policywatch: the config has {len(faults)} fault(s):",
                *(f"  {fault}" for fault in faults),
            ]
            return ExpectedTrouble("\n".join(lines), USAGE)
        case BaselineError() | EventFileError() | CheckpointError() | ReceiverConfigError():
            return ExpectedTrouble(f"policywatch: {error}", USAGE)
        case SourceError() | ClientMissing():
            return ExpectedTrouble(f"policywatch: {error}", UNREACHABLE)
        case _:
            return None
