"""`python -m tests.scoreboard [--quick] [PATTERN]`: the table, and docs/scoreboard.md."""

import argparse
import os
import re
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tests.scoreboard.measure import FULL, QUICK, Effort, Row, measure
from tests.scoreboard.peers import compared
from tests.scoreboard.report import HEAD, cells, markdown, summary
from tests.scoreboard.scenarios import GATE, SCENARIOS, Scenario

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scoreboard.md"
SEED = 20_261_123


def main() -> None:
    """Rows are printed as they are done; the page is written when all are, or not at all for a part of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.scoreboard", description=__doc__)
    parser.add_argument("pattern", nargs="?", default="", help="only scenarios whose name matches")
    parser.add_argument("--quick", action="store_true", help="the small fixed part that runs in CI")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    effort = QUICK if given.quick else FULL
    chosen = [
        s for s in SCENARIOS if re.search(given.pattern, s.name) and (not given.quick or s.name in GATE)
    ]
    print(" | ".join(HEAD), flush=True)
    rows = []
    with ProcessPoolExecutor(given.jobs) as pool:
        for row in pool.map(partial(_row, effort), chosen):
            print(" | ".join(cells(row)), flush=True)
            rows.append(row)
    print(summary(rows))
    peers = compared(SEED) if os.environ.get("PEERS") else ""
    print(peers)
    if not given.quick and not given.pattern:
        PAGE.write_text(markdown(rows, effort, peers))


def _row(effort: Effort, scenario: Scenario) -> Row:
    return measure(scenario, effort, SEED, quiet=scenario.null == "")


if __name__ == "__main__":
    main()
