"""`make scoreboard`, `[--quick] [PATTERN]`: the table; docs/scoreboard.md once every row has been measured."""

import argparse
import os
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.bench.scoreboard.kept import Kept
from tests.bench.scoreboard.measure import FULL, HALF, QUICK, Effort, Part, Row, groups, limit_of, part_of
from tests.bench.scoreboard.peers import compared
from tests.bench.scoreboard.report import HEAD, cells, markdown, summary
from tests.bench.scoreboard.scenario import Scenario
from tests.bench.scoreboard.scenarios import GATE, SCENARIOS

ROOT = Path(__file__).resolve().parents[3]
PAGE, KEPT, PEERS = ROOT / "docs/scoreboard.md", ROOT / "build/scoreboard.json", ROOT / "build/peers.md"
SEED = 20_261_123


def main() -> None:
    """Rows are printed and kept as they are done, so that a part can be measured anew; then the page is written."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scoreboard", description=__doc__)
    parser.add_argument("pattern", nargs="?", default="", help="only scenarios whose name matches")
    parser.add_argument(
        "--quick", action="store_true", help="the small fixed part that runs in CI; keeps nothing"
    )
    parser.add_argument(
        "--page", action="store_true", help="write the page from what is kept; measure nothing"
    )
    parser.add_argument("--half", action="store_true", help="fewer baselines and fewer quiet events")
    parser.add_argument("--resume", action="store_true", help="only what has not been measured yet")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    effort = QUICK if given.quick else HALF if given.half else FULL
    chosen = [
        s for s in SCENARIOS if re.search(given.pattern, s.name) and (not given.quick or s.name in GATE)
    ]
    kept = Kept(None if given.quick else KEPT)
    if given.resume:
        chosen = [scenario for scenario in chosen if not kept.rows([scenario])]
    if not given.page:
        print(" | ".join(HEAD), flush=True)
        with ProcessPoolExecutor(given.jobs) as pool:
            for group in groups(chosen):
                for row in _measured(pool, group, effort):
                    print(" | ".join(cells(row)), flush=True)
                    kept.add(row)
        if os.environ.get("PEERS"):
            said = compared(SEED, chosen)
            print(said, flush=True)
            if not given.quick:
                PEERS.write_text(said)
    rows = kept.rows(SCENARIOS)
    print(summary(rows))
    peers = PEERS.read_text() if PEERS.exists() else ""
    if rows and not given.quick:
        PAGE.write_text(markdown(rows, SCENARIOS, peers))


def _measured(pool: ProcessPoolExecutor, group: Sequence[Scenario], effort: Effort) -> list[Row]:
    limits = [pool.submit(limit_of, scenario, SEED) for scenario in group]
    futures = [pool.submit(part_of, group, effort, SEED, i) for i in range(effort.references)]
    parts: list[dict[str, Part]] = [future.result() for future in futures]
    return [
        Row(scenario, [part[scenario.name] for part in parts], found.result())
        for scenario, found in zip(group, limits, strict=True)
    ]


if __name__ == "__main__":
    main()
