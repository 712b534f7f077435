"""Where the process begins: what must be set before numpy is loaded."""

import os
import sys
from importlib import import_module


def main() -> int:
    """One thread of linear algebra: more are slower at our sizes, and a sum's last bit must not depend on cores."""
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    return int(import_module("monitor.cli").main())


if __name__ == "__main__":
    sys.exit(main())
