"""structlog as JSON lines on standard error; one place that configures it."""

import logging
import sys
from typing import Any

import structlog

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logs(level: str) -> Any:
    """The process's logger. Libraries' own warnings go the same way."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # The handler is strict, not the loggers: `BrokerTrouble` reads the cause of a failure from kafka-python's own log.
    plain = logging.StreamHandler(sys.stderr)
    plain.setLevel(logging.CRITICAL if level != "debug" else logging.WARNING)
    logging.basicConfig(level=logging.ERROR if level != "debug" else logging.WARNING, handlers=[plain])
    return structlog.get_logger("policywatch")
