"""What the repository promises about itself: its version, its dependencies, and that it names no machine."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.paths import ROOT

# Written in pieces, so that this file does not name what it forbids.
REGISTRIES = [
    "pypi" + ".org",
    "python" + "hosted.org",
    "maven" + ".org",
    "apache.org/" + "maven2",
    "registry." + "npmjs",
    "crates" + ".io",
    "golang" + ".org",
    "debian" + ".org",
    "--index" + "-url",
    "--find" + "-links",
]
MACHINE_PATH = re.compile(r"/(?:home|Users)/[a-z]\w*/|/ro" r"ot/\w|[A-Z]:\\Users")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked_files() -> list[Path]:
    """Every file of the repository that is text."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git clone: nothing says which files belong to the repository")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:4096]]


def names(requirements: list[Any]) -> set[str]:
    """The distribution names of a list of requirements, includes of other groups left out."""
    found = (re.match(r"[\w.-]+", one) for one in requirements if isinstance(one, str))
    return {match.group().lower() for match in found if match}


def locked(lock: str) -> dict[str, int]:
    """The pinned distributions of a lock file, each with the number of its hashes."""
    text = (ROOT / "requirements" / lock).read_text()
    entries = re.findall(r"^([\w.-]+)==\S+.*\n((?:    --hash=.*\n)*)", text, flags=re.MULTILINE)
    return {name: hashes.count("--hash=sha256:") for name, hashes in entries}


def test_version_is_the_newest_entry_of_the_changelog() -> None:
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == project()["project"]["version"]


def test_no_file_names_a_registry() -> None:
    named = [
        (str(p.relative_to(ROOT)), one) for p in tracked_files() for one in REGISTRIES if one in p.read_text()
    ]
    assert named == []


def test_no_file_names_a_path_of_a_machine() -> None:
    here = f"{ROOT}/"
    named = [
        (str(path.relative_to(ROOT)), found)
        for path in tracked_files()
        for found in [*MACHINE_PATH.findall(path.read_text()), *([here] if here in path.read_text() else [])]
    ]
    assert named == []


def test_every_dependency_has_its_reason() -> None:
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    described = set(re.findall(r"^\| `([\w.-]+)`", reasons, flags=re.MULTILINE))
    config = project()
    groups = [config["project"]["dependencies"]]
    groups += [*config["project"]["optional-dependencies"].values(), *config["dependency-groups"].values()]
    assert described == set().union(*map(names, groups))


def test_runtime_lock_covers_what_the_project_asks_for_and_pins_by_hash() -> None:
    config = project()["project"]
    pins = locked("runtime.lock")
    assert names(config["dependencies"]) <= pins.keys()
    assert names(config["optional-dependencies"]["demo"]) <= pins.keys()
    assert "setuptools" in pins  # the project itself is built with a locked backend too
    assert all(pins.values())


def test_dev_lock_holds_the_runtime_lock_unchanged() -> None:
    pattern = re.compile(r"^[\w.-]+==\S+", flags=re.MULTILINE)
    runtime = set(pattern.findall((ROOT / "requirements" / "runtime.lock").read_text()))
    dev = set(pattern.findall((ROOT / "requirements" / "dev.lock").read_text()))
    assert runtime < dev
    assert all(locked("dev.lock").values())
    assert names(project()["dependency-groups"]["dev"]) <= locked("dev.lock").keys()


def test_fuzz_lock_holds_the_fuzzer_alone_pinned_by_hash() -> None:
    assert locked("fuzz.lock").keys() == names(project()["dependency-groups"]["fuzz"])
    assert all(locked("fuzz.lock").values())
