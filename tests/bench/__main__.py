"""`make bench`: all benchmarks, written to docs/benchmarks.md; ARGS=NAME measures one and writes nothing."""

import argparse
import os
import sys
import time
from importlib import import_module

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the daemon sets it, before numpy loads

NAMES = (
    "decode",
    "joins",
    "core",
    "seal",
    "replay",
    "keys",
    "ope",
    "startup",
    "broker",
    "latency",
    "verdict",
)
PEERS = ("peers",) if os.environ.get("PEERS") else ()
HOW_TO_READ = "Ratios first: a cost over what it may be, a rate over what it could be. CPU time unless said."


def main() -> int:
    """Measure, print, write."""
    options = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    options.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)} or peers; all but peers unless given"
    )
    names = options.parse_args().names
    if unknown := set(names) - {*NAMES, "peers"}:
        options.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(NAMES)}, peers")
    from tests.bench.table import machine, markdown
    from tests.paths import ROOT

    where = machine()
    sections = []
    for name in names or NAMES + PEERS:
        began = time.monotonic()
        module = import_module(f"tests.bench.{name}")
        sections.append(markdown(name, module.rows()).replace("\n\n", f"\n\n{module.__doc__}\n\n", 1))
        print(sections[-1], flush=True)
        print(f"({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    if not names:
        head = f"# Benchmarks\n\n`make bench` on {where}\n\n{HOW_TO_READ}\n\n"
        (ROOT / "docs" / "benchmarks.md").write_text(head + "\n".join(sections))
    return 0


if __name__ == "__main__":
    sys.exit(main())
