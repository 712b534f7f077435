"""Where a command's events come from: files, or the topics of the config."""

from argparse import Namespace

from alerts.signal import from_rfc3339
from monitor.config import Config
from monitor.config_reader import ConfigError
from monitor.kafka.kafka_log import KafkaLog
from monitor.source import Files, Log


def events_of(arguments: Namespace, config: Config) -> Log:
    """The log that was asked for; ConfigError where none was named."""
    if arguments.from_kafka:
        return KafkaLog(config.source)
    paths = arguments.events or list(config.source.paths)
    if not paths:
        raise ConfigError(["EVENTS: name at least one file, or say --from-kafka"])
    return Files(paths, config.source.max_record_bytes)


def until_of(arguments: Namespace) -> int | None:
    """The event time of `--until`."""
    if arguments.until is None:
        return None
    try:
        return from_rfc3339(arguments.until)
    except ValueError as error:
        raise ConfigError([f"--until: {error}"]) from error
