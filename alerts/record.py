"""What is written into the audit log: one record for each thing that somebody, or the desk, has done."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """What happened, on whose word, with its particulars; at_ms: wall time."""

    at_ms: int
    what: str
    who: str
    detail: Mapping[str, Any]
