"""What decides must replay: no clock, randomness, I/O, logging or global state in the pure modules."""

import ast
import tomllib
from collections.abc import Iterable, Iterator

import pytest

from tests.paths import ROOT

# Files that must give the same answer in a replay of last Tuesday, each with what it may import all the same:
# datetime as a calendar and urllib.parse as text are functions of their arguments. A new deciding module gets a line
# here and one in the import-linter contract "what decides ..." in pyproject.toml, which follows what it imports.
PURE: dict[str, set[str]] = {
    "detectors/**/*.py": set(),
    "alerts/approvals.py": set(),
    "alerts/backlog.py": set(),
    "alerts/blindness.py": set(),
    "alerts/closed_loop.py": set(),
    "alerts/desk.py": set(),
    "alerts/desk_terms.py": set(),
    "alerts/findings.py": set(),
    "alerts/holds.py": set(),
    "alerts/incidents.py": set(),
    "alerts/judge.py": set(),
    "alerts/life.py": set(),
    "alerts/mandate.py": set(),
    "alerts/open_signals.py": set(),
    "alerts/outbox.py": set(),
    "alerts/overdue.py": set(),
    "alerts/own_pages.py": set(),
    "alerts/record.py": set(),
    "alerts/rules.py": set(),
    "alerts/rulings.py": set(),
    "alerts/signal.py": {"datetime", "urllib.parse"},
    "alerts/silences.py": set(),
    "alerts/tray.py": set(),
    "alerts/violations.py": set(),
    "alerts/wording.py": set(),
    "monitor/batch.py": set(),
    "monitor/decoding/columns.py": set(),
    "monitor/joins/combine.py": set(),
    "monitor/core.py": set(),
    "monitor/decoding/decode.py": set(),
    "monitor/durations.py": {"datetime"},
    "monitor/episodes/book.py": set(),
    "monitor/event_time.py": set(),
    "monitor/frames.py": set(),
    "monitor/episodes/hash_index.py": set(),
    "monitor/joins/index.py": set(),
    "monitor/joins/join.py": set(),
    "monitor/joining.py": set(),
    "monitor/joins/orphans.py": set(),
    "monitor/pipeline.py": set(),
    "monitor/episodes/returns.py": set(),
    "monitor/sealed.py": set(),
    "monitor/sharding/merger.py": set(),
    "monitor/sharding/tally.py": set(),
    "monitor/sharding/wire.py": set(),
    "monitor/persistence/state.py": set(),
    "monitor/decoding/tables.py": set(),
    "monitor/decoding/timestamps.py": {"datetime"},
    "monitor/episodes/trajectories.py": set(),
    "monitor/vocabulary.py": set(),
    "monitor/judging/watched.py": set(),
    "monitor/judging/window_rows.py": set(),
    "monitor/judging/windows.py": set(),
    "monitor/decoding/wire.py": set(),
}
CALENDAR = {"datetime", "urllib"}

# Top-level modules that reach for the world. tool.importlinter in pyproject.toml forbids the same ones to detectors,
# through any chain of imports.
IMPURE = {
    *("time", "datetime", "zoneinfo", "sched", "random", "secrets", "uuid"),
    *("os", "io", "pathlib", "shutil", "tempfile", "glob", "fileinput", "pickle", "shelve", "sqlite3"),
    *("socket", "ssl", "select", "selectors", "http", "urllib", "asyncio", "subprocess", "signal"),
    *("threading", "multiprocessing", "concurrent", "contextvars", "logging", "warnings"),
    *("structlog", "kafka", "confluent_kafka", "urllib3", "prometheus_client", "rich", "standardwebhooks"),
}

# id() and hash() differ from process to process; the others talk to the world.
IMPURE_BUILTINS = {"open", "print", "input", "eval", "exec", "id", "hash", "breakpoint"}

# What may be taken from numpy.random: generators that are given their seed. Everything else is global state.
SEEDED = {"Generator", "SeedSequence", "BitGenerator", "PCG64", "Philox", "default_rng"}


def faults(source: str, allowed: Iterable[str] = ()) -> list[str]:
    """What in this source could differ between two runs over the same log, as `line: what`."""
    fine = {f"imports {module}" for module in allowed}
    return [f"{line}: {what}" for line, what in sorted(_found(ast.parse(source))) if what not in fine]


def _found(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, f"imports {n.name}") for n in names if _top(n.name) in IMPURE)
            case ast.ImportFrom(module=str(module)) if _top(module) in IMPURE:
                yield node.lineno, f"imports {module}"
            case ast.ImportFrom(module="numpy.random", names=names):
                yield from ((node.lineno, f"global random {n.name}") for n in names if n.name not in SEEDED)
            case ast.Global():
                yield node.lineno, f"global state {', '.join(node.names)}"
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_BUILTINS:
                yield node.lineno, f"calls {name}()"
            case ast.Call(
                func=ast.Name(id="default_rng") | ast.Attribute(attr="default_rng"), args=[], keywords=[]
            ):
                yield node.lineno, "unseeded default_rng()"
            case ast.Attribute(
                value=ast.Name(id="datetime" | "date"), attr="now" | "utcnow" | "today" as name
            ):
                yield node.lineno, f"reads the clock with {name}()"
            case ast.Attribute(
                value=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="random"), attr=name
            ):
                if name not in SEEDED:
                    yield node.lineno, f"global random {name}"
            case _:
                pass


def _top(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("pattern", PURE)
def test_pure_module_reaches_for_nothing_outside(pattern: str) -> None:
    found = {str(path.relative_to(ROOT)): path.read_text() for path in ROOT.glob(pattern)}
    assert found, "renamed or removed: the list of pure modules must follow"
    assert {name: faults(text, PURE[pattern]) for name, text in found.items()} == {name: [] for name in found}


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import time", "1: imports time"),
        ("from datetime import datetime", "1: imports datetime"),
        ("import os.path as p", "1: imports os.path"),
        ("def f():\n    import logging", "2: imports logging"),
        ("x = np.random.normal()", "1: global random normal"),
        ("from numpy.random import rand", "1: global random rand"),
        ("rng = np.random.default_rng()", "1: unseeded default_rng()"),
        ("t = datetime.now(UTC)", "1: reads the clock with now()"),
        ("key = hash(name)", "1: calls hash()"),
        ("with open(name) as file: pass", "1: calls open()"),
        ("def f():\n    global seen", "2: global state seen"),
    ],
)
def test_impure_line_is_named(source: str, fault: str) -> None:
    assert faults(source) == [fault]


def test_seeded_generator_is_pure() -> None:
    assert faults("import numpy as np\nrng = np.random.default_rng(7)\nx = np.random.Generator(bits)") == []


def test_import_linter_forbids_the_same_modules_through_any_chain() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    numbers, deciding = (one for one in config["contracts"] if one["type"] == "forbidden")
    assert set(numbers["forbidden_modules"]) == IMPURE
    assert set(deciding["forbidden_modules"]) == IMPURE - CALENDAR
    modules = {pattern.removesuffix(".py").replace("/", ".") for pattern in PURE if "*" not in pattern}
    assert set(deciding["source_modules"]) == modules
