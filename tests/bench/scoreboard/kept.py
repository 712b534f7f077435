"""Measured rows on disk, by scenario: so that one row can be measured anew and the page be written from all."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench.scoreboard.measure import Part, Row
from tests.bench.scoreboard.scenario import Scenario


class Kept:
    """A JSON file of rows, rewritten with each; nothing on disk where the path is None."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._held: dict[str, Any] = (
            json.loads(path.read_text()) if path is not None and path.exists() else {}
        )

    def add(self, row: Row) -> None:
        """Replaces what was kept of its scenario."""
        self._held[row.scenario.name] = {"limit": row.limit, "parts": [asdict(part) for part in row.parts]}
        if self._path is not None:
            self._path.parent.mkdir(exist_ok=True)
            self._path.write_text(json.dumps(self._held))

    def rows(self, scenarios: Sequence[Scenario]) -> list[Row]:
        """Of these scenarios, in their order, those that are kept."""
        return [_row(s, self._held[s.name]) for s in scenarios if s.name in self._held]


def _row(scenario: Scenario, held: Any) -> Row:
    parts = [Part(**{**part, "delays": tuple(part["delays"])}) for part in held["parts"]]
    return Row(scenario, parts, held["limit"])
