"""Start-up, cold: until the command line answers, until the daemon's code is loaded; CPU, wall time tells the load."""

import subprocess
import sys
from collections.abc import Iterator
from resource import RUSAGE_CHILDREN, getrusage

from tests.bench.table import Row
from tests.paths import ROOT

COMMANDS = {
    "a bare interpreter": ["-c", "pass"],
    "numpy alone": ["-c", "import numpy"],
    "policywatch --help": ["-m", "monitor.cli", "--help"],
    "all that replay needs": ["-c", "import monitor.assembly, monitor.replaying, river.drift"],
    "all that the daemon needs": ["-c", "import monitor.service, river.drift"],
}


def rows() -> Iterator[Row]:
    """Best of three, CPU seconds."""
    bare = 0.0
    for name, arguments in COMMANDS.items():
        took = min(_seconds(arguments) for _ in range(3))
        bare = bare or took
        yield Row(name, f"{took / bare:.1f} interpreters", f"{took * 1e3:.0f} ms")


def _seconds(arguments: list[str]) -> float:
    began = _children()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True, timeout=60)
    return _children() - began


def _children() -> float:
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
