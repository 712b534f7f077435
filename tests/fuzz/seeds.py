"""Inputs to begin with: small files beside this one, the example configs, and a state file of an older version."""

from pathlib import Path

from tests.paths import ROOT

CORPUS = Path(__file__).parent / "corpus"
REGRESSIONS = Path(__file__).parent / "regressions"
ELSEWHERE = {
    "config": sorted((ROOT / "deploy" / "examples").glob("*.toml")),
    "checkpoint": [ROOT / "tests/unit/monitor/persistence/state-1.sqlite3"],
}


def seeds(target: str) -> dict[str, bytes]:
    """Name -> bytes; what an earlier run has found is one of them."""
    own = sorted((CORPUS / target).glob("*")) + sorted((REGRESSIONS / target).glob("*"))
    return {path.name: path.read_bytes() for path in [*own, *ELSEWHERE.get(target, [])]}
