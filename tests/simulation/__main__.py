"""`make simulate SEEDS=10000`: plays seeds until one breaks a promise, prints it and keeps it as a regression."""

import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

from tests.simulation.seeds import Case, fast_folder, tried

MOST_FINDINGS = 5


def main() -> int:
    """1 when a promise was broken."""
    parser = ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    found, began = 0, time.process_time()
    with tempfile.TemporaryDirectory(prefix="simulate-", dir=fast_folder()) as folder:
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            finding = tried(Case.of(seed), Path(folder))
            if finding is not None:
                found += 1
                print(finding, f"kept as {finding.case.keep()}", sep="\n", flush=True)
            if found == MOST_FINDINGS:
                break
            if seed % 500 == 499:
                print(f"{seed + 1 - arguments.first} seeds, {found} findings", flush=True)
    print(f"{arguments.seeds} seeds, {found} findings, {time.process_time() - began:.0f} s of CPU")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
