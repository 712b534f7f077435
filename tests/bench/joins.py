"""The join with a million decisions pending: what `python -m tests.bench.join` says, in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator

from tests.bench.table import Row
from tests.paths import ROOT

PENDING = 1_000_000


def rows() -> Iterator[Row]:
    """Its lines; with 10 million: `python -m tests.bench.join`."""
    command = [sys.executable, "-m", "tests.bench.join", "--pending", str(PENDING)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=240)
    for line in done.stdout.splitlines():
        what, _, number = line.partition(": ")
        yield Row(what, "", number)
