"""One target under atheris, in a process of its own: `python -m tests.fuzz.one TARGET FINDINGS [what libFuzzer takes]`.

The input in hand lies in FINDINGS/running, so that one that never ends or takes the process with it is found there; one
that breaks a promise, or is slow, is copied beside it.
"""

import hashlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["monitor", "alerts"]):
    from tests.fuzz.targets import TARGETS

SLOW_S = 5.0  # of CPU


def watched(target: Callable[[bytes], None], findings: Path) -> Callable[[bytes], None]:
    """The target, with its input kept wherever it fails."""
    running = findings / "running"

    def run(data: bytes) -> None:
        running.write_bytes(data)
        began = time.process_time()
        try:
            target(data)
        except BaseException:
            _keep(findings, "crash", data)
            traceback.print_exc()
            os._exit(1)
        if time.process_time() - began > SLOW_S:
            _keep(findings, "slow", data)

    return run


def _keep(findings: Path, what: str, data: bytes) -> None:
    name = hashlib.blake2b(data, digest_size=6).hexdigest()
    (findings / f"{what}-{name}").write_bytes(data)


if __name__ == "__main__":
    program, name, folder, *options = sys.argv
    atheris.Setup([program, *options], watched(TARGETS[name], Path(folder)))
    atheris.Fuzz()
