"""A benchmark's rows, and where they were measured."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version

from tests.paths import ROOT

LIBRARIES = ("numpy", "scipy", "msgspec", "kafka-python", "river")


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured, the ratio that matters, and the number behind it."""

    what: str
    ratio: str
    number: str


def to_goal(value: float, goal: float, unit: str) -> str:
    """A cost as a part of the most that it may be."""
    return f"{value / goal:.2f} of the {goal:g} {unit} allowed"


def cpu_of(work: Callable[[], object]) -> float:
    """CPU seconds of this process, threads included."""
    began = time.process_time()
    work()
    return time.process_time() - began


def markdown(title: str, rows: Iterable[Row]) -> str:
    """A section with one table."""
    lines = [f"## {title}", "", "| what | ratio | measured |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {row.what} | {row.ratio} | {row.number} |" for row in rows), ""])


def machine() -> str:
    """Cores, load, Python, libraries and commit; nothing that names this machine."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    load = f"load {os.getloadavg()[0]:.1f} when it began"
    return (
        f"{os.cpu_count()} cores ({platform.machine()}, {platform.system()}, {load}), "
        f"Python {sys.version.split()[0]}, {libraries}, commit {commit or 'unknown'}."
    )
