"""Where the tests find real logs: the shared data folder beside the repository, or nowhere."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def shared_data() -> Path:
    """The folder of real logs; skips the calling test with one plain line where it is absent."""
    shared = Path(os.environ.get("POLICYWATCH_SHARED", ROOT.parent / "shared"))
    folder = shared / "data"
    if not folder.is_dir():
        pytest.skip("real logs not found: set POLICYWATCH_SHARED to the folder that holds data/")
    return folder
