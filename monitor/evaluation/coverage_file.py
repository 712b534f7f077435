"""The file in which `evaluate --record` keeps predictions beside what came of them: a JSON line per candidate."""

from pathlib import Path

import msgspec

from detectors.ope import Outcome
from monitor.config_reader import ConfigError

MOST = 1_000  # outcomes kept; the oldest go first
_DECODER = msgspec.json.Decoder(Outcome)


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """Candidate -> outcome, oldest first; empty where there is no file yet."""
    if not path.exists():
        return {}
    try:
        outcomes = [_DECODER.decode(line) for line in path.read_bytes().splitlines() if line]
    except msgspec.DecodeError as error:
        raise ConfigError([f"{path}: {error}"]) from error
    return {outcome.candidate: outcome for outcome in outcomes}


def write_outcomes(path: Path, outcomes: dict[str, Outcome]) -> None:
    """Replace the file whole, so that a stopped write loses nothing."""
    lines = [msgspec.json.encode(outcome) + b"\n" for outcome in list(outcomes.values())[-MOST:]]
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.write_bytes(b"".join(lines))
    fresh.replace(path)
