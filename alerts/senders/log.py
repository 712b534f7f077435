"""The log: every signal as one structured event, for whoever has nothing else."""

from typing import Any, Protocol

from alerts.outbox import Delivered, OutboxEntry, Outcome, Refused
from alerts.signal import Signal, SignalDecodeError, parse, rfc3339


class Logger(Protocol):
    """A structlog logger."""

    def warning(self, event: str, **fields: Any) -> Any: ...

    def info(self, event: str, **fields: Any) -> Any: ...


class LogSender:
    """Writes firing signals as warnings, resolved ones as information."""

    def __init__(self, name: str, logger: Logger) -> None:
        self.name = name
        self._logger = logger

    def accepts(self, signal: Signal) -> bool:
        return True

    def send(self, entry: OutboxEntry, now_s: float) -> Outcome:
        try:
            signal = parse(entry.payload)
        except SignalDecodeError as error:
            return Refused(str(error), permanent=True)
        write = self._logger.warning if signal.state == "firing" else self._logger.info
        write("signal_sent", **fields(signal))
        return Delivered()


def fields(signal: Signal) -> dict[str, Any]:
    """The signal, flat enough to search."""
    return {
        "signal_id": signal.id,
        "event_time": rfc3339(signal.time_ms),
        "deployment": signal.deployment,
        "policy": signal.policy,
        "subject": signal.subject,
        "kind": signal.kind,
        "state": signal.state,
        "rule": signal.rule,
        "reason": signal.reason,
        "to_policy": signal.to_policy,
        "generation": signal.generation,
        "dry_run": signal.dry_run,
        "statistic": signal.evidence.statistic,
        "value": signal.evidence.value,
        "threshold": signal.evidence.threshold,
        "n": signal.evidence.n,
        "culprits": list(signal.evidence.culprits),
    }
