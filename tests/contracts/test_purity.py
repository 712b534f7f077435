"""What decides must replay: no clock, randomness, I/O, logging or global state in the pure modules."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

# Files that must give the same answer in a replay of last Tuesday. A new deciding module gets a line here (and, when
# what it imports matters too, in the import-linter contract in pyproject.toml). A glob may match nothing yet.
PURE = (
    "detectors/**/*.py",
    "alerts/alert.py",
    "alerts/engine.py",
    "alerts/lifecycle.py",
    "alerts/rule.py",
    "alerts/rules.py",
    "alerts/rules/**/*.py",
    "alerts/signal.py",
    "monitor/batch.py",
    "monitor/core.py",
    "monitor/core/**/*.py",
    "monitor/join.py",
    "monitor/vocabulary.py",
)

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


def faults(source: str) -> list[str]:
    """What in this source could differ between two runs over the same log, as `line: what`."""
    return [f"{line}: {what}" for line, what in sorted(_found(ast.parse(source)))]


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
                value=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="random"), attr=name
            ):
                if name not in SEEDED:
                    yield node.lineno, f"global random {name}"
            case _:
                pass


def _top(module: str) -> str:
    return module.partition(".")[0]


def pure_files() -> list[Path]:
    return sorted({path for pattern in PURE for path in ROOT.glob(pattern)})


@pytest.mark.parametrize("path", pure_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_pure_module_reaches_for_nothing_outside(path: Path) -> None:
    assert faults(path.read_text()) == []


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
        ("key = hash(name)", "1: calls hash()"),
        ("with open(name) as file: pass", "1: calls open()"),
        ("def f():\n    global seen", "2: global state seen"),
    ],
)
def test_impure_line_is_named(source: str, fault: str) -> None:
    assert faults(source) == [fault]


def test_seeded_generator_is_pure() -> None:
    assert faults("import numpy as np\nrng = np.random.default_rng(7)\nx = np.random.Generator(bits)") == []


def test_import_linter_forbids_detectors_the_same_modules() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    forbidden = next(c for c in config["contracts"] if c.get("source_modules") == ["detectors"])
    assert set(forbidden["forbidden_modules"]) == IMPURE
